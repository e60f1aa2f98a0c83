"""What chance decides about a batch of small pictures; every path to the network takes it from here."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reslab.core.experiment import Augmentation
from reslab.data import chance
from reslab.data.ahead import moved

AHEAD: Final = 64  # batches whose draws reach the device together; ours: one copy and 2 ms of hashing for all of them


class Draws(NamedTuple):
    """Which pictures, and how each is cropped and mirrored.

    ``indices`` (places in the data set) int64 (B,); ``corners`` int64 (B, 2), each crop's top and left in the padded
    picture; ``mirrored`` bool (B,).
    """

    indices: Tensor
    corners: Tensor
    mirrored: Tensor


class Drawer:
    """Draws for any stretch of the endless stream of shuffled epochs.

    Args:
        count: pictures in the set.
        seed: with epoch and sample index, all that decides order, crops and mirror images.
        augment: which crops and mirror images are drawn.
    """

    def __init__(self, count: int, seed: int, augment: Augmentation) -> None:
        self.stream, self.seed, self.augment = chance.Stream(seed, count), seed, augment

    def __call__(self, position: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool]]:
        """Indices (length,), corners (length, 2) and mirrored (length,) of the samples from ``position`` on."""
        parts = [(s, *self._fates(epoch, s)) for epoch, s in self.stream.pieces(position, length)]
        indices, corners, mirrored = (np.concatenate(column) for column in zip(*parts, strict=True))
        return indices, corners, mirrored

    def _fates(self, epoch: int, samples: chance.Indices) -> tuple[NDArray[np.int64], NDArray[np.bool]]:
        places = 2 * self.augment.pad + 1
        rows = chance.below(places, chance.words(self.seed, chance.ROW, epoch, samples))
        columns = chance.below(places, chance.words(self.seed, chance.COLUMN, epoch, samples))
        mirrored = chance.below(2, chance.words(self.seed, chance.MIRROR, epoch, samples)) == 1
        return np.stack([rows, columns], axis=1), mirrored & self.augment.flip


def training_draws(
    draw: Drawer,
    *,
    batch: int,
    steps: int,
    consumed: int = 0,
    part: range | None = None,
    device: torch.device | None = None,
) -> Iterator[Draws]:
    """The draws of full batches from sample ``consumed`` up to ``steps * batch``, on ``device``.

    Args:
        draw: those of one run.
        batch: pictures a batch.
        steps: batches of the whole run.
        consumed: samples that earlier batches took.
        part: the places of each batch that are wanted; None: all.
        device: where they are needed; None: the processor.
    """
    home, places = device or torch.device("cpu"), range(batch) if part is None else part
    for position in range(consumed, steps * batch, AHEAD * batch):
        length = min(AHEAD * batch, steps * batch - position)
        parts = (moved(torch.from_numpy(part), home).split(batch) for part in draw(position, length))
        whole = zip(*parts, strict=True)
        yield from (Draws(*(column[places.start : places.stop] for column in one)) for one in whole)
