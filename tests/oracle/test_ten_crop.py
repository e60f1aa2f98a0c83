"""Ten crops are torchvision's, but that we mirror each crop and torchvision mirrors the picture.

Where a picture's width leaves an odd margin its centre is no whole pixel: the mirrored centre is then a column apart.
"""

import io
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision import transforms

from reslab.core.contract import CONTRACTS
from reslab.core.experiment import Photographs
from reslab.core.protocol import Native, Protocol, find_protocol
from reslab.data.source import PictureFolder
from reslab.experiments.feed import Feed
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.scoring import Subject, score_views, scored
from reslab.models.resnet import resnet
from reslab.transforms.photographs import Pixels, Size, crops_at, cut_all, resized_to

pytestmark = pytest.mark.oracle

CENTRE: Final = 4  # the place of the centre among five crops


def noise(size: Size, seed: int = 0) -> Pixels:
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def ours(picture: Pixels, shorter: int, side: int) -> tuple[list[Pixels], list[Pixels]]:
    """The five crops, and their mirror images."""
    height, width = picture.shape[:2]
    five = cut_all(picture, crops_at(resized_to((width, height), shorter), side, "corners+center"))
    return five, [crop[:, ::-1] for crop in five]


def theirs(picture: Pixels, shorter: int, side: int) -> tuple[list[Pixels], list[Pixels]]:
    """The five crops, and those of the mirror image."""
    steps = transforms.Compose([transforms.Resize(shorter, antialias=True), transforms.TenCrop(side)])
    ten = [np.asarray(crop) for crop in steps(Image.fromarray(picture))]
    return ten[:5], ten[5:]


def require_alike(size: Size, shorter: int, side: int) -> None:
    picture = noise(size, sum(size))
    (five, mirrored), (their_five, their_mirrored) = ours(picture, shorter, side), theirs(picture, shorter, side)
    assert all(map(np.array_equal, five, their_five))
    upper_left, upper_right, lower_left, lower_right, centre = their_mirrored
    assert all(map(np.array_equal, mirrored[:4], (upper_right, upper_left, lower_right, lower_left)))
    width, height = resized_to(size, shorter)
    left, top = (round((length - side) / 2) for length in (width, height))
    one_further = width - side - left
    assert abs(one_further - left) == (width - side) % 2
    whole = np.asarray(transforms.Resize(shorter, antialias=True)(Image.fromarray(picture)))
    assert np.array_equal(mirrored[CENTRE], whole[top : top + side, left : left + side][:, ::-1])
    assert np.array_equal(centre, whole[top : top + side, one_further : one_further + side][:, ::-1])
    assert np.array_equal(mirrored[CENTRE], centre) is ((width - side) % 2 == 0)
    if (width - side) % 2 == 0:
        assert sorted(crop.tobytes() for crop in five + mirrored) == sorted(
            crop.tobytes() for crop in their_five + their_mirrored
        )


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (256, 256), (300, 301), (640, 427), (260, 1000), (97, 131)])
@pytest.mark.parametrize("shorter", [224, 225, 256])
def test_ten_crops_of_224_are_torchvisions_but_for_the_mirrored_centre_at_odd_margins(size: Size, shorter: int) -> None:
    require_alike(size, shorter, 224)


@settings(deadline=None, max_examples=150)
@given(st.tuples(st.integers(8, 130), st.integers(8, 130)), st.integers(8, 60), st.integers(0, 9))
def test_ten_small_crops_are_torchvisions_but_for_the_mirrored_centre_at_odd_margins(
    size: Size, side: int, margin: int
) -> None:
    require_alike(size, side + margin, side)


def lively(net: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
    return net.eval()


def folder(root: Path, sizes: list[Size]) -> Path:
    for number, size in enumerate(sizes):
        (root / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(noise(size, number)).save(root / "ab"[number % 2] / f"{number}.png")
    return root


@torch.no_grad()
def differences(root: Path, ten: Protocol) -> list[float]:
    """By how much the probabilities of each picture differ from those that torchvision's ten crops give."""
    form = CONTRACTS["torchvision"].but({"shorter_side": ten.shorter_sides[0], "crop": ten.crop})
    subject = Subject(lively(resnet(18, width=8, classes=7)), PhotoInputs(Photographs(contract=form)))
    pictures = PictureFolder(root).read("all")
    views = score_views(subject, pictures, ten, Feed(torch.device("cpu")), "fp32")
    found = scored(views, pictures, ten).scores
    steps = transforms.Compose(
        [
            transforms.Resize(ten.shorter_sides[0], antialias=True),
            transforms.TenCrop(ten.crop),
            transforms.Lambda(lambda crops: torch.stack([transforms.ToTensor()(crop) for crop in crops])),
            transforms.Normalize([m / 255 for m in form.mean], [s / 255 for s in form.std]),
        ]
    )
    gaps = []
    for number, probabilities in enumerate(found.probabilities):
        with Image.open(io.BytesIO(pictures.store.read(number))) as image:
            expected = subject.net(steps(image.convert("RGB"))).softmax(dim=1).mean(dim=0)
        gaps.append(float((probabilities - expected).abs().max()))
    return gaps


@pytest.mark.parametrize(("shorter", "crop"), [(72, 64), (256, 224)])
def test_scores_of_ten_crops_are_those_of_torchvisions_crops(shorter: int, crop: int, tmp_path: Path) -> None:
    """Of widths that leave even margins."""
    sizes = [(shorter, shorter), (2 * shorter, shorter), (shorter, 2 * shorter + 7), (shorter + 12, shorter)]
    ten = find_protocol("ten-crop", Native(shorter, crop, "center"))
    gaps = differences(folder(tmp_path, sizes), ten)
    assert len(gaps) == 4
    assert max(gaps) <= 1e-6


def test_at_odd_margins_the_column_that_lies_between_shows_in_the_scores(tmp_path: Path) -> None:
    ten = find_protocol("ten-crop", Native(72, 64, "center"))
    gaps = differences(folder(tmp_path, [(73, 72), (72, 73)]), ten)
    assert gaps[0] > 1e-6
    assert gaps[1] <= 1e-6
