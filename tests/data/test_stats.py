"""Statistics of pixels against numpy and Pillow alone, in another order of summing."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image
from tests.tested import PILLOWS

from reslab.core.contract import Contract, Resample
from reslab.core.errors import DataError, PictureError
from reslab.core.statistics import Statistics
from reslab.data import stats
from reslab.data.mean_image import read_mean_image, write_mean_image
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.source import PictureFolder, load
from reslab.data.stats import eigen, mean_image, moments, photograph_sums, small_sums, statistics
from reslab.transforms.cifar import per_pixel_mean
from reslab.transforms.mean_image import MeanImage
from reslab.transforms.photographs import resized_to

CALM = settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
FORM = Contract(shorter_side=36, crop=32)
Upright = Callable[[PhotoFolder, int], Image.Image]


def by_pillow(photos: PhotoFolder, upright: Upright, resample: Resample = "bilinear") -> NDArray[np.float64]:
    """The central crops, one after the other: (N, 32, 32, 3)."""
    crops = []
    for number in range(len(photos)):
        image = upright(photos, number)
        image = image.resize(resized_to(image.size, 36), PILLOWS[resample])
        left, top = (round((side - 32) / 2) for side in image.size)
        crops.append(np.asarray(image.crop((left, top, left + 32, top + 32)), np.float64))
    return np.stack(crops)


def measured(photos: PhotoFolder, workers: int = 0, form: Contract = FORM) -> tuple[Statistics, MeanImage]:
    sums = photograph_sums(photos, form, workers)
    return statistics(photos, sums, form, None), mean_image(sums)


@pytest.fixture
def in_threes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that 15 pictures are several tasks, and 13 do not come out even."""
    monkeypatch.setattr(stats, "CHUNK", 3)


@pytest.mark.parametrize("resample", PILLOWS)
def test_photographs_have_the_statistics_that_numpy_finds(
    resample: Resample, photos: PhotoFolder, upright: Upright
) -> None:
    found, image = measured(photos, form=FORM.but({"resample": resample}))
    crops = by_pillow(photos, upright, resample)
    assert found.contract is not None
    assert found.contract.resample == f"{resample}, antialiased"
    flat = crops.reshape(-1, 3)
    assert (found.pictures, found.pixels, found.enlarged) == (15, 15 * 32 * 32, 0)
    assert found.mean == pytest.approx(flat.mean(0).tolist(), rel=1e-13)
    assert found.std == pytest.approx(flat.std(0).tolist(), rel=1e-12)
    covariance = np.cov(flat / 255, rowvar=False, bias=True)
    assert np.array(found.covariance) == pytest.approx(covariance, rel=1e-11)
    assert torch.equal(image.pixels, torch.from_numpy(crops.mean(0).astype(np.float32)))
    assert found.mean_image.sha256 == image.digest
    vectors = np.array(found.eigenvectors)
    assert covariance @ vectors == pytest.approx(vectors * found.eigenvalues, abs=1e-12)
    assert list(found.eigenvalues) == sorted(found.eigenvalues, reverse=True)
    assert vectors.T @ vectors == pytest.approx(np.eye(3), abs=1e-12)
    assert (np.abs(vectors).max(0) == vectors.max(0)).all()


def test_a_document_says_what_it_is_of(photos: PhotoFolder) -> None:
    found, _ = measured(photos)
    assert (found.data, found.split, found.data_digest) == (photos.name, "all", photos.digest)
    assert found.contract is not None
    assert (found.contract.shorter_side, found.contract.crop, found.contract.decode) == (36, 32, "exact")
    assert Statistics.parse(json.loads(found.canonical_json())) == found


@pytest.mark.usefixtures("in_threes")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_same_document_and_image(photos: PhotoFolder, workers: int) -> None:
    alone, image = measured(photos)
    found, other = measured(photos, workers)
    assert found == alone
    assert torch.equal(other.pixels, image.pixels)


def test_neither_does_the_size_of_tasks_matter(photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, image = measured(photos)
    for chunk in (1, 4, 100):
        monkeypatch.setattr(stats, "CHUNK", chunk)
        found, other = measured(photos)
        assert found == whole
        assert torch.equal(other.pixels, image.pixels)


@pytest.mark.usefixtures("in_threes")
def test_every_picture_is_counted_once_and_said_to_be(own: Path) -> None:
    Image.fromarray(np.full((20, 31, 3), 77, np.uint8)).save(own / "ash" / "small.png")
    heard: list[tuple[int, int]] = []
    sums = photograph_sums(PictureFolder(own).read("all"), FORM, counted=lambda *so_far: heard.append(so_far))
    assert heard == [(3, 13), (6, 13), (9, 13), (12, 13), (13, 13)]
    assert (sums.pictures, sums.enlarged) == (13, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_named_and_never_left_out(own: Path, workers: int) -> None:
    (own / "birch" / "003.png").write_bytes((own / "birch" / "003.png").read_bytes()[:-60])
    with pytest.raises(PictureError, match=r"^.*birch/003\.png is damaged: image file is truncated"):
        photograph_sums(PictureFolder(own).read("all"), FORM, workers)


def test_grey_photographs_have_one_principal_colour(tmp_path: Path) -> None:
    for name in ("ash", "birch"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    found, _ = measured(PictureFolder(tmp_path).read("all"))
    assert found.eigenvalues[0] == pytest.approx(3 * found.covariance[0][0])
    assert found.eigenvalues[1:] == pytest.approx((0, 0), abs=1e-12)
    assert [row[0] for row in found.eigenvectors] == pytest.approx([3**-0.5] * 3)
    assert found.colour().eigenvalues == found.eigenvalues


def test_small_pictures_are_measured_as_they_are() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (1203, 3, 8, 8), generator=draw, dtype=torch.uint8)
    pictures = Pictures("noise", "train", pixels, torch.zeros(1203, dtype=torch.int64), ("a",))
    sums = small_sums(pictures)
    found = statistics(pictures, sums, None, None)
    flat = pixels.permute(0, 2, 3, 1).reshape(-1, 3).numpy().astype(np.float64)
    assert (found.pictures, found.pixels, found.contract) == (1203, 1203 * 64, None)
    assert found.mean == pytest.approx(flat.mean(0).tolist(), rel=1e-13)
    assert np.array(found.covariance) == pytest.approx(
        np.cov(flat / 255, rowvar=False, bias=True), rel=1e-11, abs=1e-14
    )
    assert torch.equal(mean_image(sums).pixels.permute(2, 0, 1), per_pixel_mean(pixels))


def test_the_embedded_pictures_are_grey_so_three_equal_channels() -> None:
    pictures = load("embedded")
    assert isinstance(pictures, Pictures)
    sums = small_sums(pictures)
    found = statistics(pictures, sums, None, None)
    values = pictures.pixels.numpy().astype(np.float64)
    assert found.mean == pytest.approx([values.mean()] * 3, rel=1e-13)
    assert found.std == pytest.approx([values.std()] * 3, rel=1e-12)
    assert mean_image(sums).pixels.shape == (28, 28, 3)


def test_no_pictures_have_no_statistics() -> None:
    none = Pictures("none", "train", torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(0).long(), ("a",))
    with pytest.raises(DataError, match="none has no pictures"):
        statistics(none, small_sums(none), None, None)


@CALM
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_moments_are_exact(pixels: NDArray[np.uint8]) -> None:
    found = moments(pixels)
    rows = pixels.reshape(-1, 3).tolist()
    assert found.channels.tolist() == [sum(row[c] for row in rows) for c in range(3)]
    assert found.products.tolist() == [[sum(row[c] * row[d] for row in rows) for d in range(3)] for c in range(3)]
    assert all(type(value) is int for value in found.channels)


def test_sums_beyond_64_bits_are_exact() -> None:
    """Ten thousand times ImageNet: a pixel of 1, the others 255."""
    pictures = 10**10
    white = np.array([[[255, 255, 255]]], np.uint8)
    part = moments(np.repeat(white, 224 * 224, axis=1))
    sums = stats.Sums.none(1, 1)
    sums.moments = stats.Moments(part.channels * pictures - 254, part.products * pictures - (255**2 - 1))
    sums.pictures, n = 224 * 224 * pictures, 224 * 224 * pictures
    one = Pictures("white", "train", torch.zeros(0, 3, 1, 1, dtype=torch.uint8), torch.zeros(0).long(), ("a",))
    found = statistics(one, sums, None, None)
    mean = Fraction(255 * n - 254, n)
    variance = Fraction(255**2 * n - (255**2 - 1), n) - mean**2
    assert found.mean[0] == float(mean)
    assert found.covariance[0][0] == float(variance / 255**2)
    assert found.std[0] == pytest.approx(float(variance) ** 0.5, rel=1e-15)


@pytest.mark.parametrize("values", [(0.3, 0.2, 0.1), (0.1, 0.2, 0.3), (0.2, 0.2, 0.2), (0.0, 0.0, 0.5), (0, 0, 0)])
def test_eigenvalues_fall_and_never_below_zero(values: tuple[float, ...]) -> None:
    turn = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    matrix = turn @ np.diag(values) @ turn.T
    found, vectors = eigen((matrix + matrix.T) / 2)
    assert found.tolist() == pytest.approx(sorted(values, reverse=True), abs=1e-15)
    assert (found >= 0).all()
    assert vectors @ np.diag(found) @ vectors.T == pytest.approx(matrix, abs=1e-14)


def test_a_mean_images_file_has_one_metadata_key_and_is_the_same_each_time(photos: PhotoFolder, tmp_path: Path) -> None:
    found, image = measured(photos)
    for name in ("one", "two"):
        write_mean_image(tmp_path / name, image, found)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with safetensors.safe_open(tmp_path / "one", "numpy") as file:
        (said,) = file.metadata().values()
        stored = file.get_tensor("mean")
    assert json.loads(said)["data_digest"] == photos.digest
    assert np.array_equal(stored, image.pixels.numpy())
    assert read_mean_image(tmp_path / "one").digest == image.digest
