"""ImageNet's official archives of 2012 become what reslab reads: class folders here, shards in `prepare_shards`."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

from reslab.core.errors import DataError
from reslab.core.files import require_writable, write_text
from reslab.core.listening import unheard
from reslab.core.rundir import held_alone
from reslab.core.text import printable
from reslab.data.devkit import Devkit, read_devkit
from reslab.data.folder import common_classes
from reslab.data.halves import ArchivedHalf, Sources, archived_halves
from reslab.data.parts import HALVES, Split
from reslab.data.prepared import Half, Prepared, read_prepared, write_prepared
from reslab.data.shards import INDEX, PACKING
from reslab.data.unpack import Unpacking, journals

SERVER_CLASSES: Final = "server-classes.txt"
Moved = Callable[[Split, int, int], None]


class Form(Protocol):
    """What the pictures of archives become in a folder."""

    def require_own(self, prepared: Prepared) -> None:
        """Find out whether the folder holds another form; raises DataError."""

    def whole(self, half: Split, before: Half) -> bool:
        """Whether the half that was made is still there; raises DataError where it is of other settings."""

    def made(self, plan: ArchivedHalf, before: Half | None, /) -> AbstractContextManager[Half]:
        """Make a half, go on with it, or mend the one made ``before``; at the end, what that needed is removed."""

    def tidy(self, half: Split) -> None:
        """Remove what is not needed once a half is whole."""

    def compare(self) -> None:
        """Find out whether both halves have the same classes; raises DataError."""


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
    return prepare_as(_ClassFolders(out, moved), sources, out, warn)


def prepare_as(form: Form, sources: Sources, out: Path, warn: Callable[[str], None]) -> Prepared:
    """`prepare_imagenet`, into whatever form."""
    with ExitStack() as opened:
        devkit = None if sources.devkit is None else read_devkit(sources.devkit)
        plans = list(archived_halves(sources, devkit, opened))
        require_writable(out)
        opened.enter_context(held_alone(out))
        prepared = read_prepared(out)
        form.require_own(prepared)
        unmade = [plan for plan in plans if not _is_done(form, plan, getattr(prepared, plan.half), out)]
        if devkit is not None:
            _write_order(out / SERVER_CLASSES, devkit)
        for plan in unmade:
            with form.made(plan, getattr(prepared, plan.half)) as half:
                prepared = prepared.model_copy(update={plan.half: half})
                write_prepared(out, prepared)
        for plan in plans:
            form.tidy(plan.half)
    if prepared.train and prepared.val:
        _compare(form, warn)
    return prepared


class _ClassFolders:
    """A file for each picture, in class folders."""

    def __init__(self, out: Path, moved: Moved) -> None:
        self.out, self.moved = out, moved

    def require_own(self, prepared: Prepared) -> None:
        noted = any(half is not None and half.sharded for half in (prepared.train, prepared.val))
        if noted or (self.out / PACKING).exists() or any((self.out / half / INDEX).exists() for half in HALVES):
            raise DataError(
                f"{printable(str(self.out))} holds shards: give --shards, or choose another --out for class folders"
            )

    def whole(self, half: Split, before: Half) -> bool:
        return _counted(self.out / half) == (before.classes, before.pictures)

    @contextmanager
    def made(self, plan: ArchivedHalf, _before: Half | None, /) -> Iterator[Half]:
        work = Unpacking(self.out, plan.half, plan.origin)
        with work.begun(plan.classes):
            for tar, pictures in plan.groups:
                work.take(tar, pictures, lambda place: self.moved(plan.half, place, plan.tar.end))
        yield Half(
            archive=plan.origin,
            devkit=plan.devkit,
            classes=len(work.classes),
            pictures=work.pictures,
            bytes=work.bytes,
            odd=work.whole(),
        )

    def tidy(self, half: Split) -> None:
        for journal in journals(self.out, half):
            journal.unlink(missing_ok=True)

    def compare(self) -> None:
        common_classes(self.out, HALVES)


def _is_done(form: Form, plan: ArchivedHalf, before: Half | None, out: Path) -> bool:
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
    return form.whole(plan.half, before)


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


def _compare(form: Form, warn: Callable[[str], None]) -> None:
    try:
        form.compare()
    except DataError as error:
        warn(f"{error}; reslab reads both only where they have the same")
