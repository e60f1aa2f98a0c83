"""Which photographs there are: paths, labels and sizes in a few arrays, kept in one file."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from reslab.core.errors import DataError
from reslab.core.files import canonical_json, write_bytes
from reslab.core.text import printable

UNKNOWN: Final = -1  # the label of a picture whose class nobody has told


@dataclass(frozen=True, eq=False)
class Index:
    """Which pictures there are, in order: by class, then by path.

    Paths are kept in one block of bytes: 1.3 million take 63 MB, and worker processes share them.

    Args:
        classes: the classes' names, sorted; a label is a place among them; none where labels are unknown.
        block: uint8, all relative paths one after the other.
        ends: int64, (N,), where each path ends in ``block``.
        labels: int32, (N,); all `UNKNOWN` where there are no classes.
        sizes: int64, (N,), bytes of each file when it was found.
        others: files and folders that were passed over because they do not look like pictures.
    """

    classes: tuple[str, ...]
    block: NDArray[np.uint8]
    ends: NDArray[np.int64]
    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]
    others: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, number: int) -> str:
        """The relative path of picture ``number``, with ``/`` between folders."""
        start = int(self.ends[number - 1]) if number else 0
        return os.fsdecode(self.block[start : int(self.ends[number])].tobytes())

    @cached_property
    def digest(self) -> str:
        """The sha256 of classes, paths, labels and sizes, in hexadecimal."""
        total = hashlib.sha256(canonical_json(list(map(printable, self.classes))).encode())
        for column in (self.block, self.ends, self.labels, self.sizes):
            total.update(np.ascontiguousarray(column).data)
        return total.hexdigest()

    def subset(self, chosen: NDArray[np.int64]) -> "Index":
        """The pictures at ``chosen``, in that order."""
        paths = [os.fsencode(self.path(int(number))) for number in chosen]
        block = np.frombuffer(b"".join(paths), np.uint8)
        ends = np.cumsum([len(path) for path in paths], dtype=np.int64)
        return Index(self.classes, block, ends, self.labels[chosen], self.sizes[chosen], self.others)

    def save(self, file: Path) -> None:
        """Keep it in ``file``, for `read_index`.

        Raises:
            StorageError: it could not be written.
        """
        columns: dict[str, NDArray[Any]] = {
            "block": self.block,
            "ends": self.ends,
            "labels": self.labels,
            "sizes": self.sizes,
            "others": np.frombuffer("\n".join(self.others).encode(), np.uint8),  # printable: each is one line
        }
        names = {"index": canonical_json({"classes": self.classes})}
        write_bytes(file, safetensors.numpy.save(columns, names))


def read_index(file: Path) -> Index:
    """What `Index.save` kept.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with safetensors.safe_open(file, framework="numpy") as stored:
            names = json.loads(stored.metadata()["index"])
            columns = {key: stored.get_tensor(key) for key in ("block", "ends", "labels", "sizes")}
            others = stored.get_tensor("others").tobytes().decode().split("\n")
        index = Index(tuple(names["classes"]), others=tuple(filter(None, others)), **columns)
        check_columns(index)
    except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise DataError(f"{file} is damaged ({error}); remove it and the folder is searched again") from None
    return index


def check_columns(index: Index) -> None:
    """That the columns belong together.

    Raises:
        ValueError: they do not.
    """
    starts = np.concatenate([[0], index.ends])
    if not len(index.ends) == len(index.labels) == len(index.sizes):
        raise ValueError("columns of different lengths")
    if (np.diff(starts) <= 0).any() or int(starts[-1]) != len(index.block):
        raise ValueError("paths that do not fill their block")
    known = range(len(index.classes)) if index.classes else [UNKNOWN]
    if len(index) and not known[0] <= int(index.labels.min()) <= int(index.labels.max()) <= known[-1]:
        raise ValueError("labels beyond the classes")
