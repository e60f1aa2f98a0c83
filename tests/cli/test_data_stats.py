"""`reslab data stats` as a user runs it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from tests.said import one_line

from reslab.core.statistics import read_statistics

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]
SIDES = ("--crop", 32, "--shorter-side", 32)
KEYS = {
    *("data", "split", "data_digest", "contract", "pictures", "enlarged", "pixels", "units", "mean", "std"),
    *("covariance", "eigenvalues", "eigenvectors", "mean_image"),
}


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture
def own(photos: Path, tmp_path: Path) -> Path:
    """The same pictures, to be changed."""
    shutil.copytree(photos, tmp_path / "own")
    return tmp_path / "own"


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    assert found.keys() == KEYS
    return dict(found)


def test_a_table_and_two_files(reslab: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "trees.json"
    done = reslab("data", "stats", photos, *SIDES, "--workers", 0, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    found = read_statistics(out)
    first, *rows, blank, values, last, kept = done.stdout.splitlines()
    assert first.split() == ["mean", "deviation", "covariance", "eigenvectors"]
    assert [row.split()[:3] for row in rows] == [
        [name, f"{found.mean[place]:.3f}", f"{found.std[place]:.3f}"] for place, name in enumerate("RGB")
    ]
    assert blank == ""
    assert values.startswith(f"eigenvalues {found.eigenvalues[0]:.6f}, ")
    crops = "central crops of 32x32 at a shorter side of 32 (bilinear, antialiased)"
    assert last.startswith(f"trees, train: 24 pictures, 24,576 pixels, {crops} (")
    assert kept == f"kept in {out} and {out.with_suffix('.safetensors')}"
    image = safetensors.numpy.load_file(out.with_suffix(".safetensors"))["mean"]
    assert (image.dtype, image.shape) == (np.float32, (32, 32, 3))
    assert image.mean(axis=(0, 1), dtype=np.float64) == pytest.approx(np.array(found.mean), rel=1e-6)
    assert found.mean_image.file == "trees.safetensors"
    assert sorted(path.name for path in out.parent.iterdir()) == ["trees.json", "trees.safetensors"]


def test_one_json_document_for_any_number_of_workers(reslab: Command, photos: Path, tmp_path: Path) -> None:
    alone, two = (
        document(reslab("data", "stats", photos, *SIDES, "--workers", workers, "--json")) for workers in (0, 2)
    )
    assert alone == two
    for workers in (0, 2):
        reslab("data", "stats", photos, *SIDES, "--workers", workers, "--out", tmp_path / str(workers) / "s.json")
    for name in ("s.json", "s.safetensors"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize(("split", "pictures"), [("train", 24), ("val", 6), ("all", 30)])
def test_a_part_is_the_one_that_training_takes(reslab: Command, photos: Path, split: str, pictures: int) -> None:
    found = document(reslab("data", "stats", photos, *SIDES, "--split", split, "--workers", 0, "--json"))
    assert (found["split"], found["pictures"]) == (split, pictures)


def test_small_pictures_are_measured_as_they_are(reslab: Command, tmp_path: Path) -> None:
    found = document(reslab("data", "stats", "embedded", "--split", "val", "--json"))
    assert (found["contract"], found["pictures"], found["pixels"]) == (None, 2000, 2000 * 28 * 28)
    assert found["mean_image"]["shape"] == [28, 28, 3]
    done = reslab("data", "stats", "embedded", "--split", "val", "--out", tmp_path / "e.json")
    assert "2,000 pictures, 1,568,000 pixels, pictures as they are (" in done.stdout
    assert len(safetensors.numpy.load_file(tmp_path / "e.safetensors")["mean"]) == 28


def test_pictures_may_be_resized_bicubically_and_the_document_says_so(reslab: Command, photos: Path) -> None:
    usual, found = (
        document(reslab("data", "stats", photos, *SIDES, *words, "--workers", 0, "--json"))
        for words in ((), ("--resample", "bicubic"))
    )
    assert (usual["contract"].pop("resample"), found["contract"].pop("resample")) == (
        "bilinear, antialiased",
        "bicubic, antialiased",
    )
    assert usual["contract"] == found["contract"]
    assert all(sharp > smooth for sharp, smooth in zip(found["std"], usual["std"], strict=True))


def test_the_usual_crop_is_the_testing_view(reslab: Command, photos: Path) -> None:
    found = document(reslab("data", "stats", photos, "--split", "val", "--workers", 0, "--json"))
    assert (found["contract"]["shorter_side"], found["contract"]["crop"], found["enlarged"]) == (256, 224, 6)


def test_pictures_that_are_enlarged_are_counted_aloud(reslab: Command, own: Path) -> None:
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(own / "ash" / "small.png")
    done = reslab("data", "stats", own, *SIDES, "--split", "all", "--workers", 0)
    assert "(bilinear, antialiased); 1 of them smaller than the crop, so enlarged" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--crop", 64, "--shorter-side", 32), "a crop of 64 does not fit a shorter side of 32"),
        (("--crop", 0), "crop is 0: input should be greater than 0"),
        (("--workers", -1), "--workers must be 0 or more, not -1"),
        (("--resample", "lanczos"), 'Invalid value "lanczos" for --resample'),
        (("--split", "test"), 'Invalid value "test" for --split'),
        (("--out", "stats.txt"), "--out is the file of the document and ends in .json, not stats.txt"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[object, ...], message: str, reslab: Command, photos: Path) -> None:
    assert message in one_line(reslab("data", "stats", photos, *words))


def test_what_is_no_data_set_is_one_line(reslab: Command, own: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no classes: it has no class folders" in one_line(reslab("data", "stats", tmp_path / "empty"))
    assert "does not exist" in one_line(reslab("data", "stats", tmp_path / "absent"))
    shutil.rmtree(own / "ash")
    (own / "ash").mkdir()
    assert "class 'ash' has no pictures" in one_line(reslab("data", "stats", own, *SIDES))


def test_sides_have_no_effect_on_small_pictures(reslab: Command) -> None:
    line = "--shorter-side, --crop and --resample are for photographs; small pictures are measured as they are"
    assert line in one_line(reslab("data", "stats", "embedded", "--crop", 20))
    assert line in one_line(reslab("data", "stats", "embedded", "--resample", "bicubic"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_picture_is_one_line_and_leaves_no_file(
    reslab: Command, own: Path, workers: int, tmp_path: Path
) -> None:
    bad = own / "birch" / "004.jpg"
    bad.write_bytes(bad.read_bytes()[:-60])
    words = ("--split", "all", "--workers", workers, "--out", tmp_path / "out" / "s.json")
    line = one_line(reslab("data", "stats", own, *SIDES, *words))
    assert line.startswith(f"reslab: {bad} is damaged: ")
    assert not (tmp_path / "out").exists()


def test_a_file_where_a_folder_should_be_is_refused_before_the_work(
    reslab: Command, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = reslab("data", "stats", photos, *SIDES, "--out", tmp_path / "file" / "s.json")
    assert "is a file, not a directory" in one_line(done)
