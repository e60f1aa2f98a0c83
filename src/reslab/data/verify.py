"""What is wrong with photographs, and what merely unusual: each picture read whole, each file named."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from reslab.core.contract import Contract
from reslab.core.errors import PictureError
from reslab.core.listening import unheard
from reslab.core.text import printable
from reslab.data.decode import decode
from reslab.data.folder import Found, beside_classes, class_folders, index_of, pictures_in
from reslab.data.parts import HALVES
from reslab.data.photographs import PhotoFolder
from reslab.data.picture_file import SUFFIXES, Header, read_header
from reslab.data.pool import At, Buffer, in_order
from reslab.data.sharded import ShardFolder
from reslab.data.store import FolderStore

CHUNK: Final = 16  # pictures a task
LONGEST: Final = 4.0  # sides' ratio beyond which a centre crop shows little of a picture
SMALLEST: Final = Contract().crop


class Remark(NamedTuple):
    """What is to be said about a file or folder: ``path`` relative to the data's folder, fit to be printed."""

    path: str
    what: str


@dataclass
class Verification:
    """What was found.

    ``counts`` has the number of pictures by part (``train``, ``val``, or ``.`` for class folders alone) and class;
    ``defects`` make a training or a test wrong or impossible; ``notes`` are handled by a stated rule; ``others`` are
    files that are no pictures by name.
    """

    root: Path | str
    classes: list[str]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    pictures: int = 0
    size: int = 0
    defects: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


class _Checked(NamedTuple):
    error: str | None
    notes: tuple[str, ...]
    digest: bytes


class WholePictures:
    """Work: pictures read whole, ``chunk`` at a time, by the place of the first."""

    room = 0

    def __init__(self, photos: PhotoFolder, chunk: int = CHUNK) -> None:
        self.photos, self.chunk = photos, chunk

    def describe(self, item: int) -> str:
        """A picture's path."""
        return self.photos.place(item)

    def __call__(self, task: int, _out: Buffer, at: At) -> list[_Checked]:
        """What each of the pictures is like."""
        checked = []
        for number in range(task, min(task + self.chunk, len(self.photos))):
            at(number)
            checked.append(_check(self.photos, number))
        return checked


def verify(
    root: Path,
    parts: Sequence[str],
    workers: int,
    warn: Callable[[str], None],
    checked: Callable[[int, int], None] = unheard,
    searched: Found = unheard,
) -> Verification:
    """Read every picture below ``root``.

    Args:
        root: the data's folder.
        parts: ``train`` and ``val``, or ``.`` where the class folders lie in ``root`` itself.
        workers: processes that decode.
        warn: hears of workers that died or hung.
        checked: told how many of how many pictures are done.
        searched: told how many pictures the search has found, now and then.

    Raises:
        DataError: a part has no class folders.
        WorkerError: a picture killed or hung three workers.
    """
    classes = {part: class_folders(root / part) for part in parts}
    found = Verification(root, sorted(set().union(*classes.values())))
    _compare_classes(classes, found)
    index = index_of(found.classes, _search(root, classes, found), found.others, searched)
    _read_all([PhotoFolder(root.name, "all", FolderStore(root, index))], found, workers, warn, checked)
    return found


def verify_shards(
    source: ShardFolder, workers: int, warn: Callable[[str], None], checked: Callable[[int, int], None] = unheard
) -> Verification:
    """Read every picture in shards: its checksum, then as `verify` does.

    Raises:
        DataError: an index is damaged, or not that of its shards.
        WorkerError: a picture killed or hung three workers.
    """
    parts: dict[str, PhotoFolder] = (
        {half: source.read(half) for half in HALVES} if source.halved else {".": source.read("all")}
    )
    found = Verification(source.where, list(next(iter(parts.values())).classes))
    for part, photos in parts.items():
        counts = np.bincount(photos.index.labels, minlength=len(found.classes)).tolist()
        found.counts[part] = dict(zip(found.classes, counts, strict=True))
        found.size += int(photos.index.sizes.sum())
    _read_all(list(parts.values()), found, workers, warn, checked)
    return found


def _read_all(
    parts: Sequence[PhotoFolder],
    found: Verification,
    workers: int,
    warn: Callable[[str], None],
    checked: Callable[[int, int], None],
) -> None:
    total = sum(map(len, parts))
    digests: dict[bytes, list[str]] = {}
    for photos in parts:
        first, patience = found.pictures, photos.store.patience
        tasks = range(0, len(photos), CHUNK)
        for results, _ in in_order(WholePictures(photos), tasks, workers, warn, patience):
            for result in results:
                path = photos.index.path(found.pictures - first)
                found.pictures += 1
                _remark(found, path, result)
                if result.digest:
                    digests.setdefault(result.digest, []).append(path)
            checked(found.pictures, total)
    for same in digests.values():
        found.defects += _duplicates(same)
    found.defects.sort()
    found.notes.sort()
    found.others.sort()


def _compare_classes(classes: dict[str, list[str]], found: Verification) -> None:
    for part, names in classes.items():
        for name in sorted(set(found.classes) - set(names)):
            where = next(other for other in classes if name in classes[other])
            found.defects.append(Remark(printable(f"{part}/{name}"), f"is missing: this class is only in {where}/"))


def _search(root: Path, classes: dict[str, list[str]], found: Verification) -> Iterator[tuple[str, int, int]]:
    def wrong(path: Path, what: str) -> None:
        found.defects.append(Remark(printable(str(path.relative_to(root))), what))

    labels = {name: label for label, name in enumerate(found.classes)}
    for part, names in classes.items():
        counts = found.counts.setdefault(part, {})
        found.others += beside_classes(root, part)
        for name in names:
            folder = name if part == "." else f"{part}/{name}"
            before = len(found.defects)
            entries = sorted(pictures_in(root, folder, found.others.append, wrong))
            counts[name] = len(entries)
            if not entries and len(found.defects) == before:
                wrong(root / folder, "has no pictures")
            label = labels[name]
            for path, size in entries:
                found.size += max(size, 0)
                yield path, size, label


def _check(photos: PhotoFolder, number: int) -> _Checked:
    digest = b""
    try:
        data = photos.store.read(number)
        digest = hashlib.sha256(data).digest()
        header = read_header(data)
        decode(data, header)
    except PictureError as error:
        return _Checked(str(error), (), digest)
    return _Checked(None, (*header.notes, *_oddities(photos.index.path(number), header)), digest)


def _oddities(path: str, header: Header) -> Iterator[str]:
    ending = os.path.splitext(path)[1]  # noqa: PTH122 a name, not a path
    if SUFFIXES.get(ending.lower()) != header.kind:
        yield f"{header.kind} named {ending}"
    width, height = header.upright
    if min(width, height) < SMALLEST:
        yield f"small, {width}x{height}: it is enlarged"
    if max(width, height) > LONGEST * min(width, height):
        yield f"long, {width}x{height}: a crop shows little of it"


def _remark(found: Verification, path: str, result: _Checked) -> None:
    if result.error is not None:
        found.defects.append(Remark(printable(path), result.error))
    elif result.notes:
        found.notes.append(Remark(printable(path), ", ".join(result.notes)))


def _duplicates(same: list[str]) -> Iterator[Remark]:
    """Each further file with the bytes of the first; a picture on both sides of the split is said to be."""
    first, *others = same
    for path in others:
        sides = {first.split("/")[0], path.split("/")[0]} == {"train", "val"}
        across = ", so it is trained on and tested on" if sides else ""
        yield Remark(printable(path), f"has the same bytes as {printable(first)}{across}")
