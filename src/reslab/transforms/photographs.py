"""Photographs: where a crop lies in a resized picture, the one resample that makes it, and the network's input."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reslab.core.contract import Contract

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # width, height
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
    """The testing view: the central crop at the contract's scale; halves round to even, as torchvision's."""
    resized = resized_to(size, contract.shorter_side)
    left, top = (round((side - contract.crop) / 2) for side in resized)
    return Crop(resized, left, top, contract.crop)


def cut_whole(picture: Pixels, crop: Crop) -> Pixels:
    """Resize the whole picture, then take the crop: what a reader of the protocol would do.

    Args:
        picture: uint8, (H, W, 3).
        crop: where.

    Returns:
        uint8, (side, side, 3).
    """
    if crop.resized[0] * crop.resized[1] > LARGEST_RESIZED:
        return cut(picture, crop)
    resized = Image.fromarray(picture).resize(crop.resized, Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((crop.left, crop.top, crop.left + crop.side, crop.top + crop.side)))


def cut(picture: Pixels, crop: Crop) -> Pixels:
    """The same by one resample of just the crop; values differ by rounding alone (docs/speed.md has the measure).

    Args:
        picture: uint8, (H, W, 3), whole, of any scale.
        crop: where, in the picture's resized form.

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
    taken = Image.fromarray(picture).resize((crop.side, crop.side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(taken)


@dataclass(frozen=True)
class PhotoForm:
    """From crops to a network's input, batched, on the pixels' device."""

    contract: Contract

    def input(self, pixels: Tensor) -> Tensor:
        """float32 (N, 3, H, W), channels-last, from uint8 (N, H, W, 3) in RGB."""
        mean = torch.tensor(self.contract.mean, device=pixels.device)
        std = torch.tensor(self.contract.std, device=pixels.device)
        ordered = pixels if self.contract.order == "RGB" else pixels.flip(-1)
        return ((ordered - mean) / std).permute(0, 3, 1, 2)
