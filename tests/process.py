"""``reslab`` in a process of its own, which a test may signal and kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path


class Process:
    """One command in a process group of its own, as a terminal would have it; what it says goes to ``log``."""

    def __init__(self, out: Path, *words: str) -> None:
        self.out, self.log = out, out.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reslab", *words, "--out", str(out)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def wait(self, seconds: float = 300) -> int:
        """Its exit code."""
        return self.process.wait(timeout=seconds)

    def end(self) -> None:
        """Leave nothing running, whatever went wrong; only this group, which the test began."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
