"""`train` and `evaluate` on folders of photographs, as a new user meets them."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.said import one_line

from reslab.data.source import PictureFolder

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]

SMALL = ("--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--shorter-side", 32, "--scale", 32, 40)
TINY = (*SMALL, "--steps", 4, "--batch", 8, "--evaluate-every", 2, "--log-every", 2, "--workers", 0)


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture
def own(photos: Path, tmp_path: Path) -> Path:
    """The same pictures, to be changed."""
    shutil.copytree(photos, tmp_path / "own")
    return tmp_path / "own"


def test_a_new_user_trains_and_tests_with_two_commands(reslab: Command, photos: Path, tmp_path: Path) -> None:
    done = reslab("train", *SMALL, "--data", photos, "--steps", 4, "--batch", 8, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("cifar-resnet8: test error ")
    assert "n=6" in first
    assert second == f"kept in {tmp_path / 'run'}"
    tested = reslab("evaluate", tmp_path / "run", "--data", photos)
    assert tested.returncode == 0
    assert "the network was trained on 24 of the 30 pictures here; --split val tests the others" in tested.stderr
    assert ", center, fp32: error " in tested.stdout
    assert [line.split()[0] for line in tested.stdout.splitlines()[8:]] == ["ash", "birch", "cedar"]


def test_a_run_and_a_test_print_one_json_document_each(reslab: Command, photos: Path, tmp_path: Path) -> None:
    done = reslab("train", "--data", photos, *TINY, "--out", tmp_path / "run", "--json")
    result = json.loads(done.stdout)
    assert (result["protocol"], result["n"], result["replaced"], result["input_size"]) == ("center", 6, 0, 32)
    tested = json.loads(
        reslab("evaluate", tmp_path / "run", "--data", photos, "--split", "val", "--workers", 0, "--json").stdout
    )
    assert (tested["protocol"], tested["n"], tested["error"]) == ("center", 6, result["test_error"])
    assert set(tested["by_class"]) == {"ash", "birch", "cedar"}


def test_the_default_recipe_is_for_photographs(reslab: Command, photos: Path, tmp_path: Path) -> None:
    words = ("train", "--data", photos, "--model", "resnet18", "--out", tmp_path / "run", "--dry-run", "--json")
    spec = json.loads(reslab(*words).stdout)
    assert spec["data"] == "folder"
    assert (spec["recipe"]["steps"], spec["recipe"]["batch"], spec["recipe"]["bn_group"]) == (5000, 32, 32)
    assert spec["recipe"]["photographs"] == {
        "contract": {
            "order": "RGB",
            "mean": [123.68, 116.779, 103.939],
            "std": [1.0, 1.0, 1.0],
            "mean_image": None,
            "resample": "bilinear",
            "shorter_side": 256,
            "crop": 224,
        },
        "scale": [256, 480],
        "area": None,
        "progressive": None,
        "flip": True,
        "colour": None,
        "decode": "fast",
        "on_bad_picture": "stop",
        "held_out": 0.2,
    }
    assert not (tmp_path / "run").exists()


def test_every_flag_of_photographs_reaches_the_spec(reslab: Command, photos: Path, tmp_path: Path) -> None:
    flags = (
        *("--scale", 40, 50, "--crop", 33, "--shorter-side", 36, "--held-out", 0.25, "--decode", "exact"),
        *("--on-bad-picture", "replace", "--preprocessing", "caffe", "--progressive", 32, 64),
        *("--resample", "bicubic"),
    )
    words = ("train", "--data", photos, "--model", "resnet18", *flags, "--out", tmp_path / "run", "--dry-run", "--json")
    assert json.loads(reslab(*words).stdout)["recipe"]["photographs"] == {
        "contract": {
            "order": "BGR",
            "mean": [103.939, 116.779, 123.68],
            "std": [1.0, 1.0, 1.0],
            "mean_image": None,
            "resample": "bicubic",
            "shorter_side": 36,
            "crop": 33,
        },
        "scale": [40, 50],
        "area": None,
        "progressive": {"sides": [32, 64], "between": [11 / 16, 13 / 16], "multiple": 32},
        "flip": True,
        "colour": None,
        "decode": "exact",
        "on_bad_picture": "replace",
        "held_out": 0.25,
    }


@pytest.mark.parametrize(("held_out", "epochs", "steps"), [(0.2, 2, 6), (0.2, 2.5, 8), (0.5, 2, 4)])
def test_epochs_are_of_the_pictures_that_are_trained_on(
    held_out: float, epochs: float, steps: int, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    words = ("--epochs", epochs, "--batch", 8, "--held-out", held_out, "--out", tmp_path / "run", "--dry-run", "--json")
    assert json.loads(reslab("train", "--data", photos, *SMALL, *words).stdout)["recipe"]["steps"] == steps


def test_a_spec_file_may_say_how_photographs_are_read_and_flags_come_on_top(
    reslab: Command, photos: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(
        '[model]\nname = "resnet18"\n[recipe.photographs]\nscale = [34, 50]\ndecode = "exact"\n'
        "[recipe.photographs.contract]\ncrop = 32\nshorter_side = 36\n"
    )
    words = ("train", "--data", photos, "--spec", spec, "--out", tmp_path / "run", "--dry-run", "--json")
    settings = json.loads(reslab(*words).stdout)["recipe"]["photographs"]
    assert (settings["scale"], settings["decode"], settings["contract"]["crop"]) == ([34, 50], "exact", 32)
    changed = json.loads(reslab(*words, "--crop", 33, "--decode", "fast").stdout)["recipe"]["photographs"]
    assert (changed["scale"], changed["decode"]) == ([34, 50], "fast")
    assert (changed["contract"]["crop"], changed["contract"]["shorter_side"]) == (33, 36)
    spec.write_text("[recipe.photographs.contract]\ncrops = 32\n")
    assert "did you mean 'recipe.photographs.contract.crop'?" in one_line(reslab(*words, "--model", "resnet18"))
    spec.write_text("[recipe.photographs]\non_bad_picture = 'skip'\n")
    assert "recipe.photographs.on_bad_picture is 'skip'" in one_line(reslab(*words, "--model", "resnet18"))


@pytest.mark.parametrize("where", ["flags", "file"])
def test_preprocessing_changes_channels_and_leaves_sizes_alone(
    where: str, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    """Its help: "mean, scale and order of channels"."""
    spec = tmp_path / "spec.toml"
    sizes = "[recipe.photographs]\nscale = [34, 50]\n[recipe.photographs.contract]\ncrop = 32\nshorter_side = 36\n"
    spec.write_text(sizes if where == "file" else "")
    flags = () if where == "file" else ("--crop", 32, "--shorter-side", 36, "--scale", 34, 50)
    words = ("--spec", spec, *flags, "--preprocessing", "caffe", "--out", tmp_path / "run", "--dry-run", "--json")
    done = reslab("train", "--data", photos, "--model", "resnet18", *words)
    assert done.returncode == 0, done.stderr
    contract = json.loads(done.stdout)["recipe"]["photographs"]["contract"]
    assert (contract["order"], contract["crop"], contract["shorter_side"]) == ("BGR", 32, 36)


def test_a_bad_picture_is_the_last_line_and_names_it(reslab: Command, own: Path, tmp_path: Path) -> None:
    for picture in own.rglob("*.jpg"):
        picture.write_bytes(picture.read_bytes()[:-60])
    done = reslab("train", "--data", own, *TINY, "--out", tmp_path / "r")
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"reslab: {own}/")
    assert "is damaged" in last


def test_replaced_pictures_are_counted_aloud(reslab: Command, own: Path, tmp_path: Path) -> None:
    index = PictureFolder(own).read("train").index
    bad = [own / index.path(number) for number in (0, 11)]
    for picture in bad:
        picture.write_bytes(picture.read_bytes()[:-60])
    words = ("train", "--data", own, *TINY, "--on-bad-picture", "replace", "--out", tmp_path / "r")
    done = reslab(*words)
    assert done.returncode == 0, done.stderr
    listed = json.loads((tmp_path / "r" / "replaced_pictures.json").read_text())
    assert set(listed) == {str(picture.relative_to(own)) for picture in bad}
    replaced = json.loads((tmp_path / "r" / "result.json").read_text())["replaced"]
    assert 2 <= replaced <= sum(entry["times"] for entry in listed.values())
    assert f"{replaced} times a bad picture was replaced: replaced_pictures.json names them" in done.stdout
    assert done.stderr.count(": another picture took its place") == 2


def test_files_that_are_no_pictures_are_said_to_be_passed_over(reslab: Command, own: Path, tmp_path: Path) -> None:
    (own / "ash" / "notes.txt").write_text("")
    done = reslab("train", "--data", own, *TINY, "--out", tmp_path / "r")
    assert "files that are no pictures by name were passed over (1): ash/notes.txt" in done.stderr


ODD = ("[bold]x[/bold]", "[/x]", "two\nlines", os.fsdecode(b"caf\xe9"), "-", "{}", "%s", "a" * 60, "日本")


def test_classes_of_any_name_are_shown_a_line_each(reslab: Command, folder_of: FolderOf, tmp_path: Path) -> None:
    names = [name.replace("/", ":") for name in ODD]
    root = folder_of(tmp_path / "photos", names, 3)
    assert reslab("train", "--data", root, *TINY, "--out", tmp_path / "run").returncode == 0
    done = reslab("evaluate", tmp_path / "run", "--data", root, "--workers", 0)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.encode("utf-8").decode()
    rows = shown.splitlines()[8:]
    assert len(rows) == len(names)
    for name in ("[bold]x[:bold]", "[:x]", "two\\nlines", "caf\\xe9", "-", "{}", "%s", "a" * 60, "日本"):
        assert sum(row.startswith(f"{name} ") for row in rows) == 1, name
    tested = json.loads(reslab("evaluate", tmp_path / "run", "--data", root, "--workers", 0, "--json").stdout)
    assert len(tested["by_class"]) == len(names)
