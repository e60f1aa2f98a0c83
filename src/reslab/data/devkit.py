"""ImageNet's development kit: how its test server numbers the classes, and what each validation picture is."""

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from reslab.core.errors import DataError
from reslab.core.files import canonical_json, sha256_text
from reslab.core.text import few, printable
from reslab.core.units import bytes_text, counted
from reslab.data.archive import Limits, Tar
from reslab.data.meta_mat import Synset, read_synsets
from reslab.data.which_archive import GZIP, KIT, ROOT, refuse_another

META: Final = "data/meta.mat"
TRUTH: Final = "data/ILSVRC2012_validation_ground_truth.txt"
MAX_UNPACKED: Final = 2**26  # bytes; ours: the official kit is below a tenth of it
LIMITS: Final = Limits(members=1_000, size=2**25, total=MAX_UNPACKED)
MAX_TRUTH: Final = 2**20  # bytes; ours: 50,000 numbers of a line each have a fifth of it
MAX_CLASSES: Final = 1_000
WNID: Final = re.compile(r"n[0-9]{8}")


@dataclass(frozen=True)
class Devkit:
    """What the kit says.

    Args:
        title: its name, fit to be printed.
        wnids: of the classes, in the order of ILSVRC2012_ID, from 1.
        truth: the place in ``wnids`` of each validation picture's class, in the order of the pictures' names.
    """

    title: str
    wnids: tuple[str, ...]
    truth: tuple[int, ...]

    @property
    def digest(self) -> str:
        """The sha256 of classes and answers."""
        return sha256_text(canonical_json([self.wnids, self.truth]))


def read_devkit(path: Path) -> Devkit:
    """The kit as ``ILSVRC2012_devkit_t12.tar.gz``, or the folder that is in it, or the folder around that one.

    Raises:
        DataError: it is none of these, it is damaged, or its answers are not of its classes.
        SpecError: scipy is not installed.
    """
    title = printable(path.name or str(path))
    meta, truth = _from_folder(path) if path.is_dir() else _from_archive(path, title)
    wnids = _classes(read_synsets(meta, f"{title}: meta.mat"), title)
    return Devkit(title, wnids, _answers(truth, len(wnids), title))


def _from_folder(path: Path) -> tuple[bytes, bytes]:
    root = path / ROOT if (path / ROOT).is_dir() else path
    meta, truth = (_bytes_of(root / name) for name in (META, TRUTH))
    return meta, truth


def _bytes_of(path: Path) -> bytes:
    shown = printable(str(path))
    try:
        if not path.is_file():
            raise DataError(f"{shown} is missing: the development kit has it")
        with path.open("rb") as stream:
            data = stream.read(LIMITS.size + 1)
    except OSError as error:
        raise DataError(f"cannot read {shown}: {error.strerror}") from None
    if len(data) > LIMITS.size:
        raise DataError(f"{shown} has more than {bytes_text(LIMITS.size)}")
    return data


def _from_archive(path: Path, title: str) -> tuple[bytes, bytes]:
    unpacked = _unpacked(path, title)
    tar = Tar(io.BytesIO(unpacked), 0, len(unpacked), title)
    members = {member.name: member for member in tar.members(LIMITS, folders=True)}
    wanted = [f"{ROOT}/{name}" for name in (META, TRUTH)]
    missing = [name for name in wanted if name not in members]
    if missing:
        raise DataError(f"{title} is not ImageNet's development kit: it lacks {few(missing)}")
    meta, truth = (tar.read(members[name]) for name in wanted)
    return meta, truth


def _unpacked(path: Path, title: str) -> bytes:
    """All bytes of the tar, which browsers may have unzipped already."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{title} is not a regular file")
        with path.open("rb") as stream:
            refuse_another(Tar(stream, 0, path.stat().st_size, title), KIT)
            stream.seek(0)
            packed = stream.read(len(GZIP)) == GZIP
            stream.seek(0)
            data = _first(gzip.GzipFile(fileobj=stream) if packed else stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{title} is damaged: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read {printable(str(path))}: {error.strerror}") from None
    if len(data) > MAX_UNPACKED:
        raise DataError(f"{title} unpacks to more than {bytes_text(MAX_UNPACKED)}")
    return data


def _first(stream: BinaryIO | gzip.GzipFile) -> bytes:
    return stream.read(MAX_UNPACKED + 1)


def _classes(synsets: list[Synset], title: str) -> tuple[str, ...]:
    """The wnids of the leaves by their numbers; what is above them in the tree is no class."""
    leaves = sorted(synset for synset in synsets if not synset.children)
    numbers = [leaf.number for leaf in leaves]
    if not leaves or len(leaves) > MAX_CLASSES or numbers != list(range(1, len(leaves) + 1)):
        raise DataError(
            f"{title}: meta.mat has {counted(len(leaves), 'class')}, not numbered from 1 on,"
            f" or more than {MAX_CLASSES:,}"
        )
    wnids = tuple(leaf.wnid for leaf in leaves)
    wrong = [wnid for wnid in wnids if not WNID.fullmatch(wnid)]
    if wrong or len(set(wnids)) < len(wnids):
        raise DataError(f"{title}: meta.mat has classes that are no wnids or are there twice: {few(wrong or wnids)}")
    return wnids


def _answers(data: bytes, classes: int, title: str) -> tuple[int, ...]:
    if len(data) > MAX_TRUTH:
        raise DataError(f"{title}: the ground truth has {bytes_text(len(data))}, more than {bytes_text(MAX_TRUTH)}")
    lines = [line.strip() for line in data.splitlines()]
    for number, line in enumerate(lines, start=1):
        if not re.fullmatch(rb"[0-9]{1,4}", line) or not 1 <= int(line) <= classes:
            shown = printable(line[:20].decode("utf-8", "surrogateescape"))
            raise DataError(
                f"{title}: line {number:,} of the ground truth is '{shown}', which is no class from 1 to {classes:,}"
            )
    return tuple(int(line) - 1 for line in lines)
