"""The files that ILSVRC's test server takes: five class numbers a picture, as text.

The format is that of the development kit of 2012 (its ``readme.txt``, submission of results): one line a picture, in
the order of the pictures' file names; numbers from 1, the most probable class first, single spaces between them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import DataError, EvaluationError, SpecError
from reslab.core.files import write_text
from reslab.core.units import counted

ANSWERS: Final = 5  # section 4.1: the error that the server counts is the top-5 error
SHOWN: Final = 20  # characters of what a damaged file holds


def write_server_file(probabilities: NDArray[np.floating[Any]], numbers: Sequence[int], path: Path) -> None:
    """Write the five most probable classes of every picture, of equals the lower class first.

    Args:
        probabilities: of each picture, in the server's order (N, C); C is at least 5.
        numbers: of each of the network's classes, the server's number (``ILSVRC2012_ID``, which is not the place
            among the sorted wnids); together 1 to C.
        path: the file, which is replaced.

    Raises:
        SpecError: there are too few classes, or ``numbers`` are not 1 to C in some order.
        EvaluationError: a probability is not finite.
        StorageError: the file cannot be written.
    """
    classes = probabilities.shape[1]
    if classes < ANSWERS:
        raise SpecError(f"a test server's file names {ANSWERS} classes a picture; the network knows {classes}")
    if sorted(numbers) != list(range(1, classes + 1)):
        raise SpecError(f"the classes' numbers must be 1 to {classes}, each once")
    lines = []
    for picture, row in enumerate(probabilities):
        if not np.isfinite(row).all():
            raise EvaluationError(f"the probabilities of picture {picture} are not finite")
        best = np.argsort(-row, kind="stable")[:ANSWERS].tolist()
        lines.append(" ".join(str(numbers[label]) for label in best) + "\n")
    write_text(path, "".join(lines))


def read_server_file(path: Path, pictures: int, classes: int = 1000) -> NDArray[np.int64]:
    """The class numbers of a file for the test server, from 1, the most probable first (N, 5).

    Args:
        path: as `write_server_file` writes it.
        pictures: N, the lines that there must be.
        classes: the largest number that there may be.

    Raises:
        DataError: the file cannot be read, or the server would not take it.
    """
    try:
        with path.open(encoding="ascii") as stream:
            lines = [line.removesuffix("\n") for line in stream]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    if len(lines) != pictures:
        raise DataError(f"{path} has {counted(len(lines), 'line')}; the test has {counted(pictures, 'picture')}")
    known = {str(number): number for number in range(1, classes + 1)}
    rows = [_numbers(line, known, f"{path}, line {place}") for place, line in enumerate(lines, start=1)]
    return np.array(rows, np.int64).reshape(pictures, ANSWERS)


def _numbers(line: str, known: dict[str, int], where: str) -> list[int]:
    fields = line.split(" ")
    if len(fields) != ANSWERS:
        raise DataError(f"{where}: {line[:SHOWN]!r} is not {ANSWERS} numbers with single spaces between them")
    for field in fields:
        if field not in known:
            raise DataError(f"{where}: {field[:SHOWN]!r} is not a class number from 1 to {len(known)}")
    if twice := [field for field in fields if fields.count(field) > 1]:
        raise DataError(f"{where}: class {twice[0]} is named twice")
    return [known[field] for field in fields]
