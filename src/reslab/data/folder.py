"""Picture folders: class folders alone, or below ``train/`` and ``val/``; found once, split by hash."""

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import DataError
from reslab.core.listening import unheard
from reslab.core.text import printable
from reslab.data.index import UNKNOWN, Index
from reslab.data.parts import Part
from reslab.data.picture_file import SUFFIXES

Found = Callable[[int], None]
REPORT_EVERY: Final = 10_000  # pictures between two words about progress


def scan(root: Path, parts: Sequence[str] = (".",), found: Found = unheard) -> Index:
    """Find the pictures in class folders, sub-folders included.

    What counts as a picture is decided by its name here and by its bytes when it is read. Symbolic links are followed.

    Args:
        root: the folder that paths start from.
        parts: the folders of class folders, in ``root``; all must have the same classes.
        found: told how many pictures there are so far, now and then.

    Raises:
        DataError: no class folders, other classes in one part than in another, a class without pictures, a folder that
            cannot be read or that contains itself, or a folder with a picture's name.
    """
    classes = common_classes(root, parts)
    others = [name for part in parts for name in beside_classes(root, part)]

    def entries() -> Iterator[tuple[str, int, int]]:
        for label, name in enumerate(classes):
            folders = [name if part == "." else f"{part}/{name}" for part in parts]
            own = sorted(entry for folder in folders for entry in pictures_in(root, folder, others.append))
            if not own:
                raise DataError(f"class {printable(name)!r} has no pictures: {printable(str(root / folders[0]))}")
            yield from ((path, size, label) for path, size in own)

    return index_of(classes, entries(), others, found)


def scan_unlabelled(root: Path, found: Found = unheard) -> Index:
    """The pictures that lie directly in ``root``, by name, each with the label `UNKNOWN`.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        files = sorted((entry.name, _size(entry)) for entry in _entries(root) if not _is_folder(entry))
    except OSError as error:
        raise DataError(f"cannot read {printable(str(root))}: {error.strerror}") from None
    others = [printable(name) for name, _ in files if not is_picture(name)]
    return index_of((), ((name, size, UNKNOWN) for name, size in files if is_picture(name)), others, found)


def is_unlabelled(folder: Path) -> bool:
    """Whether pictures lie directly in ``folder`` and nothing lies deeper, hidden folders aside."""
    try:
        entries = _entries(folder)
    except OSError:
        return False  # what is wrong with it is said when it is searched
    deeper = any(_is_folder(entry) and not entry.name.startswith(".") for entry in entries)
    return not deeper and any(is_picture(entry.name) for entry in entries)


def index_of(classes: Sequence[str], entries: Iterator[tuple[str, int, int]], others: list[str], found: Found) -> Index:
    """Path, size and label of each picture as columns; ``others`` may grow until the last is seen."""
    block, ends, labels, sizes = bytearray(), array("q"), array("i"), array("q")
    for path, size, label in entries:
        block += os.fsencode(path)
        ends.append(len(block))
        labels.append(label)
        sizes.append(size)
        if len(ends) % REPORT_EVERY == 0:
            found(len(ends))
    return Index(
        tuple(classes),
        np.frombuffer(bytes(block), np.uint8),
        np.array(ends, np.int64),
        np.array(labels, np.int32),
        np.array(sizes, np.int64),
        tuple(sorted(others)),
    )


def class_folders(root: Path) -> list[str]:
    """The names of the folders directly in ``root``, sorted; hidden ones are none.

    Raises:
        DataError: there are none, or ``root`` cannot be read.
    """
    try:
        entries = _entries(root)
    except OSError as error:
        raise DataError(f"cannot read {printable(str(root))}: {error.strerror}") from None
    names = sorted(entry.name for entry in entries if _is_folder(entry) and not entry.name.startswith("."))
    for name in names:
        if is_picture(name):
            refuse(root / name, "is a folder with a picture's name")
    if not names:
        lying = any(is_picture(entry.name) for entry in entries)
        why = "its pictures lie in no class folders" if lying else "it has no class folders"
        raise DataError(f"{printable(str(root))} holds no classes: {why}")
    return names


def beside_classes(root: Path, part: str) -> list[str]:
    """What lies beside the class folders of ``part`` and is therefore of no class, hidden folders aside."""
    with os.scandir(root / part) as entries:
        lying = [entry.name for entry in entries if not _is_folder(entry)]
    return sorted(printable(name if part == "." else f"{part}/{name}") for name in lying)


def common_classes(root: Path, parts: Sequence[str]) -> list[str]:
    """The classes of the first part.

    Raises:
        DataError: another part has others; the line names what only one of them has.
    """
    classes = {part: class_folders(root / part) for part in parts}
    require_same_classes(str(root), classes)
    return classes[parts[0]]


def require_same_classes(place: str, classes: Mapping[str, Sequence[str]]) -> None:
    """That all parts of what lies at ``place`` have the classes of the first, by the names of the parts.

    Raises:
        DataError: one has others; the line names what only one of them has.
    """
    (first, ours), *others = classes.items()
    for other, theirs in others:
        if list(theirs) != list(ours):
            only = [_only(first, ours, theirs), _only(other, theirs, ours)]
            raise DataError(
                f"{printable(place)}: {first}/ and {other}/ have different classes: {'; '.join(filter(None, only))}"
            )


def _only(part: str, own: Sequence[str], theirs: Sequence[str]) -> str:
    names = sorted(set(own) - set(theirs))
    return f"only in {part}/: {', '.join(map(printable, names))}" if names else ""


def is_picture(name: str) -> bool:
    """Whether a file's name is a picture's; hidden files are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 hot


def held_out(index: Index, fraction: float) -> NDArray[np.bool]:
    """Which pictures are kept from training: of each class the same share, those whose paths have the lowest hashes.

    A picture's own path decides, so that a picture rarely changes sides when others come or go.

    Args:
        index: all pictures.
        fraction: of each class; rounded, but at least one of two pictures or more, and never all.

    Returns:
        bool, (N,).
    """
    hashes = np.array([_hash(index.path(number)) for number in range(len(index))], np.uint64)
    kept = np.zeros(len(index), np.bool)
    for label in range(len(index.classes)):
        own = np.flatnonzero(index.labels == label)
        count = min(max(round(fraction * len(own)), 1), len(own) - 1)
        kept[own[np.argsort(hashes[own], kind="stable")[:count]]] = True
    return kept


def divided(index: Index, part: Part, fraction: float, place: str) -> NDArray[np.int64] | None:
    """Which pictures ``part`` has where there are class folders alone; None: all of them.

    Args:
        index: all pictures.
        part: ``train``, ``val`` or ``all``.
        fraction: of each class, what ``val`` gets.
        place: where they lie, for the error.

    Raises:
        DataError: there are too few pictures for two parts.
    """
    if part == "all":
        return None
    kept = held_out(index, fraction)
    chosen = np.flatnonzero(kept if part == "val" else ~kept)
    if not len(chosen):
        raise DataError(f"{printable(place)} has too few pictures to hold any out: give it a val/ folder")
    return chosen


def refuse(path: Path, what: str) -> None:
    """Stop at the first thing that is wrong with a folder.

    Raises:
        DataError: always.
    """
    raise DataError(f"{printable(str(path))} {what}")


def pictures_in(
    root: Path,
    folder: str,
    other: Callable[[str], None],
    wrong: Callable[[Path, str], None] = refuse,
    above: tuple[tuple[int, int], ...] | None = None,
) -> Iterator[tuple[str, int]]:
    """Relative path and size of each picture in ``folder``, sub-folders included; a broken link has size -1.

    Args:
        root: what paths are relative to.
        folder: where to search.
        other: hears of each file that does not look like a picture.
        wrong: hears of each folder that cannot be searched.
        above: device and inode of the folders on the way down; None: all that contain ``folder``.
    """
    place = root / folder
    if above is None:
        above = tuple((s.st_dev, s.st_ino) for s in (parent.stat() for parent in place.absolute().parents))
    try:
        status, entries = place.stat(), _entries(place)
    except OSError as error:
        wrong(place, f"cannot be read: {error.strerror}")
        return
    identity = status.st_dev, status.st_ino
    if identity in above:
        wrong(place, "is a link to a folder that contains it")
        return
    for entry in entries:
        path = f"{folder}/{entry.name}"
        if not _is_folder(entry):
            if is_picture(entry.name):
                yield path, _size(entry)
            else:
                other(printable(path))
        elif entry.name.startswith("."):
            other(printable(path))
        elif is_picture(entry.name):
            wrong(root / path, "is a folder with a picture's name")
        else:
            yield from pictures_in(root, path, other, wrong, (*above, identity))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself: what is wrong with it is said when it is read


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1  # a broken link: what is wrong with it is said when it is read


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8], "big")
