from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tests.tested import PILLOWS

from reslab.core.contract import CONTRACTS, Contract, Resample
from reslab.transforms import photographs
from reslab.transforms.photographs import (
    Crop,
    PhotoForm,
    Pixels,
    Size,
    centre_crop,
    cut,
    cut_whole,
    resized_to,
)

CALM = settings(deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SIDES = st.integers(1, 5000)


def noise(size: Size, seed: int = 0) -> Pixels:
    """Noise on a slope: every pixel differs, and so do the picture's sides."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    slope = np.stack([120 * x / width, 120 * y / height, 60 * (x / width + y / height)], -1)
    return (slope + np.random.default_rng(seed).integers(0, 120, (height, width, 3))).astype(np.uint8)


def torchvision_resize(size: Size, shorter_side: int) -> Size:
    """``_compute_resized_output_size`` of torchvision."""
    short, long = sorted(size)
    new = int(shorter_side * long / short)
    return (shorter_side, new) if size[0] <= size[1] else (new, shorter_side)


def triangles(inner: int, outer: int) -> NDArray[np.float64]:
    """(outer, inner): the weights of an antialiased bilinear resize along one axis."""
    scale = inner / outer
    reach = max(scale, 1.0)
    centres = (np.arange(outer) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(inner) + 0.5 - centres[:, None]) / reach)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def cubics(inner: int, outer: int) -> NDArray[np.float64]:
    """(outer, inner): the same by Keys' cubic with a = -1/2."""
    scale = inner / outer
    centres = (np.arange(outer) + 0.5) * scale
    x = np.abs(np.arange(inner) + 0.5 - centres[:, None]) / max(scale, 1.0)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def naive(picture: Pixels, crop: Crop) -> Pixels:
    resized = np.asarray(Image.fromarray(picture).resize(crop.resized, Image.Resampling.BILINEAR))
    return resized[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]


@st.composite
def crops(draw: st.DrawFn) -> tuple[Pixels, Crop]:
    size = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    shorter = draw(st.integers(2, 60))
    resized = resized_to(size, shorter)
    side = draw(st.integers(1, shorter))
    left, top = draw(st.integers(0, resized[0] - side)), draw(st.integers(0, resized[1] - side))
    return noise(size, draw(st.integers(0, 99))), Crop(resized, left, top, side)


@CALM
@given(st.tuples(SIDES, SIDES), st.integers(1, 1000))
def test_the_shorter_side_is_exact_and_the_longer_as_torchvisions(size: Size, shorter_side: int) -> None:
    resized = resized_to(size, shorter_side)
    assert resized == torchvision_resize(size, shorter_side)
    assert min(resized) == shorter_side
    assert max(resized) == Fraction(shorter_side * max(size), min(size)).__floor__()


@pytest.mark.parametrize(
    ("size", "resized"),
    [((500, 375), (341, 256)), ((375, 500), (256, 341)), ((256, 256), (256, 256)), ((1, 4000), (256, 1_024_000))],
)
def test_sizes_worked_out_by_hand(size: Size, resized: Size) -> None:
    assert resized_to(size, 256) == resized


@CALM
@given(st.tuples(SIDES, SIDES), st.integers(1, 500), st.integers(0, 200))
def test_the_centre_crop_lies_where_torchvision_puts_it(size: Size, side: int, margin: int) -> None:
    crop = centre_crop(size, Contract(shorter_side=side + margin, crop=side))
    width, height = torchvision_resize(size, side + margin)
    assert crop.resized == (width, height)
    assert (crop.top, crop.left) == (round((height - side) / 2.0), round((width - side) / 2.0))
    assert crop.side == side
    assert 0 <= crop.left <= width - side
    assert 0 <= crop.top <= height - side


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((256, 256), (16, 16)),
        ((500, 375), (58, 16)),
        ((375, 500), (16, 58)),
        ((257, 256), (16, 16)),
        ((259, 256), (18, 16)),
    ],
)
def test_centres_worked_out_by_hand(size: Size, place: tuple[int, int]) -> None:
    crop = centre_crop(size, Contract())
    assert (crop.left, crop.top) == place


@CALM
@given(crops())
def test_a_whole_cut_is_the_full_resize_and_then_the_crop(case: tuple[Pixels, Crop]) -> None:
    picture, crop = case
    assert np.array_equal(cut_whole(picture, crop), naive(picture, crop))


@CALM
@given(crops())
def test_the_resize_is_antialiased_bilinear(case: tuple[Pixels, Crop]) -> None:
    picture, crop = case
    height, width = picture.shape[:2]
    down, across = triangles(height, crop.resized[1]), triangles(width, crop.resized[0])
    resized = np.einsum("yh,hwc,xw->yxc", down, picture.astype(np.float64), across, optimize=True)
    expected = resized[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    assert np.abs(cut_whole(picture, crop) - expected).max() <= 1.5


@CALM
@given(crops())
def test_the_other_resize_is_antialiased_bicubic(case: tuple[Pixels, Crop]) -> None:
    """Of pixels in the middle of the range, where nothing is clipped between Pillow's passes."""
    picture, crop = case
    picture = 96 + picture // 4
    height, width = picture.shape[:2]
    down, across = cubics(height, crop.resized[1]), cubics(width, crop.resized[0])
    resized = np.einsum("yh,hwc,xw->yxc", down, picture.astype(np.float64), across, optimize=True)
    expected = resized[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
    assert np.abs(cut_whole(picture, crop, "bicubic") - expected).max() <= 2
    assert np.abs(cut(picture, crop, "bicubic") - expected).max() <= 2


@CALM
@given(crops())
def test_a_cut_differs_from_the_whole_one_by_rounding_alone(case: tuple[Pixels, Crop]) -> None:
    picture, crop = case
    one, other = cut(picture, crop).astype(int), naive(picture, crop).astype(int)
    assert one.shape == other.shape == (crop.side, crop.side, 3)
    assert np.abs(one - other).max() <= 2  # each of the two passes rounds


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (640, 427), (224, 224), (97, 131)])
@pytest.mark.parametrize("shorter", [224, 256, 331])
@pytest.mark.parametrize("resample", PILLOWS)
def test_few_values_of_a_cut_differ_from_the_whole_one(resample: Resample, size: Size, shorter: int) -> None:
    resized = resized_to(size, shorter)
    picture, crop = noise(size), Crop(resized, (resized[0] - 224) // 3, (resized[1] - 224) // 2, 224)
    difference = np.abs(cut(picture, crop, resample).astype(int) - cut_whole(picture, crop, resample))
    assert (difference > 1).mean() <= (0 if resample == "bilinear" else 1e-4)
    assert difference.mean() < 0.02


@pytest.mark.parametrize("side", [5, 40])
def test_cuts_are_uint8_and_leave_the_picture_alone(side: int) -> None:
    picture = noise((40, 40))
    before = picture.copy()
    for made in (cut, cut_whole):
        taken = made(picture, Crop((40, 40), 40 - side, 0, side))
        assert (str(taken.dtype), taken.shape) == ("uint8", (side, side, 3))
        assert np.array_equal(taken, picture[:side, 40 - side :])
    assert np.array_equal(picture, before)


def test_a_cut_from_a_reduced_picture_is_nearly_the_same() -> None:
    y, x = np.mgrid[:400, :600]
    waves = np.stack([128 + 90 * np.sin(x / 30), 128 + 90 * np.cos(y / 25), (x + y) / 4], -1)
    full, half = waves.astype(np.uint8), waves.reshape(200, 2, 300, 2, 3).mean((1, 3)).astype(np.uint8)
    crop = Crop((150, 100), 31, 17, 64)
    assert np.abs(cut(half, crop).astype(int) - cut_whole(full, crop)).mean() < 1.5


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (3, 65500)])
def test_of_an_extremely_long_picture_only_the_crop_is_made(size: Size, resizes: list[Size]) -> None:
    picture, crop = noise(size), centre_crop(size, Contract())
    assert crop.resized[0] * crop.resized[1] > photographs.LARGEST_RESIZED
    taken = cut_whole(picture, crop)
    assert resizes == [(224, 224)]
    assert np.array_equal(taken, cut(picture, crop))
    shown = taken if size[0] < size[1] else taken.transpose(1, 0, 2)
    assert np.abs(np.diff(shown.astype(int), axis=0)).max() <= 2  # stretched more than 200-fold: hardly a change
    assert shown.mean() == pytest.approx(picture.mean(), abs=40)


def test_the_border_between_the_two_ways_is_the_stated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, crop = noise((60, 30)), Crop((40, 20), 3, 1, 16)
    monkeypatch.setattr(photographs, "cut", lambda *_: "cut")
    monkeypatch.setattr(photographs, "LARGEST_RESIZED", 800)
    assert np.array_equal(cut_whole(picture, crop), naive(picture, crop))
    monkeypatch.setattr(photographs, "LARGEST_RESIZED", 799)
    assert cut_whole(picture, crop) == "cut"


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_networks_input_is_worked_out_by_hand(name: str) -> None:
    contract = CONTRACTS[name]
    pixels = torch.from_numpy(np.stack([noise((6, 5), seed) for seed in range(3)]))
    x = PhotoForm(contract).input(pixels)
    ordered = pixels.numpy()[..., ::-1] if contract.order == "BGR" else pixels.numpy()
    expected = (ordered.astype(np.float32) - np.array(contract.mean, np.float32)) / np.array(contract.std, np.float32)
    assert (x.shape, x.dtype) == ((3, 3, 5, 6), torch.float32)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(x.numpy(), expected.transpose(0, 3, 1, 2))


def test_the_mean_colour_becomes_zero_in_either_order() -> None:
    red = torch.tensor([[[[255, 0, 0]]]], dtype=torch.uint8)
    paper, caffe = PhotoForm(CONTRACTS["paper"]).input(red), PhotoForm(CONTRACTS["caffe"]).input(red)
    assert paper.flatten().tolist() == pytest.approx([255 - 123.68, -116.779, -103.939])
    assert torch.equal(caffe, paper.flip(1))
