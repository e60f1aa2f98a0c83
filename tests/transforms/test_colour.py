import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.colour import Colour, ColourScale
from reslab.transforms.colour import coloured, colours

CALM = settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
TURNED = Colour(
    std=0.3,
    eigenvalues=(0.2, 0.05, 0.0),
    eigenvectors=((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
)


def of_one(pixels: list[list[list[int]]], normals: list[float], how: Colour) -> list[list[list[float]]]:
    """One picture, one pixel and one channel at a time, as AlexNet's paper writes it."""
    rows = []
    for row in pixels:
        changed = []
        for pixel in row:
            values = []
            for channel in range(3):
                added = 0.0
                for vector in range(3):
                    size = how.eigenvalues[vector]
                    size = math.sqrt(size) if how.scale == "sqrt" else size
                    added += how.eigenvectors[channel][vector] * (how.std * normals[vector]) * size
                values.append(pixel[channel] + 255 * added)
            changed.append(values)
        rows.append(changed)
    return rows


@pytest.mark.parametrize("scale", ["eigenvalue", "sqrt"])
@pytest.mark.parametrize("how", [Colour(), TURNED], ids=["published", "turned"])
@CALM
@given(seed=st.integers(0, 10**6), batch=st.integers(1, 4))
def test_a_batch_is_what_a_loop_over_pictures_and_pixels_gives(
    how: Colour, scale: ColourScale, seed: int, batch: int
) -> None:
    how = how.but({"scale": scale})
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (batch, 2, 3, 3), np.uint8)
    normals = draw.standard_normal((batch, 3)).astype(np.float32)
    gained = torch.from_numpy(colours(normals, how))
    found = coloured(torch.from_numpy(pixels), gained)
    expected = [of_one(p.tolist(), n.tolist(), how) for p, n in zip(pixels, normals, strict=True)]
    assert (found.dtype, gained.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), rtol=0, atol=1e-4)


def test_one_deviation_along_the_first_colour_is_5_5_of_255_and_11_9_by_the_root() -> None:
    """0.1 times the published 0.2175 of pixels in [0, 1], and times its root, along (-0.57, -0.58, -0.58)."""
    along = np.array([[1, 0, 0]], np.float32)
    by_value, by_root = (np.linalg.norm(colours(along, Colour(scale=scale))) for scale in ("eigenvalue", "sqrt"))
    assert by_value == pytest.approx(5.546, abs=2e-3)
    assert by_root == pytest.approx(11.892, abs=4e-3)


def test_values_beyond_white_and_black_are_kept() -> None:
    gained = torch.tensor([[10.0, -10.0, 0.5]])
    white, black = (coloured(torch.full((1, 1, 1, 3), value, dtype=torch.uint8), gained) for value in (255, 0))
    assert white.flatten().tolist() == [265.0, 245.0, 255.5]
    assert black.flatten().tolist() == [10.0, -10.0, 0.5]


def test_no_picture_keeps_its_neighbours_colour() -> None:
    normals = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
    first, second, none = colours(normals, Colour())
    assert not np.allclose(first, second)
    assert none.tolist() == [0, 0, 0]
