"""Packing: a folder of photographs becomes shards, by several processes; what was stopped goes on where it was.

The folder is searched, its order is shuffled by a fixed seed, and the shuffled pictures are divided by the sizes of
their files: all of it is decided before the first byte is written, so that each shard can be made by itself.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reslab.core.errors import DataError
from reslab.core.files import storing, sync_directory, write_json
from reslab.core.listening import unheard
from reslab.core.rundir import held_alone
from reslab.core.text import few, printable
from reslab.data.folder import Found
from reslab.data.pack_set import Packing, PackSet
from reslab.data.parts import HALVES
from reslab.data.shard_writer import PARTIAL, Written
from reslab.data.shards import INDEX, PACKING, Shards, read_shards
from reslab.data.source import PictureFolder, Reading

PLAN: Final = "plan.json"
OTHERS: Final = "it holds shards of other pictures or sizes"


@dataclass
class Packed:
    """What came of it.

    ``size``: bytes of the pictures in shards; ``kept``: shards that had been made before; ``resized``: pictures that
    were; ``damaged``: paths of those that should have been and cannot be decoded, kept as they are; ``others``: files
    that are no pictures by name and are in no shard; ``digests``: of the pictures of each part, as a run notes them;
    ``odd``: path of each picture that was found odd, and what it is.
    """

    pictures: int = 0
    size: int = 0
    shards: int = 0
    kept: int = 0
    resized: int = 0
    damaged: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    odd: list[tuple[str, str]] = field(default_factory=list)

    def add(self, part: PackSet, shards: Shards, kept: int) -> None:
        """Count the shards of one set, of which ``kept`` were there before."""
        self.pictures += len(shards.index)
        self.size += int(shards.index.sizes.sum())
        self.shards += len(shards.files)
        self.kept += kept
        self.resized += shards.facts.get("resized", 0)
        self.damaged += map(shards.index.path, shards.facts.get("damaged", []))
        self.others += part.photos.index.others
        self.digests["all" if part.part == "." else part.part] = shards.index.digest


def pack(
    source: PictureFolder,
    out: Path,
    how: Packing,
    workers: int,
    warn: Callable[[str], None] = unheard,
    progress: Callable[[int, int], None] = unheard,
    found: Found = unheard,
) -> Packed:
    """Pack a folder into ``out``, go on where that was stopped, or make again what has been lost there.

    Args:
        source: the folder.
        out: where shards go: a folder that is empty, not there yet, or holds the same packing, finished or not.
        how: sizes.
        workers: processes that read and write.
        warn: hears of workers that died or hung.
        progress: told how many of how many pictures are done.
        found: told how many pictures the search has found.

    Raises:
        DataError: the folder is not as it should be, or ``out`` holds something else.
        PictureError: a picture cannot be read.
        RunError: another process packs into ``out``.
        StorageError: a shard cannot be written; those that are finished stay for the next time.
    """
    if out.resolve().is_relative_to(source.root.resolve()):
        raise cannot_pack(out, "it is in the folder that is packed")
    begun, how_read = _require_ours(out), Reading(found=found)
    parts = (
        {half: source.read(half, how_read) for half in HALVES} if source.halved else {".": source.read("all", how_read)}
    )
    sets = [PackSet(part, photos, out, how) for part, photos in parts.items()]
    if begun == "finished" and not any((one.folder / INDEX).is_file() for one in sets):
        raise cannot_pack(out, OTHERS)
    there = [finished(one) for one in sets]
    if begun == "finished" and not any(len(one.lacking(shards)) for one, shards in zip(sets, there, strict=True)):
        return _as_it_is(sets, there)
    for one in sets:
        one.require_readable()
    with held(out, {one.part: one.plan for one in sets}):
        return write(sets, there, workers, warn, progress)


def _as_it_is(sets: Sequence[PackSet], there: Sequence[Shards | None]) -> Packed:
    packed = Packed()
    for one, shards in zip(sets, there, strict=True):
        assert shards is not None
        packed.add(one, shards, len(shards.files))
    return packed


def write(
    sets: Sequence[PackSet],
    there: Sequence[Shards | None],
    workers: int,
    warn: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> Packed:
    """Every shard of every set that is not there yet, or not any more, then the indices; ``out`` must be `held`.

    Args:
        sets: what is packed.
        there: the index of each set that was finished before; None: of one that was not.
        workers: processes that read and write.
        warn: hears of workers that died or hung.
        progress: told how many of how many pictures are done.

    Raises:
        DataError: a shard of a finished set is lost, and its pictures have changed.
        PictureError: a picture cannot be read.
        StorageError: a shard cannot be written.
    """
    asked = [(one, before, one.lacking(before)) for one, before in zip(sets, there, strict=True)]
    total = sum(len(one.photos) for one in sets)
    done = total - sum(len(one.members[number]) for one, _, numbers in asked for number in numbers)
    packed, made = Packed(), []
    for one, before, numbers in asked:
        written: list[Written] = []
        with contextlib.closing(one.written(numbers, workers, warn)) as shards:  # stopped here, its workers end first
            for number, shard in zip(numbers, shards, strict=True):
                if before is not None:
                    one.require_same(shard, before.files[number])
                written.append(shard)
                done += len(shard.sizes)
                progress(done, total)
        whole = one.shards(written) if before is None else before
        made.append((one, whole, len(whole.files) - sum(shard.anew for shard in written)))
        packed.odd += [(one.photos.index.path(number), what) for shard in written for number, what in shard.odd]
    for one, whole, kept in made:
        whole.save(one.folder / INDEX)
        packed.add(one, whole, kept)
    return packed


def _require_ours(out: Path) -> str:
    """How far the packing into ``out`` is: ``new``, ``begun`` or ``finished``.

    Raises:
        DataError: it holds something else.
    """
    try:
        there = sorted(entry.name for entry in out.iterdir())
    except FileNotFoundError:
        return "new"
    except OSError as error:
        raise cannot_pack(out, f"{error.strerror}") from None
    if PACKING in there:
        return "begun"
    if any((out / part / INDEX).is_file() for part in (".", *HALVES)):
        return "finished"
    if there:
        raise cannot_pack(out, f"it holds something else ({few(there)})")
    return "new"


def finished(one: PackSet) -> Shards | None:
    """The index of a set that was finished before; None: it was not, and what is there does no harm.

    Raises:
        DataError: it is of something else, or something else is in its place.
    """
    file = one.folder / INDEX
    if one.folder.is_file():
        raise cannot_pack(one.folder, "it is a file")
    if file.is_file():
        shards = read_shards(file)
        if shards.facts.get("plan") != one.plan:
            raise cannot_pack(one.folder, OTHERS + (", or resized by another Pillow" if one.how.smaller else ""))
        return shards
    if one.folder.exists() and not one.room.exists():
        there = sorted(entry.name for entry in one.folder.iterdir())
        if there:
            raise cannot_pack(one.folder, f"it holds something else ({few(there)})")
    return None


@contextlib.contextmanager
def held(out: Path, plan: dict[str, str]) -> Iterator[None]:
    """Hold ``out`` alone, with a note of what is packed into it, until that is finished.

    Raises:
        DataError: something else was begun there.
        RunError: another process works there.
    """
    room = out / PACKING
    with held_alone(room):
        note = room / PLAN
        if note.exists() and noted(out) != plan:
            begun = "packing of other pictures or into other sizes was begun there; remove it or take another folder"
            raise cannot_pack(out, begun)
        write_json(note, plan)
        try:
            yield
        finally:
            for partial in room.rglob(f"*{PARTIAL}"):
                partial.unlink(missing_ok=True)
        with storing(out):
            shutil.rmtree(room)
            sync_directory(out)


def cannot_pack(place: Path, why: str) -> DataError:
    """What is raised where something else lies at ``place``."""
    return DataError(f"cannot pack into {printable(str(place))}: {why}")


def noted(out: Path) -> Any:
    """What is being packed into ``out``, as `held` noted it; None: nothing, or the note is damaged."""
    try:
        return json.loads((out / PACKING / PLAN).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
