"""Parts of pictures: their extent, and the square that is made of them."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.tested import PILLOWS

from reslab.core.contract import Resample
from reslab.transforms.photographs import Pixels, Size
from reslab.transforms.regions import Region, central_region, cut_region, extent

CALM = settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
USUAL = (3 / 4, 4 / 3)
SIZES = st.tuples(st.integers(1, 3000), st.integers(1, 3000))


def noise(size: Size, seed: int = 0) -> Pixels:
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@st.composite
def regions(draw: st.DrawFn, largest: int = 90) -> Region:
    size = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    inner = draw(st.integers(1, size[0])), draw(st.integers(1, size[1]))
    left, top = draw(st.integers(0, size[0] - inner[0])), draw(st.integers(0, size[1] - inner[1]))
    return Region(size, left, top, *inner, draw(st.integers(1, 60)))


@pytest.mark.parametrize(
    ("size", "share", "aspect", "expected"),
    [
        ((100, 100), 1, 1, (100, 100)),
        ((100, 100), 0.25, 1, (50, 50)),
        ((400, 100), 0.5, 2, (200, 100)),
        ((400, 100), 0.5, 1.8, None),  # 190 x 105
        ((100, 400), 0.5, 0.5, (100, 200)),
        ((100, 400), 0.5, 0.6, None),  # 110 x 183
        ((3, 3), 0.01, 1, None),  # nothing
        ((5, 5), 0.25, 1, (2, 2)),  # 2.5 rounds to even
        ((7, 7), 0.25, 1, (4, 4)),  # 3.5 too
    ],
)
def test_extents_worked_out_by_hand(size: Size, share: float, aspect: float, expected: Size | None) -> None:
    assert extent(size, share, aspect) == expected


@CALM
@given(SIZES, st.floats(0.001, 1), st.floats(0.1, 10))
def test_an_extent_has_the_share_and_the_aspect_but_for_rounding(size: Size, share: float, aspect: float) -> None:
    found = extent(size, share, aspect)
    width, height = math.sqrt(share * size[0] * size[1] * aspect), math.sqrt(share * size[0] * size[1] / aspect)
    if found is None:
        assert width > size[0] or height > size[1] or width <= 0.5 or height <= 0.5
    else:
        assert 0 < found[0] <= size[0]
        assert 0 < found[1] <= size[1]
        assert abs(found[0] - width) <= 0.5 + 1e-6
        assert abs(found[1] - height) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((100, 100), USUAL, (0, 0, 100, 100)),
        ((133, 100), USUAL, (0, 0, 133, 100)),
        ((200, 100), USUAL, (33, 0, 133, 100)),
        ((100, 200), USUAL, (0, 33, 100, 133)),
        ((1, 4000), USUAL, (0, 1999, 1, 1)),
        ((4000, 1), USUAL, (1999, 0, 1, 1)),
        ((1, 10), (3, 4), (0, 4, 1, 1)),  # a third of a pixel is one
        ((10, 1), (0.2, 0.3), (4, 0, 1, 1)),
    ],
)
def test_central_regions_worked_out_by_hand(
    size: Size, aspect: tuple[float, float], expected: tuple[int, int, int, int]
) -> None:
    assert central_region(size, aspect, 7) == Region(size, *expected, 7)


@CALM
@given(SIZES, st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)).map(sorted))
def test_a_central_region_lies_inside_in_the_middle_and_touches_two_borders(size: Size, aspect: list[float]) -> None:
    found = central_region(size, (aspect[0], aspect[1]), 5)
    assert found.width == size[0] or found.height == size[1]
    for start, inner, whole in zip(found[1:3], found[3:5], size, strict=True):
        assert 0 <= start <= start + inner <= whole
        assert inner >= 1
        assert 0 <= whole - inner - 2 * start <= 1


@CALM
@given(regions(), st.integers(0, 99), st.sampled_from(list(PILLOWS)))
def test_of_a_whole_picture_a_region_is_cut_out_and_then_resized(region: Region, seed: int, resample: Resample) -> None:
    picture = noise(region.size, seed)
    before = picture.copy()
    _, left, top, width, height, side = region
    cut = Image.fromarray(picture).crop((left, top, left + width, top + height))
    found = cut_region(picture, region, resample)
    assert (found.dtype, found.shape) == (np.uint8, (side, side, 3))
    assert np.array_equal(found, np.asarray(cut.resize((side, side), PILLOWS[resample])))
    assert np.array_equal(picture, before)


@CALM
@given(regions(), st.sampled_from([2, 4, 8]))
def test_of_a_smaller_form_a_region_is_cut_too(region: Region, by: int) -> None:
    smaller = noise((-(-region.size[0] // by), -(-region.size[1] // by)))
    assert cut_region(smaller, region).shape == (region.side, region.side, 3)
    assert (cut_region(np.full_like(smaller, 77), region) == 77).all()


def test_a_region_of_a_smaller_form_is_nearly_the_same() -> None:
    y, x = np.mgrid[:400, :600]
    waves = np.stack([128 + 90 * np.sin(x / 30), 128 + 90 * np.cos(y / 25), (x + y) / 4], -1)
    full, half = waves.astype(np.uint8), waves.reshape(200, 2, 300, 2, 3).mean((1, 3)).astype(np.uint8)
    region = Region((600, 400), 131, 57, 301, 223, 64)
    assert np.abs(cut_region(half, region).astype(int) - cut_region(full, region)).mean() < 1
    moved = region._replace(left=134)
    assert np.abs(cut_region(half, moved).astype(int) - cut_region(full, region)).mean() > 1.5


@CALM
@given(regions(3000))
def test_the_least_form_has_the_side_both_ways_and_a_pixel_less_has_not(region: Region) -> None:
    for inner, whole, least in zip(region[3:5], region.size, region.least, strict=True):
        assert inner * least >= region.side * whole
        assert inner * (least - 1) < region.side * whole
