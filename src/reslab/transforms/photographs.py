"""Photographs: where a crop lies in a resized picture, the one resample that makes it, and the network's input."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reslab.core.contract import Contract, Resample
from reslab.core.protocol import Places
from reslab.transforms.mean_image import MeanImage

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # width, height
FILTERS: Final[dict[Resample, Image.Resampling]] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
LARGEST_RESIZED = 2**24  # pixels; ours: beyond 4096x4096, only the crop of a resized picture is ever made


class Crop(NamedTuple):
    """A square of ``side`` pixels at ``left``, ``top`` of the picture as resized to ``resized`` (width, height)."""

    resized: Size
    left: int
    top: int
    side: int


def resized_to(size: Size, shorter_side: int) -> Size:
    """Width and height, the shorter one ``shorter_side``; the longer one is rounded down, as torchvision does it."""
    width, height = size
    if width <= height:
        return shorter_side, shorter_side * height // width
    return shorter_side * width // height, shorter_side


def centre_crop(size: Size, contract: Contract) -> Crop:
    """The testing view: the central crop at the contract's scale."""
    (crop,) = crops_at(resized_to(size, contract.shorter_side), contract.crop, "center")
    return crop


def crops_at(resized: Size, side: int, places: Places) -> list[Crop]:
    """Squares of ``side`` pixels in a picture as resized; halves of a pixel round to even, as torchvision's.

    Args:
        resized: width and height.
        side: of the squares.
        places: top left, top right, bottom left, bottom right and centre, or the last alone.
    """
    width, height = resized
    left, top = (round((length - side) / 2) for length in resized)
    centre = Crop(resized, left, top, side)
    if places == "center":
        return [centre]
    across, down = resized if places == "corners+center" else (min(resized), min(resized))
    first, upper = (round((length - inner) / 2) for length, inner in ((width, across), (height, down)))
    last, lower = first + across - side, upper + down - side
    corners = [Crop(resized, x, y, side) for y in (upper, lower) for x in (first, last)]
    return [*corners, centre]


def cut_whole(picture: Pixels, crop: Crop, resample: Resample = "bilinear") -> Pixels:
    """Resize the whole picture, then take the crop: what a reader of the protocol would do.

    Args:
        picture: uint8, (H, W, 3).
        crop: where.
        resample: by which filter.

    Returns:
        uint8, (side, side, 3).
    """
    (taken,) = cut_all(picture, [crop], resample)
    return taken


def cut_all(picture: Pixels, crops: Sequence[Crop], resample: Resample = "bilinear") -> list[Pixels]:
    """`cut_whole` for crops of one resized form, which is made once."""
    (resized,) = {crop.resized for crop in crops}
    if resized[0] * resized[1] > LARGEST_RESIZED:
        return [cut(picture, crop, resample) for crop in crops]
    whole = resize(picture, resized, resample)
    return [whole[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side] for crop in crops]


def resize(picture: Pixels, size: Size, resample: Resample = "bilinear") -> Pixels:
    """Antialiased: uint8 (H, W, 3), or (H, W) of a grey picture, at ``size`` (width, height)."""
    return np.asarray(Image.fromarray(picture).resize(size, FILTERS[resample]))


def cut(picture: Pixels, crop: Crop, resample: Resample = "bilinear") -> Pixels:
    """The same by one resample of just the crop; values differ by rounding alone (docs/speed.md has the measure).

    Bicubic overshoots at hard edges, and Pillow clips between its two passes, of which it takes the cheaper one first:
    a few values there differ by more.

    Args:
        picture: uint8, (H, W, 3), whole, of any scale.
        crop: where, in the picture's resized form.
        resample: by which filter.

    Returns:
        uint8, (side, side, 3).
    """
    height, width = picture.shape[:2]
    across, down = width / crop.resized[0], height / crop.resized[1]
    box = (
        crop.left * across,
        crop.top * down,
        min(width, (crop.left + crop.side) * across),
        min(height, (crop.top + crop.side) * down),
    )
    taken = Image.fromarray(picture).resize((crop.side, crop.side), FILTERS[resample], box=box)
    return np.asarray(taken)


@dataclass(frozen=True)
class PhotoForm:
    """From crops to a network's input, batched, on the pixels' device.

    Args:
        contract: what is done to the pixels.
        image: the contract's mean image, where it has one.
    """

    contract: Contract
    image: MeanImage | None = None

    def __post_init__(self) -> None:
        assert self.contract.mean_image == (None if self.image is None else self.image.digest)

    def input(self, pixels: Tensor) -> Tensor:
        """float32 (N, 3, H, W), channels-last, from uint8 or float32 (N, H, W, 3) in RGB.

        A mean image is subtracted from pixels of its size, its average from others, as the authors say (their issue 5).
        """
        rows = self._ordered(pixels).flatten(2)  # ours: 32 crops of 224 take one core 6 ms; by pixels, 16
        std = _row(self.contract.std, pixels.shape[2], pixels.device)
        return ((rows - self._mean(pixels)) / std).view(pixels.shape).permute(0, 3, 1, 2)

    def _ordered(self, pixels: Tensor) -> Tensor:
        return pixels if self.contract.order == "RGB" else pixels.flip(-1)

    def _mean(self, pixels: Tensor) -> Tensor:
        """Of each row's values: (W * 3,), or (H, W * 3) where it is an image."""
        if self.image is None or pixels.shape[1:] != self.image.pixels.shape:
            return _row(self.contract.mean, pixels.shape[2], pixels.device)
        return self._ordered(self.image.pixels.to(pixels.device)).flatten(1)


@functools.lru_cache(maxsize=256)  # dense testing has many widths
def _row(values: tuple[float, ...], width: int, device: torch.device) -> Tensor:
    """``values`` for each of ``width`` pixels; copied once, because a copy to CUDA waits for all that it has to do."""
    return torch.tensor(values, device=device).repeat(width)
