"""What ImageNet's official archives of 2012 hold: each half's pictures and classes, found in checked headers."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from reslab.core.errors import DataError
from reslab.core.text import few
from reslab.core.units import bytes_text, counted
from reslab.data.archive import Limits, Member, Tar
from reslab.data.devkit import MAX_CLASSES, Devkit
from reslab.data.parts import Split
from reslab.data.picture_file import MAX_BYTES
from reslab.data.prepared import Half, Origin, origin_of
from reslab.data.which_archive import CLASS_ARCHIVE, TRAINING, VAL_PICTURE, VALIDATION, Official, refuse_another

OFFICIAL: Final[dict[Split, int]] = {
    "train": 1_281_167,
    "val": 50_000,
}  # pictures of 1,000 classes (section 4.1: 1.28 million and 50k)
MAX_TOTAL: Final = 2**38  # bytes; ours: the official archive of training pictures has 147,897,477,120
TRAIN: Final = Limits(members=MAX_CLASSES, size=2**32, total=MAX_TOTAL)  # ours: a class has about 150 MB
CLASS: Final = Limits(members=10_000, size=MAX_BYTES, total=2**32)  # ours: a class has at most 1,300 pictures
VAL: Final = Limits(members=OFFICIAL["val"], size=MAX_BYTES, total=MAX_TOTAL)


class Picture(NamedTuple):
    """A member of an archive, and the class whose folder it belongs into."""

    wnid: str
    member: Member


Group = tuple[Tar, list[Picture]]


class Sources(NamedTuple):
    """The official files, as far as there are any."""

    train: Path | None = None
    val: Path | None = None
    devkit: Path | None = None


@dataclass(frozen=True)
class ArchivedHalf:
    """A half that is asked for: its archive, whose outer headers are checked, and its pictures in groups.

    Args:
        half: ``train`` or ``val``.
        origin: what it can be known again by.
        tar: all of it.
        classes: their wnids.
        groups: pictures and the archive that they are members of, a class at a time where classes are archives; headers
            of such an archive are read when its turn comes.
        devkit: the digest of the development kit that says the pictures' classes.
    """

    half: Split
    origin: Origin
    tar: Tar
    classes: frozenset[str]
    groups: Iterator[Group]
    devkit: str | None = None


def archived_halves(sources: Sources, devkit: Devkit | None, opened: ExitStack) -> Iterator[ArchivedHalf]:
    """The halves that ``sources`` has; their archives stay open as long as ``opened``.

    Raises:
        DataError: an archive is damaged, hostile or not ImageNet's, or does not belong to the kit.
    """
    if sources.train is not None:
        yield _train(sources.train, devkit, opened)
    if sources.val is not None:
        if devkit is None:
            raise DataError("validation pictures need the development kit: their archive does not say their classes")
        yield _val(sources.val, devkit, opened)


def _opened(path: Path, wanted: Official, opened: ExitStack) -> tuple[Origin, Tar]:
    origin = origin_of(path)
    tar = Tar(opened.enter_context(path.open("rb")), 0, origin.bytes, origin.name)
    refuse_another(tar, wanted)
    return origin, tar


def _train(path: Path, devkit: Devkit | None, opened: ExitStack) -> ArchivedHalf:
    origin, tar = _opened(path, TRAINING, opened)
    archives = tar.members(TRAIN, CLASS_ARCHIVE)
    if not archives:
        raise DataError(f"{tar.title} holds no classes")
    classes = frozenset(_wnid(member) for member in archives)
    strange = [] if devkit is None else sorted(classes - set(devkit.wnids))
    if devkit is not None and strange:
        raise DataError(f"{tar.title} holds classes that {devkit.title} does not name: {few(strange)}")
    return ArchivedHalf("train", origin, tar, classes, _class_by_class(tar, archives))


def _class_by_class(tar: Tar, archives: list[Member]) -> Iterator[Group]:
    for archive in archives:
        wnid, inner = _wnid(archive), tar.inside(archive)
        pictures = inner.members(CLASS, re.compile(rf"{wnid}_[0-9]+\.JPEG"))
        if not pictures:
            raise DataError(f"{inner.title} holds no pictures")
        yield inner, [Picture(wnid, member) for member in pictures]


def _val(path: Path, devkit: Devkit, opened: ExitStack) -> ArchivedHalf:
    origin, tar = _opened(path, VALIDATION, opened)
    members = tar.members(VAL, VAL_PICTURE)
    answers = [devkit.wnids[place] for place in devkit.truth]
    if len(members) != len(answers) or not members:
        raise DataError(
            f"{tar.title} holds {counted(len(members), 'picture')},"
            f" and {devkit.title} has the classes of {len(answers):,}"
        )
    for member in members:
        if not 1 <= _number(member) <= len(answers):
            raise DataError(f"{tar.title}: {member.name} is none of the pictures 1 to {len(answers):,}")
    pictures = [Picture(answers[_number(member) - 1], member) for member in members]
    return ArchivedHalf("val", origin, tar, frozenset(answers), iter([(tar, pictures)]), devkit.digest)


def _wnid(archive: Member) -> str:
    return archive.name.removesuffix(".tar")


def _number(picture: Member) -> int:
    return int(picture.name.removesuffix(".JPEG").rpartition("_")[2])


def size_text(half: Split, there: Half) -> str:
    """A half for people, beside the official numbers where it is no copy of the official one."""
    whole = (there.classes, there.pictures) == (MAX_CLASSES, OFFICIAL[half])
    official = "as published" if whole else f"published: {MAX_CLASSES:,} classes, {OFFICIAL[half]:,} pictures"
    found = f"{counted(there.classes, 'class')}, {counted(there.pictures, 'picture')}"
    text = f"{half}/: {found}, {bytes_text(there.bytes)} ({official})"
    if there.sharded is None:
        return text
    resized = f"{there.sharded.resized:,} resized" if there.sharded.resized else "byte for byte"
    return f"{text} in {counted(there.sharded.shards, 'shard')}, {bytes_text(there.sharded.bytes)}, {resized}"
