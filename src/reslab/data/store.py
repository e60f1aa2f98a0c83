"""Where the bytes of photographs come from: the files of a folder, or shards."""

import functools
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import DataError, PictureError, StorageError
from reslab.core.text import printable
from reslab.core.units import counted
from reslab.data.index import Index
from reslab.data.picture_file import read_picture
from reslab.data.pool import PATIENCE
from reslab.data.shards import INDEX, ShardFile, Shards

OPEN_FILES: Final = 256  # ours: a quarter of the 1,024 that a process may usually have open


class Store(Protocol):
    """The bytes of pictures, by their numbers in an index; worker processes have copies of it."""

    @property
    def index(self) -> Index:
        """Which pictures, in order."""

    @property
    def patience(self) -> float:
        """Seconds that a picture may take before its worker counts as hung."""

    @property
    def note(self) -> str | None:
        """What is to be said before pictures are read."""

    def read(self, number: int) -> bytes:
        """The bytes of picture ``number``; raises PictureError where it cannot be read, StorageError where none can."""

    def place(self, number: int) -> str:
        """Where it lies, fit to be printed."""

    def subset(self, chosen: NDArray[np.int64]) -> "Store":
        """The pictures at ``chosen``, in that order."""


@dataclass(frozen=True, eq=False)
class FolderStore:
    """Files below ``root``, where the paths of ``index`` start."""

    root: Path
    index: Index
    patience: ClassVar[float] = PATIENCE
    note: ClassVar[None] = None

    def read(self, number: int) -> bytes:
        """The file of picture ``number``.

        Raises:
            PictureError: it cannot be read, or has changed since it was found.
            StorageError: the folder that it was in has gone.
        """
        size, path = int(self.index.sizes[number]), self.root / self.index.path(number)
        try:
            return read_picture(path, size if size >= 0 else None)
        except PictureError:
            if not os.path.isdir(path.parent):  # noqa: PTH112 whatever the system says of it
                raise StorageError(f"{printable(str(path.parent))} has gone: its disk, or it was moved") from None
            raise

    def place(self, number: int) -> str:
        """Its path."""
        return printable(str(self.root / self.index.path(number)))

    def subset(self, chosen: NDArray[np.int64]) -> "FolderStore":
        """The pictures at ``chosen``, in that order."""
        return FolderStore(self.root, self.index.subset(chosen))


class Files(Protocol):
    """The shards of a set, wherever they are kept."""

    @property
    def patience(self) -> float:
        """Seconds that a read may take."""

    def index(self, folder: str) -> Path | None:
        """The index of the set in ``folder``, where there is one."""

    def check(self, files: Sequence[ShardFile]) -> None:
        """Find out whether the shards can be read; raises DataError."""

    def note(self, files: Sequence[ShardFile]) -> str | None:
        """What is to be said before they are read."""

    def read(self, file: ShardFile, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset`` on, fewer where the shard ends; raises OSError."""


class LocalFiles:
    """Shards in a folder, kept open: a copy in a child process reads through the same handles, at places of its own."""

    patience: Final = PATIENCE

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened = functools.lru_cache(OPEN_FILES)(Handle)

    def index(self, folder: str) -> Path | None:
        """The index of the set in ``folder``, where there is one."""
        file = self.folder / folder / INDEX
        return file if file.is_file() else None

    def read(self, file: ShardFile, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset`` on, fewer where the shard ends.

        Raises:
            StorageError: the shard has gone.
            OSError: it cannot be read.
        """
        path = self.folder / file.name
        try:
            return self._opened(path).read(length, offset)
        except OSError:
            if not os.path.exists(path):  # noqa: PTH110 whatever the system says of it
                raise StorageError(f"shard {printable(str(path))} has gone: its disk, or it was moved") from None
            raise

    def check(self, files: Sequence[ShardFile]) -> None:
        """Find out whether every shard is there and as long as it was.

        Raises:
            DataError: one is not; the line names it and says what makes it again.
        """
        for file in files:
            wrong = self._wrong(file)
            if wrong is not None:
                raise DataError(
                    f"shard {printable(str(self.folder / file.name))} {wrong}: give the command that made these shards"
                    " once more, and it makes this one again"
                )

    def lacking(self, files: Sequence[ShardFile]) -> list[int]:
        """The places in ``files`` of those that `check` would refuse.

        Raises:
            DataError: one cannot be looked for.
        """
        return [place for place, file in enumerate(files) if self._wrong(file) is not None]

    def _wrong(self, file: ShardFile) -> str | None:
        path = self.folder / file.name
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            raise DataError(f"shard {printable(str(path))} cannot be read: {error.strerror}") from None
        return None if size == file.size else f"has {counted(size, 'byte')}, not the {file.size:,} that its index says"

    def note(self, _files: Sequence[ShardFile]) -> None:
        """Nothing is to be said."""


class Handle:
    """A file open for reading until nobody holds it any more, in whichever thread that is."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def read(self, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset`` on, fewer where the file ends."""
        return os.pread(self.number, length, offset)


@dataclass(frozen=True, eq=False)
class ShardStore:
    """Pictures in shards; every read is checked against the checksum that was taken when they were packed.

    Args:
        where: the folder or URL that people know the shards by.
        shards: which pictures there are, and where.
        files: the shards' bytes.
    """

    where: str
    shards: Shards
    files: Files

    @property
    def index(self) -> Index:
        """Which pictures, in order."""
        return self.shards.index

    @property
    def patience(self) -> float:
        """Seconds that a picture may take before its worker counts as hung."""
        return self.files.patience

    @property
    def note(self) -> str | None:
        """What is to be said before pictures are read."""
        return self.files.note(self.shards.files)

    def read(self, number: int) -> bytes:
        """The bytes of picture ``number``.

        Raises:
            PictureError: its shard cannot be read or holds other bytes; the line names the shard.
            StorageError: the shard has gone, or storage does not answer.
        """
        file, length, offset, crc = self.shards.lies(number)
        try:
            data = self.files.read(file, length, offset)
        except OSError as error:
            raise PictureError(f"cannot be read from {file.name}: {error.strerror or error}") from None
        if len(data) != length:
            raise PictureError(f"is not whole: {file.name} is cut short")
        if zlib.crc32(data) != crc:
            raise PictureError(
                f"does not match its checksum: {file.name} is damaged, or not the shard that its index is of;"
                " delete it, and the command that made or fetched it does so again"
            )
        return data

    def place(self, number: int) -> str:
        """The shards and the picture's path."""
        return printable(f"{self.where}: {self.shards.index.path(number)}")

    def subset(self, chosen: NDArray[np.int64]) -> "ShardStore":
        """The pictures at ``chosen``, in that order."""
        return ShardStore(self.where, self.shards.subset(chosen), self.files)
