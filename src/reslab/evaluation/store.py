"""Scores of every view group on disk: two memory-mapped arrays that any program with numpy can read."""

import math
import os
import warnings
from pathlib import Path
from typing import Final

import numpy as np

from reslab.core.errors import EvaluationError, one_line
from reslab.core.files import storing
from reslab.evaluation.views import Allocate, Floats, ViewScores

ARRAYS: Final = ("logits", "probabilities")


def file_of(array: str) -> str:
    """The name of an array's file."""
    return f"{array}.npy"


def in_folder(folder: Path) -> Allocate:
    """Room in files of ``folder``, which grow no memory: ``logits.npy`` and ``probabilities.npy``."""

    def allocate(name: str, shape: tuple[int, ...]) -> Floats:
        file = folder / file_of(name)
        with storing(file, 4 * math.prod(shape)):
            room: Floats = np.lib.format.open_memmap(file, "w+", np.float32, shape)
            if hasattr(os, "posix_fallocate"):  # a full disk is an error now, not a signal when the scores are written
                with file.open("r+b") as stream:
                    os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        return room

    return allocate


def store_views(scores: ViewScores, folder: Path) -> None:
    """Make sure that ``folder`` holds ``scores``."""
    for name in ARRAYS:
        array, file = getattr(scores, name), folder / file_of(name)
        if isinstance(array, np.memmap) and array.filename is not None and Path(array.filename) == file.resolve():
            array.flush()
        else:
            with storing(file, array.nbytes):
                np.save(file, array)


def read_views(folder: Path) -> ViewScores:
    """The scores that ``folder`` holds, memory-mapped.

    Raises:
        EvaluationError: there are none, or they are damaged.
    """
    arrays = [_read(folder / file_of(name)) for name in ARRAYS]
    if arrays[0].shape != arrays[1].shape:
        raise EvaluationError(f"the scores in {folder} are damaged: {arrays[0].shape} logits, {arrays[1].shape} others")
    return ViewScores(*arrays)


def _read(file: Path) -> Floats:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            array: Floats = np.lib.format.open_memmap(file, "r")
    except Exception as error:  # numpy reads a damaged header as Python, which can fail in any way
        raise EvaluationError(f"cannot read the scores in {file}: {one_line(error)}") from None
    if array.dtype != np.float32 or array.ndim != 3:
        raise EvaluationError(f"{file} is damaged: it holds {array.dtype} of shape {array.shape}")
    return array
