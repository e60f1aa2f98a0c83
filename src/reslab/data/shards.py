"""Shards: pictures one after the other in a few TAR files, in WebDataset's layout, and the index that finds each again.

A sample is ``00000042.jpg`` (or png, webp, ...: what the bytes are) and ``00000042.cls``, its label as text; the number
is the picture's place in the index. The index says which pictures there are exactly as a folder's does.
"""

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from reslab.core.errors import DataError
from reslab.core.files import canonical_json, write_bytes
from reslab.core.text import printable
from reslab.data.index import Index, check_columns

INDEX: Final = "index.safetensors"
PACKING: Final = ".packing"  # a folder that is there while shards are being made
FORMAT: Final = 1
COLUMNS: Final = {
    "block": np.uint8,
    "ends": np.int64,
    "labels": np.int32,
    "sizes": np.int64,
    "shards": np.int32,
    "offsets": np.int64,
    "crcs": np.uint32,
}


class ShardFile(NamedTuple):
    """A TAR file: its name as the index's folder knows it, its bytes, their CRC-32."""

    name: str
    size: int
    crc: int


class Lies(NamedTuple):
    """Where a picture's bytes lie, and their CRC-32."""

    file: ShardFile
    length: int
    offset: int
    crc: int


@dataclass(frozen=True, eq=False)
class Shards:
    """Pictures and where they lie.

    Args:
        index: which pictures, in the folder's order, with the sizes that they have here.
        shards: int32, (N,), the place of each picture's shard in ``files``.
        offsets: int64, (N,), where its bytes begin in the shard.
        crcs: uint32, (N,), CRC-32 of its bytes.
        files: the shards.
        facts: of what and how they were made: the folder's digest, sizes and quality where pictures were resized.
    """

    index: Index
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    files: tuple[ShardFile, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    def lies(self, number: int) -> Lies:
        """Where picture ``number`` lies."""
        file = self.files[int(self.shards[number])]
        return Lies(file, int(self.index.sizes[number]), int(self.offsets[number]), int(self.crcs[number]))

    def subset(self, chosen: NDArray[np.int64]) -> "Shards":
        """The pictures at ``chosen``, in that order."""
        return replace(
            self,
            index=self.index.subset(chosen),
            shards=self.shards[chosen],
            offsets=self.offsets[chosen],
            crcs=self.crcs[chosen],
        )

    def below(self, folder: str) -> "Shards":
        """The same, with the shards' names as the folder above ``folder`` knows them."""
        return replace(self, files=tuple(file._replace(name=f"{folder}/{file.name}") for file in self.files))

    def save(self, file: Path) -> None:
        """Keep it in ``file``, for `read_shards`; equal shards are equal files.

        Raises:
            StorageError: it could not be written.
        """
        columns = self._columns()
        about = {
            "format": FORMAT,
            "classes": self.index.classes,
            "files": [file._asdict() for file in self.files],
            "facts": self.facts,
        }
        told = {"about": about, "crc32": _checksum(about, columns.values())}
        write_bytes(file, safetensors.numpy.save(columns, {"shards": canonical_json(told)}))

    def _columns(self) -> dict[str, NDArray[Any]]:
        own = {name: getattr(self.index, name) for name in ("block", "ends", "labels", "sizes")}
        return {**own, "shards": self.shards, "offsets": self.offsets, "crcs": self.crcs}


def read_shards(file: Path, url: str | None = None) -> Shards:
    """What `Shards.save` kept.

    Args:
        file: where.
        url: what it is a copy of.

    Raises:
        DataError: the file is missing or damaged, or of a later format; the line says what makes it again.
    """
    try:
        with safetensors.safe_open(file, framework="numpy") as stored:
            told = json.loads(stored.metadata()["shards"])
            columns = {name: stored.get_tensor(name) for name in COLUMNS}
        about = told["about"]
        _check_told(told, columns)
        files = tuple(ShardFile(**one) for one in about["files"])
        own = (columns.pop(name) for name in ("block", "ends", "labels", "sizes"))
        found = Shards(Index(tuple(about["classes"]), *own), **columns, files=files, facts=about["facts"])
        _check(found)
    except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError) as error:
        again = f"remove {printable(str(file.parent))}, and the command that made these shards makes them again"
        cure = "copy it there again" if url else again
        raise DataError(f"the index of shards {printable(url or str(file))} is damaged ({error}): {cure}") from None
    return found


def joined(parts: Sequence[Shards]) -> Shards:
    """The pictures of several sets of the same classes in one: by class, then set by set."""
    starts = np.cumsum([0, *(len(part.index.block) for part in parts)])
    firsts = np.cumsum([0, *(len(part.files) for part in parts)])

    def together(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(list(columns))

    index = Index(
        parts[0].index.classes,
        together(part.index.block for part in parts),
        together(part.index.ends + start for part, start in zip(parts, starts, strict=False)),
        together(part.index.labels for part in parts),
        together(part.index.sizes for part in parts),
    )
    shards = together((part.shards + first).astype(np.int32) for part, first in zip(parts, firsts, strict=False))
    offsets, crcs = (together(getattr(part, name) for part in parts) for name in ("offsets", "crcs"))
    files = tuple(file for part in parts for file in part.files)
    return Shards(index, shards, offsets, crcs, files).subset(np.argsort(index.labels, kind="stable"))


def _checksum(about: dict[str, Any], columns: Iterable[NDArray[Any]]) -> int:
    total = zlib.crc32(canonical_json(about).encode())
    for column in columns:
        total = zlib.crc32(np.ascontiguousarray(column).data, total)
    return total


def _check_told(told: dict[str, Any], columns: dict[str, NDArray[Any]]) -> None:
    """That nothing has changed since it was written, by a version that we understand; raises ValueError."""
    if told["crc32"] != _checksum(told["about"], columns.values()):
        raise ValueError("it does not match its checksum")
    if told["about"]["format"] != FORMAT:
        raise ValueError(f"it has format {told['about']['format']}, and this version reads {FORMAT}")


def _check(found: Shards) -> None:
    """That the columns belong together; raises ValueError."""
    check_columns(found.index)
    if not len(found.index) == len(found.shards) == len(found.offsets) == len(found.crcs):
        raise ValueError("columns of different lengths")
    columns = found._columns()  # noqa: SLF001 its own
    if any(columns[name].dtype != kind for name, kind in COLUMNS.items()):
        raise ValueError("columns of other types")
    sizes = np.array([file.size for file in found.files], np.int64)
    if len(found.index) and not 0 <= int(found.shards.min()) <= int(found.shards.max()) < len(sizes):
        raise ValueError("shards that are not listed")
    if any(file.name != Path(file.name).name or file.name.startswith(".") for file in found.files):
        raise ValueError("shards outside its folder")
    ends = found.offsets + found.index.sizes
    if (found.offsets < 0).any() or (found.index.sizes <= 0).any() or (ends > sizes[found.shards]).any():
        raise ValueError("pictures beyond the ends of their shards")
