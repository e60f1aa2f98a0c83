"""Whether two machines see the same folder. Light: it is asked on every node before torch is loaded anywhere."""

import secrets
from pathlib import Path
from typing import NamedTuple

from reslab.core.files import write_text


class Marker(NamedTuple):
    """A file and the text in it, which no other folder of this name holds."""

    path: str
    text: str


def mark(folder: Path) -> Marker:
    """Write a marker into ``folder``, over the one before.

    Raises:
        StorageError: it cannot be written.
    """
    marker = Marker(str(folder.absolute() / "marker"), secrets.token_hex(16))
    write_text(Path(marker.path), marker.text)
    return marker


def seen(marker: Marker) -> bool:
    """Whether the file that `mark` wrote is here."""
    path = Path(marker.path)
    return path.is_file() and path.read_text(encoding="utf-8") == marker.text
