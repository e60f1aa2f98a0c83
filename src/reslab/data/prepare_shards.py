"""ImageNet's official archives of 2012 become shards, without class folders in between.

The shards and their indices are those that `reslab.data.pack` makes of the prepared folders, byte for byte.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reslab.core.errors import DataError
from reslab.core.files import storing
from reslab.core.listening import unheard
from reslab.core.text import printable
from reslab.data.archive_store import archived
from reslab.data.folder import Found, require_same_classes
from reslab.data.halves import ArchivedHalf, Sources
from reslab.data.pack import OTHERS, Packed, cannot_pack, finished, held, noted, write
from reslab.data.pack_set import Packing, PackSet
from reslab.data.parts import HALVES, Split
from reslab.data.photographs import PhotoFolder
from reslab.data.prepare import Moved, prepare_as
from reslab.data.prepared import Half, Odd, Prepared, Sharded, Sizes
from reslab.data.shards import INDEX, PACKING, read_shards
from reslab.data.source import is_half
from reslab.data.store import LocalFiles
from reslab.data.unpack import journals, oddity, refuse_link


def prepare_shards(
    sources: Sources,
    out: Path,
    how: Packing,
    workers: int,
    warn: Callable[[str], None] = unheard,
    moved: Moved = unheard,
    found: Found = unheard,
) -> Prepared:
    """Write ``out/train`` and ``out/val`` as shards, and the test server's order of classes.

    All headers of an archive are checked before the first shard of it is written, and each picture's own header when it
    is packed. Whatever stopped a preparation, the same call goes on; finished shards are kept.

    Args:
        sources: a picture archive or both; validation pictures need the development kit, which knows their classes.
        out: a folder, there or to be made.
        how: sizes.
        workers: processes that read and write.
        warn: hears of what is no error, and of workers that died or hung.
        moved: told the half, and how many of how many of its pictures are done.
        found: told how many pictures of a half have been found in its archive.

    Returns:
        What ``out`` holds now, halves of former calls included.

    Raises:
        DataError: an archive or the kit is damaged, hostile or not ImageNet's, or ``out`` holds something else.
        RunError: ``out`` is a file, or another process is preparing it.
        SpecError: the kit is to be read and scipy is missing.
        StorageError: the disk is full or read-only; shards that are there are whole.
        WorkerError: a picture killed or hung three workers.
    """
    return prepare_as(_Shards(out, how, workers, warn, moved, found), sources, out, warn)


class _Shards:
    """A set of shards for each half."""

    def __init__(
        self, out: Path, how: Packing, workers: int, warn: Callable[[str], None], moved: Moved, found: Found
    ) -> None:
        self.out, self.how, self.workers = out, how, workers
        self.warn, self.moved, self.found = warn, moved, found

    def require_own(self, prepared: Prepared) -> None:
        noted_here = any(half is not None and half.sharded is None for half in (prepared.train, prepared.val))
        if noted_here or any(is_half(self.out / half) or journals(self.out, half) for half in HALVES):
            raise DataError(f"{printable(str(self.out))} holds class folders: choose another --out for shards")

    def whole(self, half: Split, before: Half) -> bool:
        file = self.out / half / INDEX
        if before.sharded is None or not file.is_file():
            return False
        shards = read_shards(file)
        if before.sharded.sizes != sizes_of(self.how) or before.sharded.plan != shards.facts.get("plan"):
            raise cannot_pack(self.out / half, OTHERS)
        return not LocalFiles(self.out / half).lacking(shards.files)

    @contextmanager
    def made(self, plan: ArchivedHalf, before: Half | None) -> Iterator[Half]:
        photos = PhotoFolder(plan.tar.title, plan.half, archived(plan, self.found))
        one = PackSet(plan.half, photos, self.out, self.how, oddity)
        self._refuse_links(one)
        there = finished(one)
        kept = None if before is None else there  # what is odd only the note of the half knows, not the index
        one.require_readable()
        with held(self.out, {plan.half: one.plan, "archive": plan.origin.ends}):
            packed = write(
                [one], [kept], self.workers, self.warn, lambda done, total: self.moved(plan.half, done, total)
            )
            yield self._half(plan, one, packed) if before is None or kept is None else before

    def tidy(self, half: Split) -> None:
        """Remove what packing left that was killed after all was noted."""
        if half in (noted(self.out) or {half: "the note itself has gone"}):
            with storing(self.out):
                shutil.rmtree(self.out / PACKING, ignore_errors=True)

    def compare(self) -> None:
        require_same_classes(
            str(self.out), {half: read_shards(self.out / half / INDEX).index.classes for half in HALVES}
        )

    def _half(self, plan: ArchivedHalf, one: PackSet, packed: Packed) -> Half:
        return Half(
            archive=plan.origin,
            devkit=plan.devkit,
            classes=len(one.photos.classes),
            pictures=len(one.photos),
            bytes=int(one.photos.index.sizes.sum()),
            odd=tuple(Odd(path=path, what=what) for path, what in sorted(packed.odd)),
            sharded=self._sharded(one, packed),
        )

    def _sharded(self, one: PackSet, packed: Packed) -> Sharded:
        return Sharded(
            sizes=sizes_of(self.how),
            plan=one.plan,
            shards=packed.shards,
            bytes=packed.size,
            digest=packed.digests[one.part],
            resized=packed.resized,
            damaged=tuple(packed.damaged),
        )

    def _refuse_links(self, one: PackSet) -> None:
        for place in (one.folder, self.out / PACKING, one.room):
            if place.is_symlink():
                refuse_link(place, self.out)


def sizes_of(how: Packing) -> Sizes:
    """How pictures are packed, as ``prepared.json`` says it."""
    smaller = how.smaller
    return Sizes(
        bytes=how.size,
        pictures=how.pictures,
        shorter_side=None if smaller is None else smaller.shorter_side,
        quality=None if smaller is None else smaller.quality,
    )
