"""Batches. A loader's whole state is one integer: how many samples have been consumed."""

import functools
import signal
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reslab.core.experiment import Augmentation
from reslab.data import chance
from reslab.data.pictures import Pictures


class TrainingBatch(NamedTuple):
    """One batch with everything that chance decided about it.

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


class _Stream(Dataset[TrainingBatch]):
    """The endless stream of shuffled epochs, read a batch at a time by its first sample's position."""

    def __init__(self, pictures: Pictures, batch: int, seed: int, augment: Augmentation) -> None:
        self.pictures, self.batch, self.seed, self.augment = pictures, batch, seed, augment
        self.order = functools.lru_cache(maxsize=2)(functools.partial(chance.order, seed, count=len(pictures)))

    def __getitem__(self, position: int) -> TrainingBatch:
        parts = []
        left = self.batch
        while left:
            epoch, start = divmod(position, len(self.pictures))
            samples = self.order(epoch)[start : start + left]
            parts.append((samples, *self._draw(epoch, samples)))
            position, left = position + len(samples), left - len(samples)
        taken, corners, mirrored = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True))
        return TrainingBatch(self.pictures.pixels[taken], self.pictures.labels[taken], taken, corners, mirrored)

    def _draw(self, epoch: int, samples: chance.Indices) -> tuple[chance.Indices, NDArray[np.bool]]:
        places = 2 * self.augment.pad + 1
        rows = chance.below(places, chance.words(self.seed, chance.ROW, epoch, samples))
        columns = chance.below(places, chance.words(self.seed, chance.COLUMN, epoch, samples))
        mirrored = chance.below(2, chance.words(self.seed, chance.MIRROR, epoch, samples)) == 1
        return np.stack([rows, columns], axis=1), mirrored & self.augment.flip


def training_batches(
    pictures: Pictures, *, batch: int, steps: int, seed: int, augment: Augmentation, consumed: int = 0, workers: int = 0
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
        workers: processes that gather batches ahead; 0 gathers in this one.
    """
    loader = DataLoader(
        _Stream(pictures, batch, seed, augment),
        batch_size=None,
        sampler=range(consumed, steps * batch, batch),
        num_workers=workers,
        worker_init_fn=_leave_signals_to_the_parent if workers else None,
        generator=torch.Generator(),  # without one of its own, iter() would draw from the global generator
    )
    return iter(loader)


def ordered_batches(pictures: Pictures, batch: int) -> Iterator[OrderedBatch]:
    """Every picture once, in order; the last batch may be smaller."""
    for indices in torch.arange(len(pictures)).split(batch):
        yield OrderedBatch(pictures.pixels[indices], pictures.labels[indices], indices)


def _leave_signals_to_the_parent(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
