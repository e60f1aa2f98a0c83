"""ImageNet's ``meta.mat`` by `scipy.io.loadmat`, in a process of its own.

On a damaged file that reader may crash or take any memory (ours: of 4,000 copies with one to eight bytes changed, 111
ended scipy 1.17's process by SIGSEGV or SIGBUS, and five held it for more than five seconds).
"""

import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
import warnings
from typing import Final, NamedTuple

from reslab.core.errors import DataError, SpecError, one_line
from reslab.core.process import ending_text
from reslab.core.text import printable

FIELDS: Final = ("ILSVRC2012_ID", "WNID", "num_children")
MEMORY: Final = 2**31  # bytes of addresses; ours: scipy itself has 175 MB of them, the official file adds little
SECONDS: Final = 60  # of a processor; ours: the reading takes one
PATIENCE: Final = 600  # seconds on a busy machine
SHOWN: Final = 200  # characters of what scipy says of a damaged file
WORDS: Final = (sys.executable, "-P", "-m", "reslab.data.meta_mat")  # -P: no module from where the user happens to be
MOST: Final = 100_000  # synsets; ours: the official file has 1,860


class Synset(NamedTuple):
    """A row of the file: its number, its name, and how many synsets are below it in the tree."""

    number: int
    wnid: str
    children: int


def read_synsets(data: bytes, title: str) -> list[Synset]:
    """The rows of ``synsets``, as they are there.

    Args:
        data: the bytes of the file, in MATLAB's format of version 5.
        title: what errors call it.

    Raises:
        DataError: it is damaged or has no such rows.
        SpecError: scipy is not installed.
    """
    if importlib.util.find_spec("scipy") is None:
        raise SpecError('meta.mat is a MATLAB file, which scipy reads: pip install "reslab[imagenet]"')
    try:
        done = subprocess.run(WORDS, input=data, capture_output=True, timeout=PATIENCE, env=_environment(), check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{title} is damaged: it could not be read in {PATIENCE} seconds") from None
    if done.returncode < 0:
        raise DataError(f"{title} is damaged: its reader ended by {ending_text(done.returncode)}")
    if done.returncode:
        raise DataError(f"{title} cannot be read: {_last_line(done.stderr)}")
    found = json.loads(done.stdout)
    if isinstance(found, str):
        raise DataError(f"{title} is damaged: {printable(found)}")
    return [Synset(*row) for row in found]


def _environment() -> dict[str, str]:
    """This process's modules, and one thread: each takes addresses."""
    modules = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _last_line(text: bytes) -> str:
    return printable("".join(text.decode(errors="replace").splitlines()[-1:]))


def main() -> None:
    """Read the file from standard input; answer with its rows as JSON, or with what is wrong."""
    from scipy.io import loadmat

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    try:
        found = loadmat(io.BytesIO(sys.stdin.buffer.read()), squeeze_me=True, variable_names=["synsets"])
        answer: object = _rows(found.get("synsets"))
    except Exception as error:
        answer = one_line(error)[:SHOWN] or type(error).__name__
    sys.stdout.write(json.dumps(answer))


def _rows(synsets: object) -> list[tuple[int, str, int]]:
    import numpy as np

    table = np.atleast_1d(np.asarray(synsets))
    if table.ndim != 1 or len(table) > MOST or not set(FIELDS) <= set(table.dtype.names or ()):
        raise ValueError(f"its synsets are no list of {', '.join(FIELDS)}")
    rows = [tuple(row[field] for field in FIELDS) for row in table]
    if not all(isinstance(wnid, str) for _, wnid, _ in rows):
        raise ValueError("a WNID is no text")
    return [(int(number), str(wnid), int(children)) for number, wnid, children in rows]


if __name__ == "__main__":
    main()
