"""Photographs whose classes nobody has told: a folder of files, as ILSVRC's test pictures come."""

from dataclasses import dataclass, field
from pathlib import Path

from reslab.core.errors import DataError
from reslab.core.experiment import DataName
from reslab.core.text import printable
from reslab.data.folder import is_unlabelled, scan_unlabelled
from reslab.data.parts import Part
from reslab.data.photographs import PhotoFolder
from reslab.data.source import Reading, Source, find_data
from reslab.data.store import FolderStore


@dataclass(frozen=True)
class UnlabelledFolder:
    """Photographs that lie directly in ``root``; each has the label -1."""

    root: Path
    name: DataName = field(default="folder", init=False)

    @property
    def place(self) -> str:
        """The folder's absolute path."""
        return str(self.root.resolve())

    def read(self, part: Part, reading: Reading | None = None) -> PhotoFolder:
        """All pictures, by name.

        Raises:
            DataError: another part is asked for, or the folder cannot be read.
        """
        if part != "all":
            raise DataError(f"{printable(str(self.root))} has no classes, so it has no part {part}: leave --split out")
        index = scan_unlabelled(self.root, (reading or Reading()).found)
        return PhotoFolder(printable(self.root.resolve().name), part, FolderStore(self.root, index))


def find_answered(path: str) -> Source:
    """What ``path`` names to be answered: a folder of photographs without classes, or as `find_data`.

    Raises:
        DataError: as `find_data`.
    """
    return UnlabelledFolder(Path(path)) if is_unlabelled(Path(path)) else find_data(path)
