"""ImageNet's official archives of 2012 become the folders that reslab reads."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from reslab.core.errors import DataError
from reslab.core.files import require_writable, write_text
from reslab.core.listening import unheard
from reslab.core.rundir import held_alone
from reslab.core.text import few, printable
from reslab.core.units import bytes_text
from reslab.data.archive import Limits, Member, Tar
from reslab.data.devkit import MAX_CLASSES, Devkit, read_devkit
from reslab.data.folder import common_classes
from reslab.data.parts import Split
from reslab.data.picture_file import MAX_BYTES
from reslab.data.prepared import Half, Origin, Prepared, origin_of, read_prepared, write_prepared
from reslab.data.unpack import Picture, Unpacking, forget

OFFICIAL: Final[dict[Split, int]] = {
    "train": 1_281_167,
    "val": 50_000,
}  # pictures of 1,000 classes (section 4.1: 1.28 million and 50k)
SERVER_CLASSES: Final = "server-classes.txt"
MAX_TOTAL: Final = 2**38  # bytes; ours: the official archive of training pictures has 147,897,477,120
TRAIN: Final = Limits(members=MAX_CLASSES, size=2**32, total=MAX_TOTAL)  # ours: a class has about 150 MB
CLASS: Final = Limits(members=10_000, size=MAX_BYTES, total=2**32)  # ours: a class has at most 1,300 pictures
VAL: Final = Limits(members=OFFICIAL["val"], size=MAX_BYTES, total=MAX_TOTAL)
CLASS_ARCHIVE: Final = re.compile(r"n[0-9]{8}\.tar")
VAL_PICTURE: Final = re.compile(r"ILSVRC2012_val_[0-9]{8}\.JPEG")

Moved = Callable[[Split, int, int], None]
Group = tuple[Tar, list[Picture]]


class Sources(NamedTuple):
    """The official files, as far as there are any."""

    train: Path | None = None
    val: Path | None = None
    devkit: Path | None = None


@dataclass(frozen=True)
class _Plan:
    """A half that is asked for: its archive, whose outer headers are checked, and its pictures in groups."""

    half: Split
    origin: Origin
    tar: Tar
    classes: frozenset[str]
    groups: Iterator[Group]
    devkit: str | None = None


def prepare_imagenet(
    sources: Sources, out: Path, warn: Callable[[str], None] = unheard, moved: Moved = unheard
) -> Prepared:
    """Write ``out/train/WNID/NAME.JPEG``, ``out/val/WNID/NAME.JPEG``, and the test server's order of classes.

    Each header of an archive is checked before anything it holds is written, the archive of a class as a whole.
    Pictures are kept byte for byte. Whatever stopped a preparation, the same call goes on; one that is finished is
    known by ``prepared.json`` and by counting.

    Args:
        sources: a picture archive or both; validation pictures need the development kit, which knows their classes.
        out: a folder, there or to be made.
        warn: hears of what is no error.
        moved: told the half, and how many of how many bytes of its archive are done.

    Returns:
        What ``out`` holds now, halves of former calls included.

    Raises:
        DataError: an archive or the kit is damaged, hostile or not ImageNet's, or ``out`` holds something else.
        RunError: ``out`` is a file, or another process is preparing it.
        SpecError: the kit is to be read and scipy is missing.
        StorageError: the disk is full or read-only; what is there is whole.
    """
    with ExitStack() as opened:
        devkit = None if sources.devkit is None else read_devkit(sources.devkit)
        plans = list(_plans(sources, devkit, opened))
        require_writable(out)
        opened.enter_context(held_alone(out))
        prepared = read_prepared(out)
        todo = [plan for plan in plans if not _is_done(plan, getattr(prepared, plan.half), out)]
        if devkit is not None:
            _write_order(out / SERVER_CLASSES, devkit)
        for plan in todo:
            prepared = _carry_out(plan, prepared, out, moved)
        for plan in plans:
            forget(out, plan.half)
    if prepared.train and prepared.val:
        _compare(out, warn)
    return prepared


def _plans(sources: Sources, devkit: Devkit | None, opened: ExitStack) -> Iterator[_Plan]:
    if sources.train is not None:
        yield _train(sources.train, devkit, opened)
    if sources.val is not None:
        if devkit is None:
            raise DataError("validation pictures need the development kit: their archive does not say their classes")
        yield _val(sources.val, devkit, opened)


def _opened(path: Path, opened: ExitStack) -> tuple[Origin, Tar]:
    origin = origin_of(path)
    return origin, Tar(opened.enter_context(path.open("rb")), 0, origin.bytes, origin.name)


def _train(path: Path, devkit: Devkit | None, opened: ExitStack) -> _Plan:
    origin, tar = _opened(path, opened)
    archives = tar.members(TRAIN, CLASS_ARCHIVE)
    if not archives:
        raise DataError(f"{tar.title} holds no classes")
    classes = frozenset(_wnid(member) for member in archives)
    strange = [] if devkit is None else sorted(classes - set(devkit.wnids))
    if devkit is not None and strange:
        raise DataError(f"{tar.title} holds classes that {devkit.title} does not name: {few(strange)}")
    return _Plan("train", origin, tar, classes, _class_by_class(tar, archives))


def _class_by_class(tar: Tar, archives: list[Member]) -> Iterator[Group]:
    for archive in archives:
        wnid, inner = _wnid(archive), tar.inside(archive)
        pictures = inner.members(CLASS, re.compile(rf"{wnid}_[0-9]+\.JPEG"))
        if not pictures:
            raise DataError(f"{inner.title} holds no pictures")
        yield inner, [Picture(wnid, member) for member in pictures]


def _val(path: Path, devkit: Devkit, opened: ExitStack) -> _Plan:
    origin, tar = _opened(path, opened)
    members = tar.members(VAL, VAL_PICTURE)
    answers = [devkit.wnids[place] for place in devkit.truth]
    if len(members) != len(answers) or not members:
        raise DataError(
            f"{tar.title} holds {len(members):,} pictures, and {devkit.title} has the classes of {len(answers):,}"
        )
    for member in members:
        if not 1 <= _number(member) <= len(answers):
            raise DataError(f"{tar.title}: {member.name} is none of the pictures 1 to {len(answers):,}")
    pictures = [Picture(answers[_number(member) - 1], member) for member in members]
    return _Plan("val", origin, tar, frozenset(answers), iter([(tar, pictures)]), devkit.digest)


def _wnid(archive: Member) -> str:
    return archive.name.removesuffix(".tar")


def _number(picture: Member) -> int:
    return int(picture.name.removesuffix(".JPEG").rpartition("_")[2])


def _is_done(plan: _Plan, before: Half | None, out: Path) -> bool:
    """Whether the half is whole already; a half of another archive is refused."""
    if before is None:
        return False
    place = printable(str(out / plan.half))
    if not before.archive.same(plan.origin):
        raise DataError(
            f"{place} was made from {printable(before.archive.name)} of {before.archive.bytes:,} bytes, not from this"
            f" {plan.origin.name} of {plan.origin.bytes:,}: choose another --out"
        )
    if before.devkit != plan.devkit:
        raise DataError(f"{place} was made with another development kit: choose another --out")
    return _counted(out / plan.half) == (before.classes, before.pictures)


def _counted(half: Path) -> tuple[int, int]:
    """Classes and pictures that are there."""
    folders = [entry for entry in _entries(half) if entry.is_dir()] if half.is_dir() else []
    return len(folders), sum(len(_entries(folder)) for folder in folders)


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _write_order(file: Path, devkit: Devkit) -> None:
    text = "".join(f"{wnid}\n" for wnid in devkit.wnids)
    if not file.exists():
        write_text(file, text)
    elif not file.is_file() or file.read_bytes() != text.encode():
        raise DataError(
            f"{printable(str(file))} has another order of classes than {devkit.title}: choose another --out"
        )


def _carry_out(plan: _Plan, prepared: Prepared, out: Path, moved: Moved) -> Prepared:
    work = Unpacking(out, plan.half, plan.origin)
    with work.begun(plan.classes):
        for tar, pictures in plan.groups:
            work.take(tar, pictures, lambda place: moved(plan.half, place, plan.tar.end))
    half = Half(
        archive=plan.origin,
        devkit=plan.devkit,
        classes=len(work.classes),
        pictures=work.pictures,
        bytes=work.bytes,
        odd=work.whole(),
    )
    prepared = prepared.model_copy(update={plan.half: half})
    write_prepared(out, prepared)
    return prepared


def _compare(out: Path, warn: Callable[[str], None]) -> None:
    try:
        common_classes(out, ("train", "val"))
    except DataError as error:
        warn(f"{error}; reslab reads both only where they have the same")


def size_text(half: Split, there: Half) -> str:
    """A half for people, beside the official numbers where it is no copy of the official one."""
    whole = (there.classes, there.pictures) == (MAX_CLASSES, OFFICIAL[half])
    official = "as published" if whole else f"published: {MAX_CLASSES:,} classes, {OFFICIAL[half]:,} pictures"
    return f"{half}/: {there.classes:,} classes, {there.pictures:,} pictures, {bytes_text(there.bytes)} ({official})"
