"""Shards where a folder of photographs may stand."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reslab.core.errors import DataError
from reslab.core.experiment import DataName, Photographs
from reslab.core.text import printable
from reslab.data.folder import divided
from reslab.data.index import Index
from reslab.data.parts import HALVES, Part
from reslab.data.photographs import PhotoFolder
from reslab.data.remote import RemoteFiles
from reslab.data.shards import INDEX, PACKING, Shards, joined, read_shards
from reslab.data.store import Files, FolderStore, LocalFiles, ShardStore, Store

if TYPE_CHECKING:
    from reslab.data.source import Reading


@dataclass(frozen=True)
class ShardFolder:
    """Shards of class folders alone, or one set below ``train/`` and one below ``val/``.

    Args:
        where: the folder or URL.
        files: what lies there.
        halved: whether the shards themselves say which pictures are ``val``.
    """

    where: str
    files: Files = field(repr=False, compare=False)
    halved: bool
    name: DataName = field(default="folder", init=False)
    opened: dict[str, Shards] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def place(self) -> str:
        """The folder's absolute path, or the URL."""
        return self.where if _is_url(self.where) else str(Path(self.where).resolve())

    def read(self, part: Part, reading: "Reading | None" = None) -> PhotoFolder:
        """The pictures of ``part``: those of the folder that was packed, in the same order.

        Raises:
            DataError: an index is damaged or not that of its shards; the line names the file.
        """
        if self.halved:
            halves = dict(zip(HALVES, map(self._set, HALVES), strict=True))
            if len({shards.index.classes for shards in halves.values()}) > 1:
                raise DataError(f"{printable(self.where)}: {' and '.join(HALVES)} were not packed together")
            shards = joined(list(halves.values())) if part == "all" else halves[part]
        else:
            shards = self._set(".")
            fraction = Photographs().held_out if reading is None else reading.held_out
            chosen = divided(shards.index, part, fraction, self.where)
            shards = shards if chosen is None else shards.subset(chosen)
        name = self.place.rstrip("/").rpartition("/")[2]
        return PhotoFolder(printable(name), part, ShardStore(self.where, shards, self.files))

    def _set(self, folder: str) -> Shards:
        """One set, opened and checked once, its shards named as ``where`` knows them."""
        if folder not in self.opened:
            file = self.files.index(folder)
            if file is None:
                raise DataError(f"{printable(self.where)} has no {folder}/{INDEX}: pack its shards again")
            place = self.where.rstrip("/") + ("" if folder == "." else f"/{folder}")
            found = read_shards(file, f"{place}/{INDEX}" if _is_url(self.where) else None)
            shards = found if folder == "." else found.below(folder)
            self.files.check(shards.files)
            self.opened[folder] = shards
        return self.opened[folder]


def find_shards(path: str) -> ShardFolder | None:
    """The shards at ``path``, a folder or a URL; None: it is a folder without.

    Raises:
        DataError: the shards are not all there yet, or nothing is at the URL.
        SpecError: what reads such URLs is not installed.
        StorageError: the URL does not answer.
    """
    if not _is_url(path) and (Path(path) / PACKING).exists():
        raise DataError(
            f"{printable(path)} holds shards that are not finished: the command that began goes on with them"
        )
    files = RemoteFiles(path) if _is_url(path) else LocalFiles(Path(path))
    if files.index(".") is not None:
        return ShardFolder(path, files, halved=False)
    halves = [half for half in HALVES if files.index(half) is not None]
    if len(halves) == 1:
        (other,) = set(HALVES) - set(halves)
        raise DataError(
            f"{printable(path)} has no {other}/{INDEX}: add that half; for {halves[0]} alone, name"
            f" {printable(path.rstrip('/'))}/{halves[0]}"
        )
    if halves:
        return ShardFolder(path, files, halved=True)
    if _is_url(path):
        raise DataError(f"{printable(path)} holds no shards: there is neither {INDEX} nor {HALVES[0]}/{INDEX}")
    return None


def store_at(path: str, index: Index) -> Store:
    """The bytes of the pictures of ``index``, which was kept, in the folder or shards at ``path``.

    Raises:
        DataError: these shards hold other pictures.
    """
    found = find_shards(path)
    if found is None:
        return FolderStore(Path(path), index)
    whole = found.read("all").store
    known = {whole.index.path(number): number for number in range(len(whole.index))}
    rows = np.array([known.get(index.path(number), -1) for number in range(len(index))], np.int64)
    if (rows < 0).any() or (whole.index.sizes[rows] != index.sizes).any():
        raise DataError(f"{printable(path)} holds other pictures than those that were tested")
    return whole.subset(rows)


def _is_url(path: str) -> bool:
    return "://" in path
