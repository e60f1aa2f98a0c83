"""A set of photographs in class folders or shards, read a crop at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reslab.core.contract import Contract
from reslab.core.errors import PictureError
from reslab.core.experiment import Photographs
from reslab.core.text import printable
from reslab.data import chance
from reslab.data.decode import decode
from reslab.data.index import Index
from reslab.data.parts import Part
from reslab.data.picture_file import Header, read_header, read_picture
from reslab.data.pool import At, Buffer
from reslab.data.store import Store
from reslab.data.windows import Draws, mirrored, window
from reslab.transforms.colour import colours
from reslab.transforms.photographs import Pixels, centre_crop, cut, cut_whole
from reslab.transforms.regions import Region, cut_region

SUBSTITUTES: Final = 100  # tries before a picture is given up: a folder that bad is no training set


@dataclass(frozen=True, eq=False)
class PhotoFolder:
    """Labelled photographs of any size, in files or shards.

    Args:
        name: the data set, as people write it.
        split: ``train``, ``val`` or ``all``.
        store: which pictures, in order, and their bytes.
    """

    name: str
    split: Part
    store: Store

    @property
    def index(self) -> Index:
        """Which pictures, in order."""
        return self.store.index

    def __len__(self) -> int:
        return len(self.index)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in the order of their labels."""
        return self.index.classes

    @property
    def labels(self) -> Tensor:
        """int64 (N,)."""
        return torch.from_numpy(self.index.labels.astype(np.int64))

    @property
    def digest(self) -> str:
        """The sha256 of classes, paths, labels and file sizes, in hexadecimal."""
        return self.index.digest

    def place(self, number: int) -> str:
        """Where picture ``number`` lies, fit to be printed."""
        return self.store.place(number)

    def subset(self, chosen: NDArray[np.int64]) -> "PhotoFolder":
        """The pictures at ``chosen``, in that order."""
        return replace(self, store=self.store.subset(chosen))

    def open(self, number: int) -> tuple[bytes, Header]:
        """The file of picture ``number``, and its header.

        Raises:
            PictureError: it cannot be used.
        """
        data = self.store.read(number)
        return data, read_header(data)

    def smaller(self, number: int, header: Header, crop: int) -> list["Incident"]:
        """Picture ``number``, if it has fewer pixels than the crop on a side."""
        if min(header.upright) >= crop:
            return []
        size = "x".join(str(side) for side in header.upright)
        return [Incident(number, self.index.path(number), f"has {size} pixels, fewer than the crop of {crop}")]

    def named(self, number: int, error: PictureError) -> PictureError:
        """The same error with the picture's name in front."""
        return PictureError(f"{self.place(number)} {error}")


class Incident(NamedTuple):
    """A picture that is not as one would like it: ``number``, ``path``, and what it is like.

    ``first``: whether it was the one that was asked for, not itself a replacement.
    """

    number: int
    path: str
    what: str
    first: bool = True


class PhotoBatch(NamedTuple):
    """``labels`` and ``indices`` int64 (B,) of the crops in the buffer; which pictures were replaced or enlarged.

    ``side``: pixels a side of the crops.
    ``colours``: float32 (B, 3), what their pixels are to gain in RGB; None: nothing.
    """

    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    replaced: tuple[Incident, ...]
    enlarged: tuple[Incident, ...]
    side: int
    colours: NDArray[np.float32] | None = None


class TrainingCrops:
    """Work: batches of the endless stream of shuffled epochs, by the position of their first sample (section 3.4).

    Args:
        photos: the training pictures.
        settings: how they are read.
        batch: crops a batch.
        seed: with epoch and sample index, all that decides the crops.
        side_at: pixels a side of the crops, by the position of a batch; None: the contract's.
    """

    def __init__(
        self,
        photos: PhotoFolder,
        settings: Photographs,
        batch: int,
        seed: int,
        side_at: Callable[[int], int] | None = None,
    ) -> None:
        assert settings.progressive is None or side_at is not None
        self.photos, self.settings, self.batch, self.seed = photos, settings, batch, seed
        self.stream = chance.Stream(seed, len(photos))
        self.largest = settings.sides[1]
        self.side_at = side_at or (lambda _position: self.largest)

    @property
    def room(self) -> int:
        """Bytes of one batch of the largest crops."""
        return self.batch * self.largest**2 * 3

    def describe(self, item: int) -> str:
        """A picture's path."""
        return self.photos.place(item)

    def __call__(self, task: int, out: Buffer, at: At) -> PhotoBatch:
        """The batch whose first sample is ``task``."""
        side = self.side_at(task)
        crops = out[: self.batch * side**2 * 3].reshape(self.batch, side, side, 3)
        taken: list[int] = []
        replaced: list[Incident] = []
        enlarged: list[Incident] = []
        gained: list[NDArray[np.float32]] = []
        for epoch, samples in self.stream.pieces(task, self.batch):
            first = len(taken)
            for sample in samples.tolist():
                number, crops[len(taken)], met = self._sample(epoch, sample, side, enlarged, at)
                taken.append(number)
                replaced += met
            gained += self._colours(epoch, np.array(taken[first:], np.int64))
        indices = np.array(taken, np.int64)
        labels = self.photos.index.labels[indices].astype(np.int64)
        added = np.concatenate(gained) if gained else None
        return PhotoBatch(labels, indices, tuple(replaced), tuple(enlarged), side, added)

    def _sample(
        self, epoch: int, sample: int, side: int, enlarged: list[Incident], at: At
    ) -> tuple[int, Pixels, list[Incident]]:
        incidents: list[Incident] = []
        number = sample
        for attempt in range(SUBSTITUTES):
            at(number)
            try:
                return number, self.crop(epoch, number, side, enlarged), incidents
            except PictureError as error:
                if self.settings.on_bad_picture == "stop":
                    raise self.photos.named(number, error) from None
                incidents.append(Incident(number, self.photos.index.path(number), str(error), attempt == 0))
                stream = chance.REPLACEMENT + attempt * chance.STREAMS
                number = chance.draw(len(self.photos), self.seed, stream, epoch, sample)
        last = f"{printable(incidents[-1].path)} {incidents[-1].what}"
        raise PictureError(f"{SUBSTITUTES} pictures one after the other cannot be used; the last: {last}")

    def crop(self, epoch: int, number: int, side: int, enlarged: list[Incident]) -> Pixels:
        """A random crop of picture ``number`` in ``epoch``: uint8 (side, side, 3), mirrored where chance says so.

        Args:
            epoch: which pass over the pictures.
            number: which picture.
            side: pixels a side.
            enlarged: gets the picture where it is smaller than the crop.

        Raises:
            PictureError: the picture cannot be used.
        """
        data, header = self.photos.open(number)
        enlarged += self.photos.smaller(number, header, side)
        draws, fast = Draws(self.seed, epoch, number), self.settings.decode == "fast"
        resample = self.settings.contract.resample
        chosen = window(self.settings, header.upright, side, draws)
        if isinstance(chosen, Region):
            crop = cut_region(decode(data, header, chosen.least if fast else None), chosen, resample)
        elif fast:
            crop = cut(decode(data, header, chosen.resized), chosen, resample)
        else:
            crop = cut_whole(decode(data, header), chosen, resample)
        return crop[:, ::-1] if mirrored(self.settings, draws) else crop

    def _colours(self, epoch: int, numbers: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """What the pictures ``numbers`` gain in ``epoch``, where colours change at all."""
        how = self.settings.colour
        return [] if how is None else [colours(chance.normal(self.seed, chance.COLOUR, epoch, numbers, 3), how)]


class SingleViews:
    """Work: views of any picture files, a batch at a time; a file that cannot be used is said to be, and is skipped.

    Args:
        paths: the files.
        shape: of one view, (H, W, C).
        view: makes it from a file and its header; raises PictureError.
        batch: files a task.
    """

    def __init__(
        self, paths: Sequence[Path], shape: tuple[int, ...], view: Callable[[bytes, Header], Pixels], batch: int
    ) -> None:
        self.paths, self.shape, self.view, self.batch = paths, shape, view, batch

    @property
    def room(self) -> int:
        """Bytes of one batch."""
        return self.batch * math.prod(self.shape)

    @property
    def tasks(self) -> Sequence[int]:
        """One task a batch."""
        return range(0, len(self.paths), self.batch)

    def describe(self, item: int) -> str:
        """A picture's path."""
        return printable(str(self.paths[item]))

    def __call__(self, task: int, out: Buffer, at: At) -> list[str | None]:
        """What is wrong with each file from ``task`` on; its view is in ``out``, or zeros."""
        views = out[: self.room].reshape(self.batch, *self.shape)
        wrong: list[str | None] = []
        for place, path in enumerate(self.paths[task : task + self.batch]):
            at(task + place)
            try:
                data = read_picture(path)
                views[place] = self.view(data, read_header(data))
                wrong.append(None)
            except PictureError as error:
                views[place] = 0
                wrong.append(str(error))
        return wrong


def central(data: bytes, header: Header, contract: Contract) -> Pixels:
    """The central crop of a picture's file, exactly as the contract says: uint8 (crop, crop, 3).

    Raises:
        PictureError: the picture is damaged.
    """
    return cut_whole(decode(data, header), centre_crop(header.upright, contract), contract.resample)
