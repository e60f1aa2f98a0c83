"""Real processes whose loader workers are really killed: slow, because every one of them loads torch again."""

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.process import Process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = 300
MOMENTS = 10
COMMAND = (
    *("train", "--model", "cifar-resnet8", "--width", "4", "--crop", "32", "--shorter-side", "32"),
    *("--scale", "32", "40", "--steps", str(STEPS), "--batch", "8", "--log-every", "1", "--evaluate-every", "100"),
    *("--workers", "2"),
)


class Run(Process):
    """``reslab train`` on a folder."""

    def __init__(self, photos: Path, out: Path) -> None:
        super().__init__(out, *COMMAND, "--data", str(photos))

    def workers(self) -> list[int]:
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in task.read_text().split()]

    def wait_for(self, step: int) -> None:
        """Return when a line of metrics says ``step``, or fail where the process ends before."""
        metrics = self.out / "metrics.jsonl"
        while not metrics.exists() or metrics.read_bytes().count(b"\n") < step:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.001)

    def weights(self) -> str:
        """Wait for the end, and the sha256 of the last weights."""
        assert self.wait(120) == 0, self.log.read_text()
        file = self.out / "checkpoints" / f"step-{STEPS}" / "model.safetensors"
        return hashlib.sha256(file.read_bytes()).hexdigest()


def test_killing_a_loader_worker_at_any_moment_changes_no_weight(
    folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    photos = folder_of(tmp_path / "photos", pictures=12)
    undisturbed = Run(photos, tmp_path / "undisturbed")
    try:
        expected = undisturbed.weights()
        assert "loader worker" not in undisturbed.log.read_text()
    finally:
        undisturbed.end()
    chance = random.Random(0)  # noqa: S311 moments, not secrets
    found = []
    for number, moment in enumerate(chance.sample(range(1, STEPS // 2), MOMENTS)):
        run = Run(photos, tmp_path / f"killed-{number}")
        try:
            run.wait_for(moment)
            time.sleep(chance.uniform(0, 0.02))
            busy, spare = run.workers()[:2]  # the first has every batch where it is quick enough; the second may idle
            killed = (busy, spare)[number % 2]
            os.kill(killed, signal.SIGKILL)
            found.append(run.weights())
        finally:
            run.end()
        named = [line for line in run.log.read_text().splitlines() if "loader worker" in line]
        for line in named:
            assert line.startswith(f"reslab: warning: loader worker {killed} died (SIGKILL)")
            assert line.endswith("it was replaced, and no batch changes")
        assert len(named) == 1 or (killed == spare and not named)
        assert json.loads((run.out / "result.json").read_text())["replaced"] == 0
    assert found == [expected] * MOMENTS
