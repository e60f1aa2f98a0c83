"""What every form of a network's pictures can do, and how batches reach the network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from reslab.core.experiment import Recipe
from reslab.core.listening import unheard
from reslab.core.protocol import Native
from reslab.core.protocol import Protocol as Testing
from reslab.data.photographs import Incident
from reslab.data.picture_file import Header
from reslab.data.source import Dataset
from reslab.data.views import ViewBatch
from reslab.evaluation.views import View
from reslab.training.step import Batch
from reslab.transforms.photographs import Pixels


@dataclass(frozen=True)
class Feed:
    """How batches reach the network; none of it changes them.

    Args:
        device: where they are needed.
        workers: processes that read ahead; 0 reads in this one.
        warn: hears of workers that were replaced.
        replaced: hears of pictures that were replaced.
        enlarged: hears of pictures that are smaller than the crop.
        part: the places of each training batch that are this process's; None: all.
    """

    device: torch.device
    workers: int = 0
    warn: Callable[[str], None] = unheard
    replaced: Callable[[Incident], None] = unheard
    enlarged: Callable[[Incident], None] = unheard
    part: range | None = None


class Inputs(Protocol):
    """The form in which a network takes pictures."""

    @property
    def native(self) -> Native:
        """The sizes that testing protocols go by."""

    @property
    def side(self) -> int:
        """Pixels a side of what the network is fed in testing by its usual protocol."""

    @property
    def sides(self) -> tuple[int, int]:
        """Pixels a side of the smallest and of the largest that the network is fed in training."""

    def training(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        """Batches after ``consumed`` samples, or this process's part of each."""

    def views(self, pictures: Dataset, protocol: Testing, which: range, feed: Feed) -> Iterator[View]:
        """Every view of the pictures ``which``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one view's pixels: (H, W, C)."""

    def view(self, data: bytes, header: Header) -> Pixels:
        """The testing view of one picture's file: uint8, `shape`; raises PictureError."""

    def input(self, pixels: Tensor) -> Tensor:
        """float32 (N, 3, H, W) from views, uint8 (N, H, W, C)."""

    def contract(self) -> dict[str, Any]:
        """What a checkpoint says about it."""

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""


def with_mirror(images: Tensor, batch: ViewBatch, protocol: Testing) -> Iterator[View]:
    """The views of a batch, as the network takes them, and their mirror images where the protocol has them."""
    yield View(images, batch.indices, batch.group)
    if protocol.mirror:
        yield View(images.flip(-1), batch.indices, batch.group)
