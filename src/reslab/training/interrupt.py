"""Ctrl-C and SIGTERM ask for a stop between two steps instead of breaking one off."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def noted_signals() -> Iterator[Callable[[], int | None]]:
    """Give a function that answers which signal came, or None; a second one interrupts at once.

    Outside the main thread, where Python delivers no signals, the answer is always None.
    """
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    def answer() -> int | None:
        return came[0] if came else None

    if threading.current_thread() is not threading.main_thread():
        yield answer
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield answer
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
