import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

MODELS = ["cifar-plain20", "cifar-plain56", "cifar-resnet20", "cifar-resnet56"]
SHALLOW = ("--only", "cifar-plain20", "cifar-resnet20", "--steps", 2, "--json")


def without_clock(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in run.items() if key not in ("seconds", "directory")} for run in runs]


@pytest.fixture(scope="module")
def folder(reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reproduce")
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", out)
    assert done.returncode == 0, done.stderr
    (out / "printed.json").write_text(done.stdout)
    return out


def test_the_plan_names_networks_steps_and_cost(reslab: Command, tmp_path: Path) -> None:
    done = reslab("reproduce", "degradation", "--dry-run", "--json", "--out", tmp_path / "r", "--seeds", 2)
    planned = json.loads(done.stdout)
    assert [run["model"] for run in planned["plan"]] == MODELS * 2
    assert [run["seed"] for run in planned["plan"]] == [0] * 4 + [1] * 4
    assert planned["plan"][1]["multiply_adds"] > planned["plan"][0]["multiply_adds"]
    assert planned["cost"]
    assert not (tmp_path / "r").exists()


def test_a_reproduction_prints_runs_claims_and_report(folder: Path) -> None:
    printed = json.loads((folder / "printed.json").read_text())
    assert [run["model"] for run in printed["runs"]] == ["cifar-plain20", "cifar-resnet20"]
    assert all(run["n"] == 2000 and run["input_size"] == 28 for run in printed["runs"])
    assert [claim["id"] for claim in printed["claims"]] == ["D1", "D2", "D3", "C7", "C8"]
    assert all("Fashion-MNIST, 2 steps" in claim["setting"] for claim in printed["claims"])
    assert "<svg" in Path(printed["report"]).read_text()
    assert (folder / "report.md").exists()
    assert (folder / "figures" / "training-curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_numbers(reslab: Command, folder: Path, tmp_path: Path) -> None:
    printed = json.loads((folder / "printed.json").read_text())
    again = json.loads(reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path).stdout)
    assert without_clock(again["runs"]) == without_clock(printed["runs"])
    assert again["claims"] == printed["claims"]


def test_what_is_finished_is_kept(reslab: Command, folder: Path) -> None:
    kept = json.loads(reslab("reproduce", "degradation", *SHALLOW, "--out", folder).stdout)
    assert kept["runs"] == json.loads((folder / "printed.json").read_text())["runs"]


def test_claims_and_report_read_a_folder_of_runs(reslab: Command, folder: Path, tmp_path: Path) -> None:
    verdicts = {claim["id"]: claim for claim in json.loads(reslab("claims", folder, "--json").stdout)}
    assert verdicts["D1"]["verdict"] == "not tested"
    assert verdicts["C8"]["judged_on"] == "plain-20, ResNet-20; seed 0"
    assert all(number["n"] == [2000, 2000] for number in verdicts["C8"]["numbers"])
    assert "not tested" in reslab("claims", folder).stdout
    page = reslab("report", folder, "--out", tmp_path / "page.html", "--json")
    assert json.loads(page.stdout)["report"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.md").exists()
    assert "plain-20" in reslab("report", folder, "--out", tmp_path / "page.html").stdout
