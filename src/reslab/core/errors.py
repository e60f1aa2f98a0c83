"""The errors a user can meet: one clear line each, and the exit code that goes with it."""

import difflib
import re
from collections.abc import Iterable
from typing import ClassVar, Final

MEMORY_ENDS: Final = re.compile(  # by torch's allocators, by C++, and by oneDNN on a processor
    "can't allocate memory|not enough memory|out of memory|bad_alloc|could not create a (memory|primitive(?! desc))"
)


class ReslabError(ValueError):
    """Base of every error that reslab raises on purpose; ``exit_code`` is 2 for a user's mistake, 1 for a failure."""

    exit_code: ClassVar[int] = 2


class SpecError(ReslabError):
    """A setting that does not exist or cannot hold."""


class DataError(ReslabError):
    """Pictures or labels that are missing, damaged or not what they claim to be."""


class PictureError(DataError):
    """A file that should be a picture and cannot be used as one."""


class RunError(ReslabError):
    """A run directory that is missing, foreign, busy or of another spec."""


class CheckpointError(ReslabError):
    """A run whose checkpoints cannot be used."""


class StorageError(ReslabError):
    """A file that could not be written, or storage that does not answer or has gone away."""

    exit_code = 1


class WorkerError(ReslabError):
    """A picture that killed or hung one worker after the other."""

    exit_code = 1


class TrainingError(ReslabError):
    """Training that cannot go on, a non-finite loss above all."""

    exit_code = 1


class EvaluationError(ReslabError):
    """A test that did not count every picture exactly once."""

    exit_code = 1


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` says that a device, or this process, has no more memory to give."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and MEMORY_ENDS.search(str(error)) is not None
    )


def one_line(error: object) -> str:
    """What ``error`` says, without line breaks."""
    return " ".join(str(error).split())


def unknown(kind: str, given: str, choices: Iterable[str]) -> str:
    """One line that says what was given, what may be given, and what was probably meant."""
    names = list(choices)
    near = difflib.get_close_matches(given, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {given!r}{hint} (choose from: {', '.join(names)})"
