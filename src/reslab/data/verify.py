"""What is wrong with a folder of photographs, and what merely unusual: each picture read whole, each file named."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from reslab.core.contract import Contract
from reslab.core.errors import PictureError
from reslab.core.listening import unheard
from reslab.core.text import printable
from reslab.data.decode import decode
from reslab.data.folder import beside_classes, class_folders, pictures_in
from reslab.data.picture_file import SUFFIXES, Header, read_header, read_picture
from reslab.data.pool import At, Buffer, in_order

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

    root: Path
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

    def __init__(self, root: Path, paths: Sequence[str], chunk: int = CHUNK) -> None:
        self.root, self.paths, self.chunk = root, paths, chunk

    def describe(self, item: int) -> str:
        """A picture's path."""
        return printable(str(self.root / self.paths[item]))

    def __call__(self, task: int, _out: Buffer, at: At) -> list[_Checked]:
        """What each of the pictures is like."""
        checked = []
        for number in range(task, min(task + self.chunk, len(self.paths))):
            at(number)
            checked.append(_check(self.root / self.paths[number]))
        return checked


def verify(
    root: Path,
    parts: Sequence[str],
    workers: int,
    warn: Callable[[str], None],
    checked: Callable[[int, int], None] = unheard,
) -> Verification:
    """Read every picture below ``root``.

    Args:
        root: the data's folder.
        parts: ``train`` and ``val``, or ``.`` where the class folders lie in ``root`` itself.
        workers: processes that decode.
        warn: hears of workers that died or hung.
        checked: told how many of how many pictures are done.

    Raises:
        DataError: a part has no class folders.
        WorkerError: a picture killed or hung three workers.
    """
    classes = {part: class_folders(root / part) for part in parts}
    found = Verification(root, sorted(set().union(*classes.values())))
    _compare_classes(classes, found)
    paths = list(_search(root, classes, found))
    digests: dict[bytes, list[str]] = {}
    for results, _ in in_order(WholePictures(root, paths), range(0, len(paths), CHUNK), workers, warn):
        for result in results:
            path = paths[found.pictures]
            found.pictures += 1
            _remark(found, path, result)
            if result.digest:
                digests.setdefault(result.digest, []).append(path)
        checked(found.pictures, len(paths))
    for same in digests.values():
        found.defects += _duplicates(same)
    found.defects.sort()
    found.notes.sort()
    found.others.sort()
    return found


def _compare_classes(classes: dict[str, list[str]], found: Verification) -> None:
    for part, names in classes.items():
        for name in sorted(set(found.classes) - set(names)):
            where = next(other for other in classes if name in classes[other])
            found.defects.append(Remark(printable(f"{part}/{name}"), f"is missing: this class is only in {where}/"))


def _search(root: Path, classes: dict[str, list[str]], found: Verification) -> Iterator[str]:
    def wrong(path: Path, what: str) -> None:
        found.defects.append(Remark(printable(str(path.relative_to(root))), what))

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
            for path, size in entries:
                found.size += max(size, 0)
                yield path


def _check(path: Path) -> _Checked:
    digest = b""
    try:
        data = read_picture(path)
        digest = hashlib.sha256(data).digest()
        header = read_header(data)
        decode(data, header)
    except PictureError as error:
        return _Checked(str(error), (), digest)
    return _Checked(None, (*header.notes, *_oddities(path, header)), digest)


def _oddities(path: Path, header: Header) -> Iterator[str]:
    ending = os.path.splitext(path.name)[1]  # noqa: PTH122 a name, not a path
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
