"""Small pictures in memory, as the network takes them: section 4.2."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reslab.core.errors import DataError, PictureError
from reslab.core.experiment import Recipe
from reslab.core.protocol import SHORTER_SIDE, SINGLE, Native, Protocol, scaled
from reslab.core.units import counted
from reslab.data.ahead import ahead
from reslab.data.decode import decode
from reslab.data.loader import training_batches
from reslab.data.picture_file import Header
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset
from reslab.data.views import small_views
from reslab.evaluation.views import View
from reslab.experiments.feed import Feed, with_mirror
from reslab.experiments.resident import Resident
from reslab.training.step import Batch
from reslab.transforms.cifar import CifarForm
from reslab.transforms.photographs import Pixels

SMALL_TEST_BATCH = 500  # pictures; any number gives the same counts


@dataclass(frozen=True, eq=False)
class SmallInputs:
    """The CIFAR form of section 4.2, on pictures in memory."""

    form: CifarForm

    @property
    def native(self) -> Native:
        """The picture's own side; a crop of it is cut at the shorter side that 256 is for a crop of 224."""
        return Native(scaled(SHORTER_SIDE, self.side), self.side, SINGLE)

    @property
    def side(self) -> int:
        """Pixels a side."""
        return self.form.mean.shape[-1]

    @property
    def sides(self) -> tuple[int, int]:
        """Training has pictures of the same side."""
        return self.side, self.side

    def training(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        """Shifted and mirrored pictures; without workers they are made on the device, where they lie."""
        if not feed.workers:
            resident = self.resident(pictures, feed.device)
            return map(resident, resident.draws(recipe, seed, consumed, feed.part))
        return self._read_ahead(pictures, recipe, seed, consumed, feed)

    def resident(self, pictures: Dataset, device: torch.device) -> Resident:
        """All pictures on ``device``."""
        return Resident(self._fitting(pictures), self.form, device)

    def _read_ahead(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        form = self.form.to(feed.device)
        stream = training_batches(
            self._fitting(pictures),
            batch=recipe.batch,
            steps=recipe.steps,
            seed=seed,
            augment=recipe.augment,
            consumed=consumed,
            part=feed.part,
            workers=feed.workers,
            warn=feed.warn,
        )
        for pixels, labels, indices, corners, mirrored in ahead(stream, feed.device):
            yield Batch(form.train(pixels, corners, mirrored), labels, indices)

    def views(self, pictures: Dataset, protocol: Protocol, which: range, feed: Feed) -> Iterator[View]:
        """Views of small pictures.

        Raises:
            DataError: the pictures are not of the shape that the network was trained on.
        """
        form = self.form.to(feed.device)
        for batch in small_views(self._fitting(pictures), protocol, which, SMALL_TEST_BATCH):
            pixels = batch.pixels.to(feed.device).permute(0, 3, 1, 2)
            yield from with_mirror(form.test(pixels), batch, protocol)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of the pictures that were trained on."""
        channels, height, width = self.form.mean.shape
        return height, width, channels

    def view(self, data: bytes, header: Header) -> Pixels:
        """The picture as it is, in grey where the network was trained on grey pictures.

        Raises:
            PictureError: it cannot be used, or has another size.
        """
        height, width, channels = self.shape
        if header.upright != (width, height):
            found = "x".join(str(side) for side in header.upright)
            raise PictureError(f"has {found} pixels; this network takes {width}x{height}")
        pixels = decode(data, header)
        return pixels if channels == 3 else np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]

    def input(self, pixels: Tensor) -> Tensor:
        """The CIFAR form."""
        return self.form.to(pixels.device).test(pixels.permute(0, 3, 1, 2))

    def contract(self) -> dict[str, Any]:
        """See `CifarForm.contract`."""
        return self.form.contract()

    def tensors(self) -> dict[str, Tensor]:
        """The mean picture."""
        return {"mean": self.form.mean}

    def _fitting(self, pictures: Dataset) -> Pictures:
        known = tuple(self.form.mean.shape)
        if not isinstance(pictures, Pictures):
            raise DataError(f"{pictures.name} has photographs; the network was trained on {_size(known)}")
        shape = tuple(pictures.pixels.shape[1:])
        if shape != known:
            raise DataError(
                f"{pictures.name} has pictures of {_size(shape)}; the network was trained on {_size(known)}"
            )
        return pictures


def stored_form(contract: dict[str, Any], tensors: dict[str, Tensor]) -> CifarForm:
    """The CIFAR form that a checkpoint describes.

    Raises:
        DataError: it describes none.
    """
    mean, std, pad = tensors.get("mean"), contract.get("divide"), contract.get("train", {}).get("pad")
    if mean is None or mean.dim() != 3 or mean.shape[0] not in (1, 3) or mean.dtype != torch.float32:
        raise DataError("the mean of its pictures is missing, or is no picture")
    divides = std is None or (isinstance(std, list) and len(std) == len(mean) and all(value > 0 for value in std))
    if not divides or not isinstance(pad, int) or pad < 0 or not mean.numel():
        raise DataError(f"its pictures are divided by {std!r} and padded by {pad!r}, which cannot be")
    return CifarForm(mean, pad, None if std is None else tuple(std))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]} pixels in {counted(shape[0], 'channel')}"
