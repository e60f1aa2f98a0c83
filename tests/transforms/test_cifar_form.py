import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reslab.transforms.cifar import CifarForm, crop_and_mirror, per_pixel_mean, three_channels


def pictures(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def naive_crop(picture: Tensor, top: int, left: int, mirrored: bool, pad: int) -> Tensor:  # noqa: FBT001
    channels, height, width = picture.shape
    out = torch.zeros_like(picture)
    for channel in range(channels):
        for i in range(height):
            for j in range(width):
                row, column = i + top - pad, j + left - pad
                inside = 0 <= row < height and 0 <= column < width
                value = picture[channel, row, column] if inside else 0.0
                out[channel, i, width - 1 - j if mirrored else j] = value
    return out


@st.composite
def crops(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, int]:
    pad = draw(st.sampled_from([0, 1, 4]))
    n = draw(st.integers(1, 4))
    shape = (n, draw(st.sampled_from([1, 3])), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    corner = st.integers(0, 2 * pad)
    corners = [[draw(corner), draw(corner)] for _ in range(n)]
    mirrored = [draw(st.booleans()) for _ in range(n)]
    values = pictures(draw(st.integers(0, 999)), shape).float() - 100.5
    return values, torch.tensor(corners), torch.tensor(mirrored), pad


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(crops())
def test_every_picture_gets_its_own_crop_and_mirror_image(case: tuple[Tensor, Tensor, Tensor, int]) -> None:
    x, corners, mirrored, pad = case
    expected = [
        naive_crop(picture, int(corner[0]), int(corner[1]), bool(mirror), pad)
        for picture, corner, mirror in zip(x, corners, mirrored, strict=True)
    ]
    assert torch.equal(crop_and_mirror(x, corners, mirrored, pad), torch.stack(expected))


def test_the_first_corner_is_the_top_and_the_second_the_left() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    moved = crop_and_mirror(x, torch.tensor([[2, 1]]), torch.tensor([False]), 1)
    assert moved[0, 0].tolist() == [[3, 4, 5], [6, 7, 8], [0, 0, 0]]


def test_the_crop_leaves_its_input_alone() -> None:
    x = torch.ones(2, 3, 4, 4)
    crop_and_mirror(x, torch.zeros(2, 2, dtype=torch.int64), torch.tensor([True, False]), 2).zero_()
    assert torch.equal(x, torch.ones(2, 3, 4, 4))


@pytest.mark.parametrize("shape", [(257, 3, 5, 4), (1, 1, 2, 2)])
def test_the_mean_is_numpys_in_double_precision(shape: tuple[int, ...]) -> None:
    pixels = pictures(1, shape)
    mean = per_pixel_mean(pixels)
    assert mean.dtype == torch.float32
    assert np.array_equal(mean.numpy(), pixels.numpy().astype(np.float64).mean(axis=0).astype(np.float32))


def test_the_mean_of_many_bright_pictures_does_not_overflow_or_round() -> None:
    pixels = torch.full((100_001, 1, 1, 2), 255, dtype=torch.uint8)
    pixels[0] = 0
    assert per_pixel_mean(pixels).flatten().tolist() == [torch.tensor(255 * 100_000 / 100_001).item()] * 2


MEAN_OF_CIFAR = """
import resource, torch
from reslab.transforms.cifar import per_pixel_mean
pixels = torch.full((50_000, 3, 32, 32), 7, dtype=torch.uint8)
per_pixel_mean(pixels[:1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
per_pixel_mean(pixels)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / pixels.nbytes)
"""


def test_the_mean_of_cifar_takes_less_memory_than_its_pictures() -> None:
    done = subprocess.run([sys.executable, "-c", MEAN_OF_CIFAR], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5


def test_grey_becomes_three_equal_channels_without_a_copy() -> None:
    grey = torch.rand(2, 1, 3, 3)
    shown = three_channels(grey)
    assert shown.shape == (2, 3, 3, 3)
    assert all(torch.equal(shown[:, channel], grey[:, 0]) for channel in range(3))
    assert shown.data_ptr() == grey.data_ptr()


def test_coloured_pictures_stay_as_they_are() -> None:
    coloured = torch.rand(2, 3, 4, 4)
    assert torch.equal(three_channels(coloured), coloured)


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def pixels(request: pytest.FixtureRequest) -> Tensor:
    return pictures(2, (6, request.param, 8, 8))


def test_both_forms_give_float_pictures_channels_last(pixels: Tensor) -> None:
    form = CifarForm(per_pixel_mean(pixels), pad=4)
    corners = torch.tensor([[0, 8], [8, 0], [4, 4], [1, 2], [3, 3], [7, 7]])
    for x in (form.train(pixels, corners, torch.ones(6, dtype=torch.bool)), form.test(pixels)):
        assert x.shape == (6, 3, 8, 8)
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_the_test_form_subtracts_the_mean_and_nothing_else(pixels: Tensor) -> None:
    mean = per_pixel_mean(pixels)
    expected = (pixels.numpy().astype(np.float32) - mean.numpy()).repeat(3 // pixels.shape[1], axis=1)
    assert np.array_equal(CifarForm(mean, pad=4).test(pixels).numpy(), expected)


@pytest.mark.parametrize("pad", [0, 4])
def test_the_test_form_is_the_central_crop_without_mirroring(pixels: Tensor, pad: int) -> None:
    form = CifarForm(per_pixel_mean(pixels), pad)
    centre = torch.full((6, 2), pad)
    assert torch.equal(form.train(pixels, centre, torch.zeros(6, dtype=torch.bool)), form.test(pixels))


def test_the_padding_is_zero_after_the_mean_is_subtracted() -> None:
    form = CifarForm(torch.full((3, 4, 4), 100.0), pad=2)
    black = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    x = form.train(black, torch.tensor([[0, 0]]), torch.tensor([False]))
    assert torch.equal(x[0, :, 2:, 2:], torch.full((3, 2, 2), -100.0))
    assert x[0, :, :2].abs().sum() == x[0, :, :, :2].abs().sum() == 0


def test_the_form_moves_with_its_mean_and_keeps_its_padding() -> None:
    moved = CifarForm(torch.ones(3, 2, 2), pad=3).to(torch.device("meta"))
    assert (moved.mean.device.type, moved.pad) == ("meta", 3)


def test_the_contract_says_what_a_network_must_be_fed() -> None:
    contract = CifarForm(torch.zeros(1, 28, 28), pad=4).contract()
    assert (contract["form"], contract["shape"], contract["range"]) == ("cifar", [1, 28, 28], [0, 255])
    assert contract["train"]["pad"] == 4
