"""``torchrun ... -m reslab``, as several processes on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.process import Begun

SETTINGS = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # the second: restarts are reliable


def command(size: int, words: Sequence[object], flags: Sequence[str] = (), program: Sequence[str] = ()) -> list[str]:
    """The command line; ``flags`` are torchrun's, ``program`` takes the place of reslab's own."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}", *flags]
    return [*launch, *(program or ("-m", "reslab")), *map(str, words)]


def torchrun(size: int, *words: object, flags: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Carry it out."""
    environment = {**os.environ, **SETTINGS}
    return subprocess.run(command(size, words, flags), capture_output=True, text=True, check=False, env=environment)


class Torchrun(Begun):
    """The same, begun and left to itself; what all processes say goes to ``log``."""

    def __init__(
        self, log: Path, size: int, *words: object, flags: Sequence[str] = (), program: Sequence[str] = ()
    ) -> None:
        self.size = size
        super().__init__(log, command(size, words, flags, program), SETTINGS)

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


def _rank(process: int) -> int:
    words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next((int(word.partition(b"=")[2]) for word in words if word.startswith(b"RANK=")), -1)
