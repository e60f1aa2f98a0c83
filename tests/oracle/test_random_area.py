"""Parts of a random area are torchvision's: their pixels, and where they lie, from torchvision's own draws."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F

from reslab.core.contract import Resample
from reslab.core.experiment import RandomArea
from reslab.data.windows import TRIES
from reslab.transforms.photographs import Pixels, Size
from reslab.transforms.regions import Region, central_region, cut_region, extent

pytestmark = pytest.mark.oracle

CALM = settings(deadline=None, max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
MODES: dict[Resample, InterpolationMode] = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


def noise(size: Size, seed: int = 0) -> Pixels:
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def theirs(picture: Pixels, region: Region, resample: Resample) -> Pixels:
    _, left, top, width, height, side = region
    image = Image.fromarray(picture)
    mode = MODES[resample]
    return np.asarray(F.resized_crop(image, top, left, height, width, [side, side], mode, antialias=True))


@st.composite
def regions(draw: st.DrawFn) -> Region:
    size = draw(st.integers(1, 120)), draw(st.integers(1, 120))
    inner = draw(st.integers(1, size[0])), draw(st.integers(1, size[1]))
    left, top = draw(st.integers(0, size[0] - inner[0])), draw(st.integers(0, size[1] - inner[1]))
    return Region(size, left, top, *inner, draw(st.integers(1, 80)))


@CALM
@given(regions(), st.integers(0, 99), st.sampled_from(list(MODES)))
def test_pixels_are_those_of_a_resized_crop(region: Region, seed: int, resample: Resample) -> None:
    picture = noise(region.size, seed)
    assert np.array_equal(cut_region(picture, region, resample), theirs(picture, region, resample))


@pytest.mark.parametrize("part", [(0, 0, 500, 375), (77, 53, 227, 262), (10, 20, 130, 120), (113, 71, 224, 224)])
@pytest.mark.parametrize("resample", MODES)
def test_pixels_of_a_photographs_parts_are_those_of_a_resized_crop(
    resample: Resample, part: tuple[int, int, int, int]
) -> None:
    region = Region((500, 375), *part, 224)
    picture = noise(region.size)
    assert np.array_equal(cut_region(picture, region, resample), theirs(picture, region, resample))


def replayed(size: Size, area: RandomArea) -> tuple[int, int, int, int]:
    """Top, left, height and width by our rule, from the draws that torchvision makes next."""
    low, high = torch.log(torch.tensor(area.aspect))
    for _ in range(TRIES):
        share = torch.empty(1).uniform_(*area.share).item()
        found = extent(size, share, torch.exp(torch.empty(1).uniform_(low, high)).item())
        if found is not None:
            top = torch.randint(0, size[1] - found[1] + 1, size=(1,)).item()
            return int(top), int(torch.randint(0, size[0] - found[0] + 1, size=(1,)).item()), found[1], found[0]
    central = central_region(size, area.aspect, 1)
    return central.top, central.left, central.height, central.width


@CALM
@given(
    st.tuples(st.integers(2, 600), st.integers(2, 600)),
    st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(sorted),
    st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)).map(sorted),
    st.integers(0, 2**31),
)
def test_extents_and_central_parts_are_torchvisions(
    size: Size, share: list[float], aspect: list[float], seed: int
) -> None:
    area = RandomArea(share=(share[0], share[1]), aspect=(aspect[0], aspect[1]))
    image = Image.new("RGB", size)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        expected = RandomResizedCrop.get_params(image, list(area.share), list(area.aspect))
        torch.manual_seed(seed)
        assert replayed(size, area) == expected
