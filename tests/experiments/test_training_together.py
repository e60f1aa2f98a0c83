"""``torchrun ... -m reslab train``: real processes that train together, stop, are killed, hang, and go on."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.torchrun import Torchrun, torchrun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 60
SMALL = (
    *("train", "--model", "cifar-resnet8", "--width", "4", "--data", "embedded", "--steps", STEPS, "--batch", "32"),
    *(
        "--bn-group",
        "8",
        "--log-every",
        "1",
        "--evaluate-every",
        "20",
        "--checkpoint-every",
        "5",
        "--precision",
        "fp32",
    ),
)
WALL_CLOCK = {"seconds", "images_per_second", "directory"}
SAID = re.compile(rb"^reslab: .*", re.MULTILINE)


def numbers_of(run: Path) -> dict[str, Any]:
    """Everything that a finished run holds, the clock's numbers aside."""
    files = [*(run / "checkpoints" / f"step-{STEPS}").glob("*.safetensors"), *(run / "scores").rglob("*.safetensors")]
    numbers: dict[str, Any] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    lines = [*lines_of(run), json.loads((run / "result.json").read_text())]
    numbers["lines"] = [{key: value for key, value in line.items() if key not in WALL_CLOCK} for line in lines]
    return numbers


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def alone(*words: object) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "reslab", *map(str, words), "--json"],
        capture_output=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by two processes; nobody may change it."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    done = torchrun(2, *SMALL, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == STEPS
    return out


def test_two_processes_keep_one_run_whose_hits_are_those_of_one(unbroken: Path) -> None:
    result = json.loads((unbroken / "result.json").read_text())
    tested = alone("evaluate", unbroken, "--data", "embedded")
    assert (tested["hits"], tested["n"]) == (result["hits"], 2000)
    assert json.loads((unbroken / "environment.json").read_text())["processes"] == 2


@pytest.mark.parametrize("size", [1, 3])
def test_other_numbers_of_processes_train_alike_until_rounding_shows(size: int, unbroken: Path, tmp_path: Path) -> None:
    done = torchrun(size, *SMALL, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for ours, theirs in list(zip(lines_of(unbroken), lines_of(tmp_path / "run"), strict=True))[:10]:
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-3)
        assert theirs["train_error"] == ours["train_error"]


@pytest.mark.parametrize("attempt", range(5))
def test_a_killed_process_costs_one_restart_and_no_number(
    attempt: int, unbroken: Path, tmp_path: Path, begun: list[Torchrun]
) -> None:
    out = tmp_path / "run"
    run = Torchrun(tmp_path / "log", 2, *SMALL, "--out", out, "--resume", flags=("--max-restarts=1",))
    begun.append(run)
    run.wait_for(f'"step": {11 + 7 * attempt},', out / "metrics.jsonl")
    os.kill(run.ranks()[attempt % 2], signal.SIGKILL)
    assert run.wait() == 0, run.log.read_text()
    assert numbers_of(out) == numbers_of(unbroken)


def test_a_stop_is_agreed_on_and_any_number_of_processes_goes_on(tmp_path: Path, begun: list[Torchrun]) -> None:
    out = tmp_path / "run"
    run = Torchrun(tmp_path / "log", 2, *SMALL, "--out", out)
    begun.append(run)
    run.wait_for('"step": 12,', out / "metrics.jsonl")
    os.kill(run.ranks()[1], signal.SIGTERM)  # to one of them alone
    assert run.wait() != 0
    said = SAID.findall(run.log.read_bytes())
    assert len(said) == 1, run.log.read_text()
    stopped = re.search(rb"SIGTERM: stopped and saved after step (\d+) of 60", said[0])
    assert stopped is not None
    assert (out / "checkpoints" / f"step-{int(stopped[1])}").is_dir()
    done = torchrun(3, *SMALL, "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert "processes was 2 and is 3" in done.stderr
    assert json.loads((out / "result.json").read_text())["steps"] == STEPS
    assert [line["samples"] for line in lines_of(out)] == [32 * step for step in range(1, STEPS + 1)]


def test_where_one_process_hangs_all_say_where_they_are(tmp_path: Path, begun: list[Torchrun]) -> None:
    harness = tmp_path / "stuck.py"
    harness.write_text(
        "import os, sys, time\n"
        "from reslab.experiments import session\n"
        "from reslab.cli.app import run\n"
        "real = session.train_step\n"
        "def train_step(training, *rest, **more):\n"
        "    while training.step == 3 and os.environ['RANK'] == '1':\n"
        "        time.sleep(1)\n"
        "    return real(training, *rest, **more)\n"
        "session.train_step = train_step\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    words = (*SMALL, "--out", tmp_path / "run", "--timeout", 4)
    run = Torchrun(tmp_path / "log", 2, *words, program=(str(harness),))
    begun.append(run)
    begin = time.monotonic()
    run.wait_for("Timeout", run.log)
    assert run.wait() != 0
    assert time.monotonic() - begin < 60
    said = run.log.read_text()
    assert said.count("Timeout (0:00:04)!") == 2
    assert "in train_step" in said
    assert "in gradients" in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--data", "nowhere"), "reslab: nowhere does not exist; "),
        (
            ("--data", "embedded", "--batch", 2, "--bn-group", 2),
            "reslab: a batch of 2 cannot be shared by 3 processes: raise --batch, or start fewer",
        ),
        (("--data", "embedded", "--compile"), "reslab: --compile is for one process"),
        (("--data", "embedded", "--timeout", 0), "reslab: --timeout must be positive, not 0"),
    ],
)
def test_a_mistake_is_told_once(words: tuple[object, ...], line: str, tmp_path: Path) -> None:
    done = torchrun(3, "train", "--model", "cifar-resnet8", *words, "--out", tmp_path / "run")
    assert done.returncode == 1
    told = [one for one in done.stderr.splitlines() if one.startswith("reslab: ")]
    assert [one[: len(line)] for one in told] == [line]
    assert not (tmp_path / "run").exists()


HALTED = (
    "import sys\n"
    "from reslab.experiments import averaging\n"
    "from reslab.cli.app import run\n"
    "averaging.recompute = lambda *_: sys.exit(9)\n"
    "sys.exit(run(sys.argv[1:]))\n"
)


@pytest.mark.parametrize("group", [8, 32])  # whole groups in each process, and one that all share
def test_several_processes_recompute_the_batch_statistics_that_one_does(group: int, tmp_path: Path) -> None:
    """All begin from one last checkpoint, so that training's rounding is none of it."""
    (tmp_path / "halted.py").write_text(HALTED)
    words = [str(word) for word in (*SMALL, "--bn-average", 250)]
    words[words.index("--bn-group") + 1] = str(group)
    done = subprocess.run(
        [sys.executable, tmp_path / "halted.py", *words, "--out", tmp_path / "1"],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 9
    for size in (2, 3):
        shutil.copytree(tmp_path / "1", tmp_path / str(size))
    alone(*words, "--out", tmp_path / "1", "--resume")
    wanted, result = last_tensors(tmp_path / "1"), json.loads((tmp_path / "1" / "result.json").read_text())
    assert (result["bn_average"]["pictures"], result["bn_average"]["groups"]) == (256, 256 // group)
    for size in (2, 3):
        run = torchrun(size, *words, "--out", tmp_path / str(size), "--resume")
        assert run.returncode == 0, run.stderr
        found = last_tensors(tmp_path / str(size))
        for name, tensor in wanted.items():
            if name.endswith("running_mean"):  # of sums of both signs: in standard deviations
                spread = wanted[name.replace("mean", "var")].sqrt()
                assert float(((found[name] - tensor) / spread).abs().max()) < 1e-5, name
            elif name.endswith("running_var"):
                torch.testing.assert_close(found[name], tensor, rtol=5e-5, atol=0, msg=name)
            else:
                assert torch.equal(found[name], tensor), name
        told = json.loads((tmp_path / str(size) / "result.json").read_text())["bn_average"]
        assert told.keys() == result["bn_average"].keys()
        assert told["hits_before"] == result["bn_average"]["hits_before"]


def last_tensors(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / "checkpoints" / f"step-{STEPS}" / "model.safetensors")


def test_a_stop_of_the_recomputing_is_agreed_on_and_gone_on_from(tmp_path: Path, begun: list[Torchrun]) -> None:
    out = tmp_path / "run"
    words = (*SMALL, "--bn-average", 20_000, "--out", out)
    run = Torchrun(tmp_path / "log", 2, *words)
    begun.append(run)
    run.wait_for(f'"step": {STEPS},', out / "metrics.jsonl")
    os.kill(run.ranks()[1], signal.SIGTERM)
    assert run.wait() != 0
    said = re.search(
        r"SIGTERM: stopped while averaging batch statistics, after ([\d,]+) of 20,000 pictures", run.log.read_text()
    )
    assert said, run.log.read_text()
    assert not (out / "result.json").exists()
    again = torchrun(2, *words, "--resume")
    assert again.returncode == 0, again.stderr
    assert json.loads((out / "result.json").read_text())["bn_average"]["pictures"] == 20_000
