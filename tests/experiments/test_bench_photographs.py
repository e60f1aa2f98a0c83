"""Training on photographs is measured against a reference script: its samples, its sides, the recipe of both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tested import PILLOWS

from reslab.core.colour import Colour
from reslab.core.contract import Contract, Resample
from reslab.core.errors import SpecError
from reslab.core.experiment import Optimizer, Photographs, Progressive, RandomArea, Recipe
from reslab.data.pack import pack
from reslab.data.pack_set import Packing
from reslab.data.photographs import PhotoFolder
from reslab.data.source import PictureFolder, load
from reslab.experiments.bench import steps
from reslab.experiments.bench.asked import Asked, group_for
from reslab.experiments.bench.pictures import pictures_for, random_pictures
from reslab.experiments.bench.recipe import recipe_for
from reslab.experiments.bench.reference import PhotoSamples
from reslab.experiments.bench.samples import standard_batches
from reslab.experiments.bench.standard import rival_sides
from reslab.experiments.recipes import RECIPES

SIDE = 32
PLAIN = Contract(mean=(0, 0, 0), crop=SIDE, shorter_side=SIDE)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trees(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders alone, ten pictures each of 40 to 90 pixels a side."""
    return folder_of(tmp_path_factory.mktemp("reference") / "trees", ("ash", "birch"))


def opened(place: Path) -> PhotoFolder:
    found = load(str(place), "all")
    assert isinstance(found, PhotoFolder)
    return found


def possible(
    path: Path, scale: tuple[int, int], resample: Resample = "bilinear"
) -> dict[bytes, tuple[int, int, int, bool]]:
    """Every crop that section 3.4 allows, by its pixels: the shorter side, left, top, and whether it is mirrored."""
    picture = Image.open(path).convert("RGB")
    found = {}
    for shorter in range(scale[0], scale[1] + 1):
        width, height = (shorter * side // min(picture.size) for side in picture.size)
        resized = np.asarray(picture.resize((width, height), PILLOWS[resample]))
        for left in range(width - SIDE + 1):
            for top in range(height - SIDE + 1):
                crop = resized[top : top + SIDE, left : left + SIDE]
                found[crop.tobytes()] = (shorter, left, top, False)
                found[crop[:, ::-1].tobytes()] = (shorter, left, top, True)
    return found


def test_a_sample_is_any_crop_of_the_whole_resized_picture_and_every_draw_varies(trees: Path) -> None:
    photos = opened(trees)
    samples = PhotoSamples(photos, Photographs(contract=PLAIN, scale=(33, 35)))
    known, seen = possible(trees / photos.index.path(3), (33, 35)), set()
    for _ in range(400):
        image, label = samples[3]
        assert (tuple(image.shape), image.dtype, image.is_contiguous()) == ((3, SIDE, SIDE), torch.float32, True)
        assert label == int(photos.labels[3])
        seen.add(known[image.permute(1, 2, 0).numpy().astype(np.uint8).tobytes()])
    assert len(samples) == 20
    assert {place[0] for place in seen} == {33, 34, 35}
    assert {place[3] for place in seen} == {False, True}
    for axis in (1, 2):
        assert {place[axis] for place in seen} == {place[axis] for place in known.values()}


@pytest.mark.parametrize("resample", PILLOWS)
def test_samples_are_resized_by_the_recipe_s_filter(resample: Resample, trees: Path) -> None:
    photos = opened(trees)
    settings = Photographs(contract=PLAIN.but({"resample": resample}), scale=(33, 33))
    known = possible(trees / photos.index.path(3), (33, 33), resample)
    samples, parts = (PhotoSamples(photos, how) for how in (settings, settings.but({"area": {"share": [1, 1]}})))
    for _ in range(10):
        assert samples[3][0].permute(1, 2, 0).numpy().astype(np.uint8).tobytes() in known
    picture = Image.open(trees / photos.index.path(0)).convert("RGB")
    assert 3 / 4 <= picture.width / picture.height <= 4 / 3
    whole = np.asarray(picture.resize((SIDE, SIDE), PILLOWS[resample]))
    found = [parts[0][0].permute(1, 2, 0).numpy() for _ in range(6)]
    assert any(np.array_equal(one, each) for one in found for each in (whole, whole[:, ::-1]))


def test_without_a_flip_no_sample_is_mirrored(trees: Path) -> None:
    photos = opened(trees)
    samples = PhotoSamples(photos, Photographs(contract=PLAIN, scale=(33, 33), flip=False))
    known = possible(trees / photos.index.path(0), (33, 33))
    seen = [known[samples[0][0].permute(1, 2, 0).numpy().astype(np.uint8).tobytes()] for _ in range(30)]
    assert not any(place[3] for place in seen)


def of_one_colour(root: Path) -> PhotoFolder:
    for name in "ab":
        (root / name).mkdir()
        Image.new("RGB", (40, 40), (200, 100, 50)).save(root / name / "0.png")
    return opened(root)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_contract_s_mean_is_subtracted_and_its_deviation_divides(tmp_path: Path, order: str) -> None:
    contract = PLAIN.but({"order": order, "mean": (10, 20, 30), "std": (2, 4, 5)})
    image = PhotoSamples(of_one_colour(tmp_path), Photographs(contract=contract, scale=(32, 36)))[0][0]
    pixels = (200, 100, 50) if order == "RGB" else (50, 100, 200)
    wanted = [(value - mean) / std for value, mean, std in zip(pixels, (10, 20, 30), (2, 4, 5), strict=True)]
    assert torch.equal(image, torch.tensor(wanted)[:, None, None].expand(3, SIDE, SIDE))


@pytest.mark.parametrize("scale", ["eigenvalue", "sqrt"])
def test_colours_are_drawn_along_the_recipe_s_vectors_by_its_sizes(tmp_path: Path, scale: str) -> None:
    how = Colour(scale=scale)  # type: ignore[arg-type]
    samples = PhotoSamples(of_one_colour(tmp_path), Photographs(contract=PLAIN, scale=(32, 32), colour=how))
    images = torch.stack([samples[0][0] for _ in range(2000)])
    assert torch.equal(images.amin(dim=(2, 3)), images.amax(dim=(2, 3)))  # one colour for the whole picture
    gained = images[:, :, 0, 0].double() - torch.tensor([200, 100, 50])
    draws = gained @ torch.tensor(how.eigenvectors).double() / 255  # coordinates along the vectors, which are columns
    sizes = torch.tensor(how.eigenvalues).double()
    wanted = 0.1 * (sizes.sqrt() if scale == "sqrt" else sizes)
    torch.testing.assert_close(draws.std(dim=0), wanted, rtol=0.06, atol=0)
    assert (draws.mean(dim=0).abs() < wanted / 10).all()


def test_where_the_recipe_has_areas_the_rival_cuts_and_resizes_one_at_the_first_side(tmp_path: Path) -> None:
    """The picture's red grows to the right and its green downwards, by one a pixel: a part shows where it lay."""
    columns, rows = np.meshgrid(np.arange(200), np.arange(160))
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(np.stack([columns, rows, 0 * rows], 2).astype(np.uint8)).save(tmp_path / name / "0.png")
    how = Photographs(contract=PLAIN, area=RandomArea(), progressive=Progressive(sides=(64, 96)), flip=False)
    samples, shares, aspects = PhotoSamples(opened(tmp_path), how), [], []
    for _ in range(300):
        image = samples[0][0].double()
        assert tuple(image.shape) == (3, 64, 64)
        width = float(image[0, 0, -1] - image[0, 0, 0]) * 64 / 63
        height = float(image[1, -1, 0] - image[1, 0, 0]) * 64 / 63
        shares.append(width * height / (200 * 160))
        aspects.append(width / height)
    assert 0.06 < min(shares) < 0.15
    assert 0.9 < max(shares) < 1.05
    assert 0.7 < min(aspects) < 0.85
    assert 1.2 < max(aspects) < 1.4


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_s_loader_makes_batches_of_them(trees: Path, workers: int) -> None:
    samples = PhotoSamples(opened(trees), Photographs(contract=PLAIN, scale=(33, 35)))
    stream = standard_batches(samples, 10, workers, CPU)
    batches = [next(stream) for _ in range(4)]
    stream.close()
    assert {tuple(images.shape) for images, _ in batches} == {(10, 3, SIDE, SIDE)}
    labels = [labels for _, labels in batches]
    assert torch.cat(labels[:2]).bincount().tolist() == torch.cat(labels[2:]).bincount().tolist() == [10, 10]


def test_there_is_a_reference_script_for_files_and_none_for_shards(trees: Path, tmp_path: Path) -> None:
    pack(PictureFolder(trees), tmp_path / "shards", Packing(), 0)
    recipe = Recipe(batch=2, bn_group=2, photographs=Photographs(contract=PLAIN, scale=(33, 35)))
    for place, names in ((trees, ["eager", "reference"]), (tmp_path / "shards", ["eager"])):
        asked = Asked(model="resnet18", batch=2, rounds=1, data=str(place), workers=0)
        sides = rival_sides(asked, recipe, SIDE)
        assert list(sides) == names
        assert all(side() > 0 for side in sides.values())


def asked(**settings: Any) -> Asked:
    return Asked(**{"model": "resnet18", "batch": 4, "rounds": 1, **settings})


def test_what_decides_speed_comes_from_the_recipe(trees: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = Photographs(contract=PLAIN, scale=(33, 35), colour=Colour(), decode="exact", held_out=0.4)
    optim = Optimizer(lr=0.1, momentum=0.8, weight_decay=0.01, decay="all")
    known = Recipe(batch=8, bn_group=4, optim=optim, photographs=photographs)
    monkeypatch.setitem(RECIPES, "mine", lambda: known)
    chosen = asked(recipe="mine", data=str(trees))
    pictures = pictures_for(chosen, chosen.named)
    assert len(pictures) == 20 - 2 * 4  # the recipe holds out two in five
    found = recipe_for(chosen, pictures, "fp32")
    assert found.photographs == photographs
    assert found.optim == optim.but({"lr": steps.RATE})
    assert (found.batch, found.bn_group, found.precision) == (4, 4, "fp32")
    assert recipe_for(asked(recipe="mine", batch=2), pictures, "fp32").bn_group == 2  # a batch below the group
    assert recipe_for(asked(recipe="mine", batch=8, bn_group=2), pictures, "fp32").bn_group == 2
    assert [group_for(asked(recipe="mine", batch=8), batch) for batch in (4, 8, 16, 2)] == [4, 4, 4, 2]
    with pytest.raises(SpecError, match=r"^this recipe's groups of 4 do not divide --batch 6: give --bn-group$"):
        recipe_for(asked(recipe="mine", batch=6), pictures, "fp32")
    usual = recipe_for(asked(data=str(trees)), pictures, "fp32")
    assert (usual.photographs, usual.bn_group, usual.optim.momentum) == (Photographs(), 4, 0.9)


def test_small_pictures_are_augmented_and_grouped_as_the_recipe_says(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Recipe(batch=8, bn_group=8).but({"augment": {"pad": 2, "flip": False}})
    monkeypatch.setitem(RECIPES, "mine", lambda: known)
    pictures = random_pictures(16, 32, 10)
    found = recipe_for(asked(model="cifar-resnet8", recipe="mine", batch=16), pictures, "fp32")
    assert (found.augment, found.bn_group) == (known.augment, 8)
    usual = recipe_for(asked(model="cifar-resnet8", batch=16), pictures, "fp32")
    assert (usual.augment, usual.bn_group) == (Recipe().augment, 16)
