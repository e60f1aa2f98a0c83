"""The pictures of archives where a folder's would stand: read in place, at the offsets that checked headers gave."""

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import PictureError
from reslab.data.archive import Tar
from reslab.data.folder import Found, index_of
from reslab.data.halves import ArchivedHalf
from reslab.data.index import Index
from reslab.data.pool import PATIENCE


@dataclass(frozen=True, eq=False)
class ArchiveStore:
    """Members of an archive, or of archives in it.

    Args:
        tar: the archive; a copy in a child process reads through the same handle, at places of its own.
        index: which pictures; paths are ``HALF/WNID/NAME``.
        starts: int64, (N,), where the bytes of each begin in the archive's stream.
        nested: whether each class is an archive in the archive.
    """

    tar: Tar
    index: Index
    starts: NDArray[np.int64]
    nested: bool
    patience: ClassVar[float] = PATIENCE
    note: ClassVar[None] = None

    def read(self, number: int) -> bytes:
        """The bytes of picture ``number``.

        Raises:
            PictureError: it is empty, cannot be read, or is not there any more.
        """
        size = int(self.index.sizes[number])
        if not size:
            raise PictureError("is empty")
        try:
            data = os.pread(self.tar.stream.fileno(), size, int(self.starts[number]))
        except OSError as error:
            raise PictureError(f"cannot be read: {error.strerror or error}") from None
        if len(data) < size:
            raise PictureError("is not whole: the archive has changed")
        return data

    def place(self, number: int) -> str:
        """The archives that it is in, and its name."""
        _, wnid, name = self.index.path(number).split("/")
        return f"{self.tar.title}: {wnid}.tar: {name}" if self.nested else f"{self.tar.title}: {name}"

    def subset(self, chosen: NDArray[np.int64]) -> "ArchiveStore":
        """The pictures at ``chosen``, in that order."""
        return replace(self, index=self.index.subset(chosen), starts=self.starts[chosen])


def archived(plan: ArchivedHalf, found: Found) -> ArchiveStore:
    """The pictures of a half, exactly as a search of its class folders would list them.

    Args:
        plan: the half; the headers of its classes are read and checked here.
        found: told how many pictures there are so far, now and then.

    Raises:
        DataError: a class is damaged, hostile or not ImageNet's.
    """
    classes = sorted(plan.classes)
    labels = {wnid: label for label, wnid in enumerate(classes)}
    starts = array("q")

    def entries() -> Iterator[tuple[str, int, int]]:
        for _, pictures in plan.groups:
            for wnid, member in sorted(pictures):
                starts.append(member.start)
                yield f"{plan.half}/{wnid}/{member.name}", member.size, labels[wnid]

    index = index_of(classes, entries(), [], found)
    whole = ArchiveStore(plan.tar, index, np.array(starts, np.int64), nested=plan.half == "train")
    return whole.subset(np.argsort(index.labels, kind="stable"))
