"""Child processes: how they end with their parent, and how their end is named."""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def end_with(parent: int, number: signal.Signals) -> None:
    """Be sent signal ``number`` when the process ``parent`` is gone, however it went (Linux); now, where it is already.

    Args:
        parent: the process that began this one.
        number: SIGTERM asks, SIGKILL does not.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(0)


def ending_text(code: int | None) -> str:
    """How a process ended, for people: ``SIGKILL``, ``exit code 1``.

    Args:
        code: the exit code; negative, the signal that ended it.
    """
    if code is None or code >= 0:
        return f"exit code {code}"
    named = {number.value: number.name for number in signal.Signals}
    return named.get(-code, f"signal {-code}")
