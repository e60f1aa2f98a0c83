"""A labelled set of small pictures that lives in memory."""

import functools
import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.core.units import counted
from reslab.data import chance
from reslab.data.parts import Part


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size with their labels.

    Args:
        name: the data set, as people write it.
        split: ``train``, ``val`` for the pictures that are only tested on, or ``all``.
        pixels: uint8, (N, C, H, W), C 1 or 3.
        labels: int64, (N,), each in [0, number of classes).
        classes: the classes' names, in the order of their labels.
    """

    name: str
    split: Part
    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise DataError(
                f"{self.name}: {counted(len(self.pixels), 'picture')} but {counted(len(self.labels), 'label')}"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(f"{self.name}: a label lies outside its {counted(len(self.classes), 'class')}")

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """The sha256 of shape, pixels and labels, in hexadecimal: the same pictures in the same order."""
        total = hashlib.sha256(repr(tuple(self.pixels.shape)).encode())
        for tensor in (self.pixels, self.labels):
            total.update(tensor.contiguous().numpy().data)
        return total.hexdigest()


def set_aside(pictures: Pictures, count: int) -> tuple[Pictures, Pictures]:
    """The pictures that are left to train on, and ``count`` to validate on: as many of each class as possible.

    Which ones is the same for every run: it depends on the pictures' places in the set and on nothing else.

    Raises:
        DataError: no picture of some class would be left.
    """
    ranked = chance.order(0, 0, len(pictures), chance.VALIDATION)
    labels = pictures.labels.numpy()[ranked]
    rank = np.empty(len(pictures), np.int64)  # of each picture among those of its class
    for label in range(len(pictures.classes)):
        of_class = ranked[labels == label]
        rank[of_class] = np.arange(len(of_class))
    first = np.lexsort((pictures.labels.numpy(), rank))[:count]
    aside = torch.zeros(len(pictures), dtype=torch.bool)
    aside[first] = True
    left = _chosen(pictures, ~aside)
    if count and len(left.labels.unique()) < len(pictures.labels.unique()):
        raise DataError(
            f"{pictures.name} has {counted(len(pictures), 'picture')}: {count} set aside leave some class none"
            " to train on"
        )
    return left, _chosen(pictures, aside)


def _chosen(pictures: Pictures, which: Tensor) -> Pictures:
    return replace(pictures, pixels=pictures.pixels[which], labels=pictures.labels[which])
