"""Batches. A loader's whole state is one integer: how many samples have been consumed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reslab.core.experiment import Augmentation, Photographs
from reslab.core.listening import unheard
from reslab.data.draws import Drawer
from reslab.data.photographs import Incident, PhotoBatch, PhotoFolder, TrainingCrops
from reslab.data.pictures import Pictures
from reslab.data.pool import At, Buffer, in_order

Warn = Callable[[str], None]


class TrainingBatch(NamedTuple):
    """One batch of small pictures with everything that chance decided about it.

    ``pixels`` uint8 (B, C, H, W); ``labels`` and ``indices`` (places in the data set) int64 (B,); ``corners`` int64
    (B, 2), each crop's top and left in the padded picture; ``mirrored`` bool (B,).
    """

    pixels: Tensor
    labels: Tensor
    indices: Tensor
    corners: Tensor
    mirrored: Tensor


class OrderedBatch(NamedTuple):
    """``pixels`` uint8 (B, C, H, W), ``labels`` and ``indices`` int64 (B,)."""

    pixels: Tensor
    labels: Tensor
    indices: Tensor


class CropBatch(NamedTuple):
    """``pixels`` uint8 (B, side, side, 3), ``labels`` and ``indices`` int64 (B,); pictures replaced or enlarged.

    ``colours``: float32 (B, 3), what the pixels of each picture are to gain in RGB; None: nothing.
    """

    pixels: Tensor
    labels: Tensor
    indices: Tensor
    replaced: tuple[Incident, ...]
    enlarged: tuple[Incident, ...]
    colours: Tensor | None = None


class _Gather:
    """Work: batches of small pictures from the endless stream, by the position of their first sample."""

    def __init__(self, pictures: Pictures, batch: int, seed: int, augment: Augmentation) -> None:
        self.pixels, self.labels = pictures.pixels.numpy(), pictures.labels.numpy()
        self.batch, self.draw = batch, Drawer(len(pictures), seed, augment)
        self.shape = (batch, *self.pixels.shape[1:])

    @property
    def room(self) -> int:
        return int(np.prod(self.shape))

    def describe(self, item: int) -> str:
        return f"the batch of sample {item}"

    def __call__(self, task: int, out: Buffer, at: At) -> tuple[NDArray[Any], ...]:
        at(task)
        taken, corners, mirrored = self.draw(task, self.batch)
        np.take(self.pixels, taken, axis=0, out=out[: self.room].reshape(self.shape))
        return self.labels[taken], taken, corners, mirrored


def training_batches(
    pictures: Pictures,
    *,
    batch: int,
    steps: int,
    seed: int,
    augment: Augmentation,
    consumed: int = 0,
    part: range | None = None,
    workers: int = 0,
    warn: Warn = unheard,
) -> Iterator[TrainingBatch]:
    """Full batches, across the boundaries of epochs, from sample ``consumed`` up to ``steps * batch``.

    The batches are the same for any number of ``workers`` and however often the stream was stopped and begun again.

    Args:
        pictures: the training set.
        batch: pictures a batch.
        steps: batches of the whole run.
        seed: with epoch and sample index, all that decides order, crops and mirror images.
        augment: which crops and mirror images are drawn.
        consumed: samples that earlier batches took.
        part: the places of each batch that are wanted; None: all.
        workers: processes that gather batches ahead; 0 gathers in this one.
        warn: hears of workers that died or hung and were replaced.
    """
    places = range(batch) if part is None else part
    work = _Gather(pictures, len(places), seed, augment)
    for info, buffer in in_order(work, range(consumed + places.start, steps * batch, batch), workers, warn):
        yield TrainingBatch(_tensor(buffer, work.shape), *map(torch.from_numpy, info))


def ordered_batches(pictures: Pictures, batch: int) -> Iterator[OrderedBatch]:
    """Every picture once, in order; the last batch may be smaller."""
    for indices in torch.arange(len(pictures)).split(batch):
        yield OrderedBatch(pictures.pixels[indices], pictures.labels[indices], indices)


def training_crops(
    photos: PhotoFolder,
    *,
    batch: int,
    steps: int,
    seed: int,
    settings: Photographs,
    consumed: int = 0,
    part: range | None = None,
    workers: int = 0,
    warn: Warn = unheard,
) -> Iterator[CropBatch]:
    """`training_batches` for photographs: random crops, of the side that their step has, decoded by ``workers``.

    Raises:
        PictureError: a picture cannot be used and the settings say stop.
        WorkerError: a picture killed or hung three workers.
    """
    places, patience = range(batch) if part is None else part, photos.store.patience
    work = TrainingCrops(photos, settings, len(places), seed, lambda first: settings.side_at(first // batch, steps))
    tasks = range(consumed + places.start, steps * batch, batch)
    for found, buffer in in_order(work, tasks, workers, warn, patience):
        yield _crops(found, buffer)


def _crops(found: PhotoBatch, buffer: Buffer) -> CropBatch:
    pixels = _tensor(buffer, (len(found.indices), found.side, found.side, 3))
    labels, indices = torch.from_numpy(found.labels), torch.from_numpy(found.indices)
    colours = None if found.colours is None else torch.from_numpy(found.colours)
    return CropBatch(pixels, labels, indices, found.replaced, found.enlarged, colours)


def _tensor(buffer: Buffer, shape: tuple[int, ...]) -> Tensor:
    """A copy: the buffer is filled again."""
    return torch.from_numpy(buffer[: int(np.prod(shape))].reshape(shape).copy())
