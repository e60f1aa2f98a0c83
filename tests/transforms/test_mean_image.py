import hashlib

import numpy as np
import pytest
import torch

from reslab.core.contract import CONTRACTS, Contract
from reslab.core.errors import DataError
from reslab.transforms.mean_image import MeanImage
from reslab.transforms.photographs import PhotoForm

SMALL = Contract(shorter_side=8, crop=6)


def image(side: int = 6, seed: int = 0) -> MeanImage:
    return MeanImage(torch.from_numpy(np.random.default_rng(seed).uniform(0, 255, (side, side, 3)).astype(np.float32)))


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape, np.uint8))


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_crop_of_its_size_loses_the_image_pixel_by_pixel(name: str) -> None:
    mean = image()
    contract = mean.subtracted_by(SMALL.but(CONTRACTS[name].preparation()))
    pixels = noise(4, 6, 6, 3)
    found = PhotoForm(contract, mean).input(pixels)
    turn = 1 if contract.order == "RGB" else -1
    for number in range(4):
        for row in range(6):
            for column in range(6):
                values = pixels[number, row, column].float() - mean.pixels[row, column]
                expected = values.tolist()[::turn]
                divided = [value / std for value, std in zip(expected, contract.std, strict=True)]
                assert found[number, :, row, column].tolist() == pytest.approx(divided, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
@pytest.mark.parametrize("shape", [(2, 7, 6, 3), (1, 6, 9, 3), (2, 12, 12, 3), (1, 5, 5, 3)])
def test_other_sizes_lose_the_images_average_of_each_channel(order: str, shape: tuple[int, ...]) -> None:
    mean = image()
    contract = mean.subtracted_by(SMALL.but({"order": order}))
    pixels = noise(*shape)
    average = mean.pixels.double().reshape(-1, 3).mean(0)
    expected = (pixels.double() - average).permute(0, 3, 1, 2)
    expected = expected if order == "RGB" else expected.flip(1)
    assert torch.allclose(PhotoForm(contract, mean).input(pixels).double(), expected, atol=1e-4)


def test_an_image_of_one_colour_is_the_mean_of_each_channel() -> None:
    flat = MeanImage(torch.tensor(Contract().mean).expand(6, 6, 3).contiguous())
    contract = flat.subtracted_by(SMALL)
    assert contract.mean == pytest.approx(Contract().mean, rel=1e-6)
    pixels = noise(3, 6, 6, 3)
    assert torch.equal(PhotoForm(contract, flat).input(pixels), PhotoForm(SMALL).input(pixels))


def test_the_digest_is_that_of_the_float32_pixels() -> None:
    mean = image()
    assert mean.digest == hashlib.sha256(mean.pixels.numpy().tobytes()).hexdigest()
    assert mean.digest == MeanImage(mean.pixels.permute(2, 0, 1).contiguous().permute(1, 2, 0)).digest
    assert mean.digest != image(seed=2).digest
    assert mean.subtracted_by(SMALL).mean_image == mean.digest


def test_a_contract_and_an_image_belong_together() -> None:
    mean = image()
    for contract, given in ((SMALL, mean), (mean.subtracted_by(SMALL), None), (mean.subtracted_by(SMALL), image(6, 3))):
        with pytest.raises(AssertionError):
            PhotoForm(contract, given)


@pytest.mark.parametrize(
    ("pixels", "line"),
    [
        (torch.zeros(6, 5, 3), r"square of float32 pixels in RGB, \(side, side, 3\), not float32 \(6, 5, 3\)"),
        (torch.zeros(3, 6, 6), r"not float32 \(3, 6, 6\)"),
        (torch.zeros(6, 6), r"not float32 \(6, 6\)"),
        (torch.zeros(0, 0, 3), r"not float32 \(0, 0, 3\)"),
        (torch.zeros(6, 6, 3, dtype=torch.float64), r"not float64 \(6, 6, 3\)"),
        (torch.full((6, 6, 3), 256.0), r"pixels in \[0, 255\]; this one has others"),
        (torch.full((6, 6, 3), float("nan")), r"pixels in \[0, 255\]; this one has others"),
    ],
)
def test_what_is_no_mean_image_is_one_line(pixels: torch.Tensor, line: str) -> None:
    with pytest.raises(DataError, match=line):
        MeanImage(pixels)


def test_an_image_of_another_size_is_refused() -> None:
    line = (
        r"^the mean image has 6x6 pixels, and crops have 224x224; `reslab data stats --crop 224` makes one of theirs$"
    )
    with pytest.raises(DataError, match=line):
        image().subtracted_by(Contract())
