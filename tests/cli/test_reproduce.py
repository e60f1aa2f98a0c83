import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.listeners import StopAt

from reslab.core.experiment import Experiment
from reslab.core.rundir import RunDirectory
from reslab.experiments.catalog import find_reproduction
from reslab.report.cifar_claims import CIFAR_CLAIMS

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


def planned(*only: str) -> list[Experiment]:
    found = find_reproduction("degradation", "embedded").experiments([0], only)
    return [experiment.but({"recipe": {"steps": 2}}) for experiment in found]


def damage(folder: Path, experiment: Experiment) -> None:
    """A run that cannot go on: its only checkpoint is empty."""
    run = RunDirectory.create(folder / f"{experiment.model.name}-seed0", experiment)
    (run.checkpoints / "step-1").mkdir(parents=True)


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
    assert [claim["id"] for claim in printed["claims"]] == [claim.identifier for claim in CIFAR_CLAIMS]
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


def test_the_smallest_scale_is_taken_where_none_is_named(reslab: Command) -> None:
    plan = json.loads(reslab("reproduce", "degradation", "--dry-run", "--json").stdout)["plan"]
    assert [run["directory"] for run in plan] == [f"degradation-embedded/{model}-seed0" for model in MODELS]


def test_what_lies_there_from_before_stays_in_the_report(reslab: Command, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "r")
    short = ("reproduce", "degradation", "--steps", 2, "--json", "--out", tmp_path / "r", "--only")
    foreign = ("--model", "cifar-plain8", "--width", 8, "--data", "embedded", "--steps", 2)
    assert reslab("train", *foreign, "--out", tmp_path / "r" / "cifar-plain8-seed0").returncode == 0
    shorter = ("reproduce", "degradation", "--only", "cifar-plain20", "--steps", 1, "--seed", 1)
    assert reslab(*shorter, "--out", tmp_path / "r").returncode == 0
    shutil.copytree(tmp_path / "r" / "cifar-plain20-seed0", tmp_path / "r" / "cifar-plain20-seed0-old")
    done = reslab(*short, "cifar-resnet20")
    printed = json.loads(done.stdout)
    assert [run["model"] for run in printed["runs"]] == ["cifar-resnet20", "cifar-plain20"]
    left_out = f"warning: {tmp_path / 'r' / 'cifar-plain20-seed1'} is left out of the report: it has other settings"
    assert left_out in done.stderr
    assert done.stderr.count("left out") == 1
    assert printed["claims"] == json.loads((folder / "printed.json").read_text())["claims"]
    assert "plain-8" not in (tmp_path / "r" / "report.md").read_text()
    (tmp_path / "r" / "cifar-plain20-seed0" / "result.json").write_text("{}")
    done = reslab(*short, "cifar-resnet20")
    assert [run["model"] for run in json.loads(done.stdout)["runs"]] == ["cifar-resnet20"]
    assert f"warning: {tmp_path / 'r' / 'cifar-plain20-seed0'} is left out of the report: " in done.stderr


def test_pictures_are_set_aside_where_that_is_asked_for(reslab: Command, tmp_path: Path) -> None:
    words = ("--only", "cifar-plain20", "--steps", 1, "--validation", 2000, "--json", "--out", tmp_path)
    (run,) = json.loads(reslab("reproduce", "degradation", *words).stdout)["runs"]
    assert run["validation_n"] == 2000


def test_one_line_says_what_is_ahead(reslab: Command, folder: Path) -> None:
    said = reslab("reproduce", "degradation", *SHALLOW, "--out", folder).stderr.splitlines()
    assert said == ["2 runs, 0 steps; 2 finished already"]


@pytest.mark.slow
def test_runs_side_by_side_print_the_same_document(
    reslab: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = json.loads((folder / "printed.json").read_text())
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path / "r", "--jobs", 2)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert list(printed) == list(expected)
    assert [list(run) for run in printed["runs"]] == [list(run) for run in expected["runs"]]
    assert without_clock(printed["runs"]) == without_clock(expected["runs"])
    assert printed["runs"][1]["directory"] == str(tmp_path / "r" / "cifar-resnet20-seed0")
    assert (printed["claims"], printed["failed"]) == (expected["claims"], [])
    for title in ("cifar-plain20 seed 0", "cifar-resnet20 seed 0"):
        assert f"{title}: 2 steps\n" in done.stderr
        assert f"{title}  step 2/2  loss " in done.stderr


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_fails_stops_no_other_and_is_missing_from_the_report(
    jobs: int, reslab: Command, tmp_path: Path
) -> None:
    damage(tmp_path, planned("cifar-plain20")[0])
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path, "--jobs", jobs)
    assert done.returncode == 1
    printed = json.loads(done.stdout)
    assert [run["model"] for run in printed["runs"]] == ["cifar-resnet20"]
    (failed,) = printed["failed"]
    assert (failed["model"], failed["seed"]) == ("cifar-plain20", 0)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"reslab: cifar-plain20 seed 0 failed: no checkpoint in {tmp_path}")
    page = Path(printed["report"]).with_suffix(".md").read_text()
    assert "| ResNet-20 |" in page
    assert "| plain-20 |" not in page


def test_where_every_run_fails_there_is_no_report(reslab: Command, tmp_path: Path) -> None:
    for experiment in planned("cifar-plain20", "cifar-resnet20"):
        damage(tmp_path, experiment)
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path)
    assert done.returncode == 2
    printed = json.loads(done.stdout)
    assert (printed["runs"], printed["claims"], printed["report"]) == ([], [], None)
    assert len(printed["failed"]) == 2
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("step", [1, 2])
def test_a_signal_stops_the_run_or_lets_it_end_and_begins_no_other(
    step: int, reslab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reslab.cli.reproduce.progress", lambda: StopAt(step))
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path)
    assert done.returncode == 130
    assert f"SIGINT: stopped and saved after step {step} of 2; go on with: reslab " in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.glob("*-seed0")] == ["cifar-plain20-seed0"]
    assert (tmp_path / "cifar-plain20-seed0" / "result.json").exists() == (step == 2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--jobs", 0), "--jobs must be at least 1, not 0"),
        (("--on", "moon"), "moon"),
        (("--seed", -1), "degradation: seed is -1: input should be greater than or equal to 0"),
        (("--seed", 2**63), f"degradation: seed is {2**63}: input should be less than"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--data", "nowhere"), "nowhere does not exist"),
    ],
)
def test_a_mistake_that_would_hit_every_run_is_one_line_before_the_first(
    flags: tuple[object, ...], said: str, reslab: Command, tmp_path: Path
) -> None:
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path / "r", *flags)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_damaged_finished_run_fails_and_the_others_are_reported(
    jobs: int, reslab: Command, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "r")
    damaged = tmp_path / "r" / "cifar-plain20-seed0" / "metrics.jsonl"
    damaged.write_bytes(b"\xff\n5\n")
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path / "r", "--jobs", jobs)
    assert done.returncode == 1
    printed = json.loads(done.stdout)
    assert [run["model"] for run in printed["runs"]] == ["cifar-resnet20"]
    assert [(failure["model"], failure["why"]) for failure in printed["failed"]] == [
        ("cifar-plain20", f"{damaged} is damaged at line 1")
    ]


def test_where_memory_does_not_suffice_one_line_says_what_would(
    reslab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("reslab.experiments.cost.own_step", refuse)
    monkeypatch.setattr("reslab.experiments.memory.fits", lambda _session, _group, recompute=False: recompute)
    words = ("reproduce", "degradation", "--only", "cifar-plain20", "--steps", 2, "--json", "--out", tmp_path / "r")
    done = reslab(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not fit into the memory of cpu: --activation-checkpointing would" in done.stderr
    assert not (tmp_path / "r").exists()
    monkeypatch.undo()
    again = reslab(*words, "--activation-checkpointing")
    assert again.returncode == 0, again.stderr
    assert without_clock(json.loads(again.stdout)["runs"])[0]["model"] == "cifar-plain20"


@pytest.mark.parametrize("jobs", [1, 2])
def test_two_queues_do_not_share_a_folder(jobs: int, reslab: Command, tmp_path: Path) -> None:
    ready = "import sys; from pathlib import Path; from reslab.core.rundir import held_alone\n"
    hold = f"{ready}with held_alone(Path({str(tmp_path / '.queue')!r})): print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", hold]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path, "--jobs", jobs)
        other.kill()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"another process is working on {tmp_path / '.queue'}" in done.stderr


def test_a_file_in_the_place_of_the_folder_is_a_mistake(reslab: Command, tmp_path: Path) -> None:
    (tmp_path / "r").write_text("mine")
    done = reslab("reproduce", "degradation", *SHALLOW, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert f"{tmp_path / 'r'} is a file, not a directory" in done.stderr
