"""A part of a picture, resized to a square: the crop of Szegedy et al. 2015, as torchvision makes it."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from reslab.core.contract import Resample
from reslab.transforms.photographs import FILTERS, Pixels, Size


class Region(NamedTuple):
    """``width`` x ``height`` pixels at ``left``, ``top`` of a picture of ``size``, to become ``side`` x ``side``."""

    size: Size
    left: int
    top: int
    width: int
    height: int
    side: int

    @property
    def least(self) -> Size:
        """The smallest form of the whole picture whose region still has ``side`` pixels both ways."""
        width, height = self.size
        return -(-width * self.side // self.width), -(-height * self.side // self.height)


def extent(size: Size, share: float, aspect: float) -> Size | None:
    """Width and height of a part with ``share`` of the area and ``aspect``, width over height; None: it does not fit.

    Halves of a pixel round to even, as torchvision's.
    """
    area = share * (size[0] * size[1])
    width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return (width, height) if 0 < width <= size[0] and 0 < height <= size[1] else None


def central_region(size: Size, aspect: tuple[float, float], side: int) -> Region:
    """The largest central part whose width over height lies within ``aspect``: the whole picture, where it does."""
    (width, height), (low, high) = size, aspect
    if width / height < low:
        height = max(1, round(width / low))
    elif width / height > high:
        width = max(1, round(height * high))
    return Region(size, (size[0] - width) // 2, (size[1] - height) // 2, width, height, side)


def cut_region(picture: Pixels, region: Region, resample: Resample = "bilinear") -> Pixels:
    """One antialiased resample of the region; of a whole picture the same bits as torchvision's.

    Args:
        picture: uint8, (H, W, 3), whole, of any scale.
        region: where, in the picture's own size.
        resample: by which filter.

    Returns:
        uint8, (side, side, 3).
    """
    height, width = picture.shape[:2]
    across, down = width / region.size[0], height / region.size[1]
    left, right = region.left * across, min(width, (region.left + region.width) * across)
    top, bottom = region.top * down, min(height, (region.top + region.height) * down)
    x, y = int(left), int(top)
    part = Image.fromarray(picture[y : math.ceil(bottom), x : math.ceil(right)])
    box = (left - x, top - y, right - x, bottom - y)
    return np.asarray(part.resize((region.side, region.side), FILTERS[resample], box=box))
