"""How processes end: with their parent, by Ctrl-C, and how an end is named."""

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
IMPORTING: Final = "<frozen importlib"  # the file of Python's own import


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


def end_when_interrupted_in_an_import() -> None:
    """Let Ctrl-C end this process at once while a module is imported, and interrupt it as ever at all other times.

    Compiled modules swallow the exception in the middle of their making, or are left half made. A process that was told
    to ignore Ctrl-C goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    def heed(number: int, frame: FrameType | None) -> None:
        below = frame
        while below is not None:
            if below.f_code.co_filename.startswith(IMPORTING):
                os.write(2, b"reslab: interrupted\n")
                os._exit(128 + number)
            below = below.f_back
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, heed)
