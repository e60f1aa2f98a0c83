"""``prepared.json``: what a folder of photographs was made from, written when it is whole."""

import hashlib
import os
from pathlib import Path
from typing import Final

import pydantic

from reslab.core.errors import DataError
from reslab.core.files import write_json
from reslab.core.text import printable

FILE: Final = "prepared.json"
ENDS: Final = 2**20  # bytes at each end of an archive; ours: 147 GB are not read twice to know them again


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Origin(_Record):
    """An archive: its ``name`` when it was read, its size in ``bytes``, and the sha256 of its first and last MiB."""

    name: str
    bytes: int
    ends: str

    def same(self, other: "Origin") -> bool:
        """Whether both are one archive, whatever it is called."""
        return (self.bytes, self.ends) == (other.bytes, other.ends)


class Odd(_Record):
    """A picture that is not what its name says, or in inks: ``path`` relative to the folder, and ``what`` it is."""

    path: str
    what: str


class Sizes(_Record):
    """How a half was packed: at most so many ``bytes`` or ``pictures`` a shard, and what was made smaller, and how."""

    bytes: int
    pictures: int | None = None
    shorter_side: int | None = None
    quality: int | None = None


class Sharded(_Record):
    """A half in shards.

    Args:
        sizes: how it was packed.
        plan: the digest of what was packed and how, as the shards' index says it.
        shards: how many.
        bytes: of the pictures in them.
        digest: of the pictures in them.
        resized: how many were made smaller.
        damaged: paths of those that should have been and cannot be decoded, kept as they are.
    """

    sizes: Sizes
    plan: str
    shards: int
    bytes: int
    digest: str
    resized: int
    damaged: tuple[str, ...]


class Half(_Record):
    """``train/`` or ``val/``, whole: how many classes, pictures and bytes, the odd ones, and where they are from.

    ``devkit`` is the digest of the development kit that says the classes of ``val/``; ``sharded`` is there where the
    pictures lie in shards, and not in class folders.
    """

    archive: Origin
    devkit: str | None = None
    classes: int
    pictures: int
    bytes: int
    odd: tuple[Odd, ...]
    sharded: Sharded | None = None


class Prepared(_Record):
    """A folder's halves that are whole."""

    train: Half | None = None
    val: Half | None = None


def origin_of(path: Path) -> Origin:
    """What an archive can be known again by.

    Raises:
        DataError: it is no regular file, or cannot be read.
    """
    shown = printable(str(path))
    try:
        if not path.exists():
            raise DataError(f"{shown} does not exist")
        if not path.is_file():
            raise DataError(f"{shown} is not a regular file")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            digest = hashlib.sha256(stream.read(ENDS))
            stream.seek(max(size - ENDS, 0))
            digest.update(stream.read(ENDS))
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}") from None
    return Origin(name=printable(path.name), bytes=size, ends=digest.hexdigest())


def read_prepared(folder: Path) -> Prepared:
    """What ``folder`` says it holds; nothing where it says nothing.

    Raises:
        DataError: its ``prepared.json`` is damaged.
    """
    file = folder / FILE
    try:
        return Prepared.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return Prepared()
    except OSError as error:
        raise DataError(f"cannot read {printable(str(file))}: {error.strerror}") from None
    except pydantic.ValidationError:
        raise DataError(f"{printable(str(file))} is damaged: delete it, and the folder is compared again") from None


def write_prepared(folder: Path, prepared: Prepared) -> None:
    """Say what ``folder`` holds.

    Raises:
        StorageError: the file cannot be written.
    """
    write_json(folder / FILE, prepared.model_dump(mode="json", exclude_none=True))
