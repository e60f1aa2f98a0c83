"""Table 6 on the real CIFAR-10, as a user makes it; two steps instead of 64,000."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]
CLOCK = {"seconds", "directory", "images_per_second"}


def two_steps(data: Path, out: Path, *words: object) -> tuple[object, ...]:
    chosen = ("--only", "cifar-resnet20", "cifar-plain20", "--steps", 2, "--data", data, "--out", out)
    return ("reproduce", "table6", *chosen, *words)


@pytest.fixture(scope="module")
def done(
    reslab: Command, real_cifar10: Path, tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    out = tmp_path_factory.mktemp("table6") / "runs"
    done = reslab(*two_steps(real_cifar10, out, "--json"))
    assert done.returncode == 0, done.stderr
    return done


def metrics(run: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def without_clock(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in run.items() if key not in CLOCK} for run in runs]


def test_its_document_has_the_papers_rows_and_ours(done: subprocess.CompletedProcess[str]) -> None:
    printed = json.loads(done.stdout)
    assert [(run["model"], run["n"], run["steps"]) for run in printed["runs"]] == [
        ("cifar-resnet20", 10_000, 2),
        ("cifar-plain20", 10_000, 2),
    ]
    rows = {(row["method"], row["layers"]): row for row in printed["table6"]["rows"]}
    ours = rows["ResNet", 20]
    assert (ours["paper_error"], ours["verdict"], ours["departs"]) == (8.75, "not the paper's schedule", "steps 2")
    assert ours["errors"] == [printed["runs"][0]["test_error"]]
    assert rows["ResNet", 56]["verdict"] == "not run"
    assert rows["Highway", 19]["verdict"] == "cited"
    claims = {claim["id"]: claim["verdict"] for claim in printed["claims"]}
    assert claims["E1"] != "not tested"  # the two 20-layer networks have responses
    assert claims["D4"] == claims["D5"] == claims["E2"] == "not tested"


def test_it_says_first_what_it_will_cost_and_that_the_copy_is_a_near_one(
    done: subprocess.CompletedProcess[str],
) -> None:
    first = done.stderr.splitlines()[0]
    assert first.startswith("2 runs, 4 steps: about ")
    assert "images/s of cifar-" in first
    assert first.endswith("; 0 finished already")
    assert "75 of 50,000 pictures are not the official ones (sha256 of these pictures: " in done.stderr


def test_each_run_keeps_its_responses_and_what_was_said_of_the_pictures(
    done: subprocess.CompletedProcess[str],
) -> None:
    for run in json.loads(done.stdout)["runs"]:
        kept = json.loads((Path(run["directory"]) / "responses.json").read_text())
        assert (len(kept["layers"]), kept["pictures"], kept["part"], kept["step"]) == (19, 10_000, "val", 2)
        assert all(layer["std"] > 0 for layer in kept["layers"])
        noted = json.loads((Path(run["directory"]) / "environment.json").read_text())["data"]
        assert [note.split(":")[0] for note in noted["warnings"]] == ["CIFAR-10 train", "CIFAR-10 val"]
        assert noted["place"] == "cifar-10-batches-bin"


def test_the_page_shows_table_6_and_both_figures(done: subprocess.CompletedProcess[str]) -> None:
    page = Path(json.loads(done.stdout)["report"])
    text = page.with_suffix(".md").read_text()
    assert "Maxout" in text
    assert "not the paper's schedule" in text
    pictures = {figure.name for figure in (page.parent / "figures").iterdir()}
    assert {"figure6.png", "figure7.png"} <= pictures


def test_on_ray_metrics_are_the_same(
    done: subprocess.CompletedProcess[str],
    reslab: Command,
    real_cifar10: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    spread = reslab(*two_steps(real_cifar10, tmp_path / "runs", "--json", "--on", "ray", "--jobs", 2))
    assert spread.returncode == 0, spread.stderr
    here, there = json.loads(done.stdout)["runs"], json.loads(spread.stdout)["runs"]
    assert without_clock(here) == without_clock(there)
    assert [metrics(run["directory"]) for run in here] == [metrics(run["directory"]) for run in there]
