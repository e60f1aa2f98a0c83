"""Real processes, really killed: slow, because every one of them loads torch again."""

import hashlib
import json
import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.process import Process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 60
COMMAND = (
    *("train", "--model", "cifar-resnet8", "--width", "4", "--data", "embedded"),
    *("--steps", str(STEPS), "--batch", "32", "--log-every", "1", "--evaluate-every", "20"),
    *("--checkpoint-every", "5", "--json"),
)
PARTS = ("model", "momentum", "window", "form")
WALL_CLOCK = {"seconds", "images_per_second"}


class Run(Process):
    """``reslab train``."""

    def __init__(self, out: Path, *flags: str) -> None:
        super().__init__(out, *COMMAND, *flags)

    def wait_for(self, step: int) -> None:
        """Return when a line of metrics says ``step`` or more, or fail where the process ends before."""
        while last_step(self.out) < step:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.002)


def last_step(run: Path) -> int:
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


def numbers_of(run: Path) -> dict[str, Any]:
    files = {part: run / "checkpoints" / f"step-{STEPS}" / f"{part}.safetensors" for part in PARTS}
    files["scores"] = run / "scores" / "single-val" / "scores.safetensors"
    numbers: dict[str, Any] = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    numbers["metrics"] = [{key: value for key, value in line.items() if key not in WALL_CLOCK} for line in lines]
    result = json.loads((run / "result.json").read_text())
    numbers["result"] = {key: value for key, value in result.items() if key not in WALL_CLOCK}
    return numbers


def finish(out: Path, *flags: str) -> dict[str, Any]:
    process = Run(out, *flags)
    try:
        assert process.wait() == 0, process.log.read_text()
    finally:
        process.end()
    return numbers_of(out)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    numbers = finish(tmp_path_factory.mktemp("unbroken") / "run")
    assert len(numbers["metrics"]) == STEPS
    return numbers


@pytest.mark.parametrize(("workers", "kills"), [(0, 10), (2, 3)])
def test_a_run_killed_at_random_moments_ends_as_an_unbroken_one_does(
    workers: int, kills: int, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    chance = random.Random(0)  # noqa: S311 moments, not secrets
    out, flags = tmp_path / "run", ("--resume", "--workers", str(workers))
    for moment in sorted(chance.sample(range(1, STEPS - 10), kills)):
        process = Run(out, *flags)
        try:
            process.wait_for(moment)
            time.sleep(chance.uniform(0, 0.03))
            process.process.kill()
            assert process.wait() == -signal.SIGKILL, process.log.read_text()
        finally:
            process.end()
        assert not (out / "result.json").exists()
    assert finish(out, *flags) == unbroken


@pytest.mark.parametrize(
    ("number", "workers", "code"), [(signal.SIGTERM, 2, 143), (signal.SIGINT, 0, 130), (signal.SIGINT, 2, 130)]
)
def test_a_signal_to_the_whole_group_stops_after_a_step_saves_it_and_can_be_resumed(
    number: signal.Signals, workers: int, code: int, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    out, flags = tmp_path / "run", ("--workers", str(workers))
    process = Run(out, *flags)
    try:
        process.wait_for(17)
        os.killpg(process.process.pid, number)
        assert process.wait() == code, process.log.read_text()
    finally:
        process.end()
    said = re.search(rf"{number.name}: stopped and saved after step (\d+) of {STEPS}", process.log.read_text())
    assert said, process.log.read_text()
    newest = max(int(path.name.removeprefix("step-")) for path in (out / "checkpoints").iterdir())
    assert newest == int(said[1]) == last_step(out)
    assert 17 <= newest < STEPS
    assert finish(out, *flags, "--resume") == unbroken


AVERAGING = ("--bn-average", "6000")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finish_averaging(tmp_path_factory.mktemp("averaged") / "run")


def finish_averaging(out: Path, *flags: str) -> dict[str, Any]:
    numbers, kept = finish(out, *AVERAGING, *flags), out / "checkpoints" / f"step-{STEPS}"
    before = hashlib.sha256((kept / "before.safetensors").read_bytes()).hexdigest()
    return {**numbers, "before": before, "facts": json.loads((kept / "state.json").read_text())["bn_average"]}


def test_one_killed_while_batch_statistics_are_recomputed_does_too(averaged: dict[str, Any], tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 moments, not secrets
    out, killed = tmp_path / "run", 0
    for _ in range(8):
        process = Run(out, *AVERAGING, "--resume")
        try:
            process.wait_for(STEPS)
            time.sleep(chance.uniform(0, 1))
            process.process.kill()
            killed += process.wait() == -signal.SIGKILL
        finally:
            process.end()
        if (out / "result.json").exists():
            break
    assert killed
    assert finish_averaging(out, "--resume") == averaged


def test_sigterm_stops_the_recomputing_and_the_same_command_ends_it(averaged: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = Run(out, *AVERAGING)
    try:
        process.wait_for(STEPS)
        os.killpg(process.process.pid, signal.SIGTERM)
        assert process.wait() == 143, process.log.read_text()
    finally:
        process.end()
    assert "reslab: SIGTERM: stopped while averaging batch statistics, after " in process.log.read_text()
    assert not (out / "result.json").exists()
    assert finish_averaging(out, "--resume") == averaged
