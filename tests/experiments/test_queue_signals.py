"""A whole ``reslab reproduce --jobs 2`` in a process of its own, stopped in several ways: no run outlives it."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.process import Process

STEPS = 300
RUNS = ("cifar-plain20-seed0", "cifar-resnet20-seed0")
COMMAND = ("reproduce", "degradation", "--only", "cifar-plain20", "cifar-resnet20", "--jobs", "2", "--json")


class Queue(Process):
    """Two runs, side by side."""

    def __init__(self, out: Path, steps: int = STEPS) -> None:
        super().__init__(out, *COMMAND, "--steps", str(steps))

    def children(self) -> list[int]:
        """Wait until both runs have begun; their processes."""
        notices = [self.out / ".queue" / f"{run}.jsonl" for run in RUNS]
        until = time.monotonic() + 120
        while not all(file.exists() and '"begun"' in file.read_text() for file in notices):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        time.sleep(0.5)  # the signals are noted from a moment after that line
        return [json.loads(file.read_text().splitlines()[0])["started"] for file in notices]


def gone(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def saved(out: Path) -> list[int]:
    return [max(int(path.name.removeprefix("step-")) for path in (out / run / "checkpoints").iterdir()) for run in RUNS]


@pytest.mark.parametrize(
    ("number", "send"),
    [
        pytest.param(signal.SIGINT, os.killpg, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, os.kill, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, os.kill, marks=pytest.mark.slow),
    ],
)
def test_whatever_stops_the_queue_its_runs_save_and_end(
    number: signal.Signals, send: Callable[[int, int], None], tmp_path: Path
) -> None:
    queue = Queue(tmp_path / "out")
    try:
        children = queue.children()
        assert all(Path(f"/proc/{pid}").exists() for pid in children)
        send(queue.process.pid, number)
        code = queue.wait(120)
    finally:
        queue.end()
    said = queue.log.read_text()
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
        assert all(gone(pid, 60) for pid in children), "a run outlives the queue that was killed"
    else:
        assert code == 128 + number
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        expected = f"{number.name}: stopped and saved after step {sum(saved(tmp_path / 'out')):,} of {2 * STEPS:,}"
        assert expected in said, said
        assert "go on with: reslab reproduce degradation" in said
    assert all(1 <= step < STEPS for step in saved(tmp_path / "out")), "each saved itself before the first checkpoint"
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.slow
def test_a_stopped_queue_goes_on_and_reports(tmp_path: Path) -> None:
    steps = 40
    first = Queue(tmp_path / "out", steps)
    try:
        first.children()
        first.process.send_signal(signal.SIGTERM)
        assert first.wait(120) == 143, first.log.read_text()
    finally:
        first.end()
    before = saved(tmp_path / "out")
    second = Queue(tmp_path / "out", steps)
    try:
        assert second.wait(200) == 0, second.log.read_text()
    finally:
        second.end()
    said = second.log.read_text()
    for run, step in zip(RUNS, before, strict=True):
        assert f"{run.replace('-seed', ' seed ')}: {steps} steps, going on after step {step}" in said
    assert saved(tmp_path / "out") == [steps, steps]
    assert (tmp_path / "out" / "report.html").exists()
