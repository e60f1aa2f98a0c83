"""``torchrun ... -m reslab``, as several processes on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SETTINGS = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # the second: restarts are reliable


def command(size: int, words: Sequence[object], flags: Sequence[str] = (), program: Sequence[str] = ()) -> list[str]:
    """The command line; ``flags`` are torchrun's, ``program`` takes the place of reslab's own."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}", *flags]
    return [*launch, *(program or ("-m", "reslab")), *map(str, words)]


def torchrun(size: int, *words: object, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Carry it out."""
    environment = {**os.environ, **SETTINGS}
    return subprocess.run(command(size, words, flags), capture_output=True, text=True, check=False, env=environment)


class Torchrun:
    """The same, begun and left to itself; what all processes say goes to ``log``."""

    def __init__(
        self, log: Path, size: int, *words: object, flags: Sequence[str] = (), program: Sequence[str] = ()
    ) -> None:
        self.log, self.size = log, size
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                command(size, words, flags, program),
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, **SETTINGS},
                start_new_session=True,
            )

    def ranks(self) -> list[int]:
        """The numbers of its processes, in the order of their ranks."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = {_rank(int(number)): int(number) for number in file.read_text().split()}
        return [found[rank] for rank in range(self.size)]

    def wait_for(self, line: str, file: Path, seconds: float = 120) -> None:
        """Until ``file`` holds ``line``."""
        end = time.monotonic() + seconds
        while not (file.exists() and line in file.read_text()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.01)

    def wait(self, seconds: float = 300) -> int:
        """Its exit code."""
        return self.process.wait(timeout=seconds)

    def end(self) -> None:
        """Leave nothing running."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _rank(process: int) -> int:
    words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next((int(word.partition(b"=")[2]) for word in words if word.startswith(b"RANK=")), -1)
