"""Sides that take their turns in a process of their own, with torch and the C library as they start."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

import torch

from reslab.core.errors import TrainingError
from reslab.core.process import end_with, ending_text
from reslab.experiments.bench.timing import Turn

APART: Final = "in a process of their own"
Sides = Mapping[str, Turn]


class Apart:
    """Another process that makes sides, and times a turn of one whenever it is asked; otherwise it idles.

    Args:
        make: gives the sides by name. It is called there, with as many threads as here, and must be picklable.

    Raises:
        Exception: whatever ``make`` raised.
        TrainingError: the process is gone.
    """

    def __init__(self, make: Callable[[], Sides]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(os.getpid(), torch.get_num_threads(), make, theirs))
        self._process.start()
        theirs.close()
        try:
            self.sides: Sides = {name: partial(self._turn, name) for name in self._answer()}
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _turn(self, name: str) -> float:
        with suppress(BrokenPipeError):  # a process that is gone is found by `_answer`
            self._pipe.send(name)
        seconds: float = self._answer()
        return seconds

    def _answer(self) -> Any:
        try:
            found = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise TrainingError(f"the rival's process ended: {ending_text(self._process.exitcode)}") from None
        if isinstance(found, Exception):
            raise found
        return found


def _serve(parent: int, threads: int, make: Callable[[], Sides], pipe: Connection) -> None:
    """Answer with the sides' names, then with the seconds of each turn that is asked for; with an error, once."""
    end_with(parent, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the parent, which ends this process
    torch.set_num_threads(threads)
    try:
        sides = make()
        pipe.send(list(sides))
        while True:
            pipe.send(sides[pipe.recv()]())
    except EOFError:
        return
    except Exception as error:
        pipe.send(error)
