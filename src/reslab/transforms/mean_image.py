"""The mean image of section 3.4: the mean of each pixel over the crops of a training set."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from reslab.core.contract import Contract
from reslab.core.errors import DataError


@dataclass(frozen=True, eq=False)
class MeanImage:
    """What is subtracted from a crop of its size.

    Args:
        pixels: float32, (side, side, 3), RGB in [0, 255].

    Raises:
        DataError: it is no such image.
    """

    pixels: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.pixels.shape)
        if (
            self.pixels.dtype != torch.float32
            or len(shape) != 3
            or shape[0] != shape[1]
            or shape[2] != 3
            or not shape[0]
        ):
            kind = str(self.pixels.dtype).removeprefix("torch.")
            raise DataError(f"a mean image is a square of float32 pixels in RGB, (side, side, 3), not {kind} {shape}")
        if not bool(((self.pixels >= 0) & (self.pixels <= 255)).all()):
            raise DataError("a mean image has pixels in [0, 255]; this one has others")

    @property
    def side(self) -> int:
        """Pixels a side."""
        return len(self.pixels)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the pixels, float32, little-endian, row by row."""
        return hashlib.sha256(self.pixels.contiguous().cpu().numpy().astype("<f4").data).hexdigest()

    def subtracted_by(self, contract: Contract) -> Contract:
        """``contract`` with this image as what is subtracted, and its average from what has another size.

        Raises:
            DataError: crops have another size.
        """
        if self.side != contract.crop:
            sizes = f"{self.side}x{self.side} pixels, and crops have {contract.crop}x{contract.crop}"
            raise DataError(
                f"the mean image has {sizes}; `reslab data stats --crop {contract.crop}` makes one of theirs"
            )
        average = self.pixels.double().mean(dim=(0, 1)).tolist()
        ordered = average if contract.order == "RGB" else average[::-1]
        return contract.but({"mean": ordered, "mean_image": self.digest})
