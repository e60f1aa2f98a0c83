"""``reslab`` in a process of its own, which a test may signal and kill."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Begun:
    """One command in a process group of its own, as a terminal would have it; what it says goes to ``log``."""

    def __init__(self, log: Path, command: Sequence[str], settings: Mapping[str, str]) -> None:
        self.log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, **settings}, start_new_session=True
            )

    def wait(self, seconds: float = 300) -> int:
        """Its exit code."""
        return self.process.wait(timeout=seconds)

    def end(self) -> None:
        """Leave nothing running, whatever went wrong; only this group, which the test began."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Process(Begun):
    """``reslab WORDS --out OUT``."""

    def __init__(self, out: Path, *words: str) -> None:
        self.out = out
        command = [sys.executable, "-m", "reslab", *words, "--out", str(out)]
        super().__init__(out.with_suffix(".log"), command, {"OMP_NUM_THREADS": "1"})
