"""One process of a local queue: ``python -m`` this module, its parent's number, and the order on standard input."""

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from typing import Final

from reslab.experiments.queue.attempt import Noted, attempt, note
from reslab.experiments.queue.task import read_order

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> None:
    """Carry out the order, note how it ended; stop and save when the parent is gone."""
    stop_with(int(sys.argv[1]))
    task = read_order(json.load(sys.stdin))
    note(task.notices, {"ended": asdict(attempt(task, Noted(task.notices)))})


def stop_with(parent: int) -> None:
    """Be sent SIGTERM when ``parent`` is gone, however it went (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    main()
