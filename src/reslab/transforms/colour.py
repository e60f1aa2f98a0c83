"""AlexNet's colour augmentation: one colour for each picture, added to all of its pixels."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reslab.core.colour import Colour

WHITE: Final = 255  # pixels have [0, 255], eigenvalues are of pixels in [0, 1]


def colours(normals: NDArray[np.float32], how: Colour) -> NDArray[np.float32]:
    """What each picture's pixels gain, in [0, 255]; computed in float64.

    Args:
        normals: (N, 3), standard normal, one for each eigenvector.
        how: strength, eigenvalues and eigenvectors.

    Returns:
        float32, (N, 3), in RGB.
    """
    sizes = np.array(how.eigenvalues)
    along = np.array(how.eigenvectors) * (np.sqrt(sizes) if how.scale == "sqrt" else sizes)
    draws = how.std * normals.astype(np.float64)
    gained: NDArray[np.float64] = WHITE * (draws[:, None, :] * along).sum(axis=-1)
    return gained.astype(np.float32)


def coloured(pixels: Tensor, gained: Tensor) -> Tensor:
    """float32 (N, H, W, 3), neither rounded nor clipped, from uint8 (N, H, W, 3) in RGB and float32 (N, 3)."""
    rows = pixels.flatten(2) + gained.repeat(1, pixels.shape[2])[:, None]  # a row at a time, as `PhotoForm.input`
    return rows.view(pixels.shape)
