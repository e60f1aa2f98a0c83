"""A labelled set of small pictures that lives in memory."""

import functools
import hashlib
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from reslab.core.errors import DataError

Split = Literal["train", "val"]
Part = Literal["train", "val", "all"]


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
            raise DataError(f"{self.name}: {len(self.pixels)} pictures but {len(self.labels)} labels")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(f"{self.name}: a label lies outside its {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """The sha256 of shape, pixels and labels, in hexadecimal: the same pictures in the same order."""
        total = hashlib.sha256(repr(tuple(self.pixels.shape)).encode())
        for tensor in (self.pixels, self.labels):
            total.update(tensor.contiguous().numpy().data)
        return total.hexdigest()
