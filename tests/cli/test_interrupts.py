"""Ctrl-C at any moment, the first seconds too, while modules are imported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORDS = ("train", "--model", "cifar-resnet8", "--width", "4", "--data", "embedded", "--steps", "100000")


@pytest.mark.parametrize("after", [0.02 * 2.1**number for number in range(8)])  # seconds: to beyond the first step
def test_ctrl_c_ends_the_program_with_a_line(after: float, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "reslab", *WORDS, "--out", str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        wait_for_python(process.pid)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "reslab: interrupted" in said or "reslab: SIGINT: stopped and saved" in said


def wait_for_python(number: int) -> None:
    """Until it has its handler: what is before is Python's own beginning."""
    mask = 1 << (signal.SIGINT - 1)
    status = Path(f"/proc/{number}/status")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & mask:
            return
        time.sleep(0.002)
    raise AssertionError(f"process {number} catches no SIGINT")
