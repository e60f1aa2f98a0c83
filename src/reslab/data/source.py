"""What ``--data`` may name, and how it is opened."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import torch

from reslab.core.errors import DataError
from reslab.core.experiment import DataName, Photographs
from reslab.core.listening import unheard
from reslab.core.text import few, printable
from reslab.data.cifar import CIFAR10, CIFAR100, Layout, read_cifar
from reslab.data.embedded import embedded
from reslab.data.folder import Found, class_folders, common_classes, divided, scan
from reslab.data.index import Index, read_index
from reslab.data.parts import HALVES, Part, Split
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.sharded import find_shards
from reslab.data.store import FolderStore

CIFAR: dict[DataName, tuple[Layout, str]] = {
    "cifar10": (CIFAR10, "cifar-10-batches-bin"),
    "cifar100": (CIFAR100, "cifar-100-binary"),
}
USUAL_HALVES: Final = {"train", "training", "val", "valid", "validation", "test", "testing"}
Dataset = Pictures | PhotoFolder


@dataclass(frozen=True)
class Reading:
    """How a folder of photographs is opened; other data need none of it.

    Args:
        held_out: the share of each class that is ``val`` where there are class folders alone.
        cache: a folder where the index is kept, if it is there; None: the folder is searched.
        found: told how many pictures the search has found so far.
    """

    held_out: float = Photographs().held_out
    cache: Path | None = None
    found: Found = unheard


class Source(Protocol):
    """A data set that was found: its short name, where it lies, and how to read a part of it."""

    @property
    def name(self) -> DataName:
        """As an experiment names it."""

    @property
    def place(self) -> str:
        """Where it lies."""

    def read(self, part: Part, reading: Reading = ...) -> Dataset:
        """The pictures of ``part``."""


@dataclass(frozen=True)
class SmallPictures:
    """Pictures that fit into memory; ``place`` is their folder's own name, for nobody searches them again."""

    name: DataName
    place: str
    read_split: Callable[[Split], Pictures]

    def read(self, part: Part, _reading: Reading | None = None) -> Pictures:
        """The pictures of ``part``."""
        if part != "all":
            return self.read_split(part)
        train, val = self.read_split("train"), self.read_split("val")
        pixels, labels = (torch.cat(pair) for pair in ((train.pixels, val.pixels), (train.labels, val.labels)))
        return replace(train, split="all", pixels=pixels, labels=labels)


@dataclass(frozen=True)
class PictureFolder:
    """A folder of photographs: class folders, alone or below ``train/`` and ``val/``."""

    root: Path
    name: DataName = field(default="folder", init=False)
    searched: dict[tuple[str, ...], Index] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def place(self) -> str:
        """The folder's absolute path."""
        return str(self.root.resolve())

    @property
    def halved(self) -> bool:
        """Whether the folder itself says which pictures are ``val``."""
        return all(is_half(self.root / half) for half in HALVES)

    def read(self, part: Part, reading: Reading | None = None) -> PhotoFolder:
        """The pictures of ``part``, from the cached index where there is one.

        Raises:
            DataError: there are none, or folder or index are not as they should be.
        """
        how = reading or Reading()
        cached = how.cache / f"{part}.safetensors" if how.cache else None
        index = read_index(cached) if cached and cached.exists() else self._search(part, how)
        return PhotoFolder(printable(self.root.resolve().name), part, FolderStore(self.root, index))

    def _search(self, part: Part, how: Reading) -> Index:
        if self.halved:
            common_classes(self.root, HALVES)
            return self._scan(HALVES if part == "all" else (part,), how.found)
        index = self._scan((".",), how.found)
        chosen = divided(index, part, how.held_out, str(self.root))
        return index if chosen is None else index.subset(chosen)

    def _scan(self, parts: tuple[str, ...], found: Found) -> Index:
        """Search once, however many ask."""
        if parts not in self.searched:
            self.searched[parts] = scan(self.root, parts, found)
        return self.searched[parts]


def is_half(folder: Path) -> bool:
    """Whether a folder called train or val holds classes, and is not a class itself."""
    if not folder.is_dir():
        return False
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() for entry in entries)
    except OSError:
        return True  # what is wrong with it is said when it is searched


def find_data(path: str) -> Source:
    """Recognise ``path``: ``embedded``, a CIFAR binary folder or the folder around one, photographs or their shards.

    Raises:
        DataError: it is none of these; the line says what would be.
    """
    if path == "embedded":
        return SmallPictures("embedded", "embedded", embedded)
    folder = Path(path)
    try:
        return find_shards(path) or _small(folder) or _photographs(folder)
    except OSError as error:
        raise DataError(f"cannot read {printable(path)}: {error.strerror}") from None


def _small(folder: Path) -> SmallPictures | None:
    for name, (layout, usual) in CIFAR.items():
        for place in (folder, folder / usual):
            if layout.present(place):
                return SmallPictures(name, printable(place.resolve().name), partial(read_cifar, place, layout))
    return None


def _photographs(folder: Path) -> PictureFolder:
    path = printable(str(folder))
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(
            f"{path} {found}; --data takes 'embedded', a folder of photographs (class folders, alone or"
            " below train/ and val/), shards of them (a folder or a URL), or a CIFAR-10 or CIFAR-100 folder in the"
            " official binary layout"
        )
    halves = [half for half in HALVES if is_half(folder / half)]
    if len(halves) == 1:
        (other,) = set(HALVES) - set(halves)
        if (folder / other).is_dir():
            class_folders(folder / other)
        raise DataError(f"{path} has {halves[0]}/ but no {other}/; for one part alone, name its folder")
    names = class_folders(folder)
    if not halves and {name.casefold() for name in names} <= USUAL_HALVES:
        raise DataError(f"{path} holds {few(names)}: call the parts train and val, each with class folders")
    return PictureFolder(folder)


def load(path: str, split: Part = "train") -> Dataset:
    """The pictures of ``split`` at ``path``, as `find_data` understands it.

    Raises:
        DataError: there are none, or they are damaged.
    """
    return find_data(path).read(split, Reading())
