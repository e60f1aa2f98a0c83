import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reslab.core.contract import Contract
from reslab.core.experiment import Photographs, Recipe
from reslab.experiments.networks import build
from reslab.experiments.recipes import RECIPES
from reslab.report.speed import speed_command

Command = Callable[..., subprocess.CompletedProcess[str]]

TINY = ("--model", "cifar-resnet8", "--batch", 8)
ADVICE = {"limit", "precision", "workers", "batch"}
PLACE = {"torch", "processor", "capability", "threads", "cores", "revision"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for number in range(6):
        place = root / "ab"[number % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (240, 300, 3), dtype=np.uint8)).save(place / f"{number}.jpg")
    return root


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    for row in found["rows"]:
        assert row.keys() >= {"name", "model", "rate", "rival_rate", "ratio"}
        assert min(row["rate"], row["rival_rate"], row["ratio"]) > 0
        assert len(row["ratios"]) == found["rounds"]
    assert found["advice"].keys() >= ADVICE
    assert found["environment"].keys() >= PLACE
    return found


def test_train_prints_one_document_and_keeps_the_same_in_a_file(reslab: Command, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    done = reslab("bench", "train", *TINY, "--rounds", 2, "--precision", "fp32", "--json", "--out", out)
    found = document(done)
    assert json.loads(out.read_text()) == found
    assert [row["name"] for row in found["rows"]] == [
        "step against bare eager fp32 NCHW",
        "step with data against bare eager fp32 NCHW",
        "step with data against step alone",
        "whole loop against eager fp32 with a standard loader of 2 workers",
    ]
    assert {row["model"] for row in found["rows"]} == {"cifar-resnet8"}
    assert found["advice"]["precision"] == "fp32"
    assert found["advice"]["batch"] in (4, 8, 16)
    assert found["advice"]["workers"] >= 0
    settings = {
        "kind": "train",
        "model": "cifar-resnet8",
        "recipe": None,
        "batch": 8,
        "bn_group": 8,
        "data": None,
        "workers": None,
    }
    asked = {"precision": "fp32", "device": None}
    assert found["settings"] == {**settings, **asked, "rivals": "in a process of their own"}
    same = "reslab bench train --model cifar-resnet8 --batch 8 --bn-group 8 --precision fp32 --rounds 2"
    assert speed_command(found) == same


@pytest.mark.slow
def test_train_ends_with_sentences(reslab: Command) -> None:
    done = reslab("bench", "train", *TINY, "--rounds", 1, "--data", "embedded", "--workers", 1)
    assert done.returncode == 0, done.stderr
    for words in (
        "step with data against step alone",
        "limits:",
        "--precision",
        "--workers",
        "--batch",
        "n=1 round,",
        "rivals in a process",
    ):
        assert words in done.stdout
    assert "reslab bench train: cifar-resnet8, batch 8" in done.stderr


SMALL = Photographs(contract=Contract(shorter_side=64, crop=64), scale=(64, 80))
REFERENCE = "whole loop against a reference script: eager fp32, Pillow, torch's loader of 1 worker"


@pytest.mark.slow
def test_train_reads_photographs_as_a_recipe_says_in_one_of_its_groups(
    reslab: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(batch=4, bn_group=2, photographs=SMALL.but({"colour": {}}))
    monkeypatch.setitem(RECIPES, "tiny", lambda: recipe)
    words = ("--recipe", "tiny", "--rounds", 1, "--workers", 1, "--precision", "fp32", "--data", folder)
    found = document(reslab("bench", "train", *words, "--json"))
    assert found["advice"]["workers"] >= 1
    assert found["rows"][-1]["name"] == REFERENCE
    assert found["environment"].keys() >= {"pillow", "simplejpeg"}
    assert {key: found["settings"][key] for key in ("model", "data", "recipe", "batch", "bn_group")} == {
        "model": "resnet18",
        "data": folder.name,
        "recipe": "tiny",
        "batch": 2,
        "bn_group": 2,
    }
    flags = "--recipe tiny --batch 2 --bn-group 2 --workers 1 --precision fp32"
    assert speed_command(found) == f"reslab bench train --model resnet18 --data {folder.name} {flags} --rounds 1"


def named(*, photographs: bool) -> str:
    """A recipe for photographs, or for small pictures."""
    return next(name for name, known in RECIPES.items() if (known().photographs is not None) == photographs)


UNEVEN = RECIPES[named(photographs=True)]().bn_group + 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--recipe", named(photographs=False), "--data", "FOLDER"), "this recipe is for small pictures; for a folder"),
        (("--recipe", named(photographs=True)), "the data is random pictures: --data FOLDER"),
        (
            ("--recipe", named(photographs=True), "--data", "embedded", "--model", "cifar-resnet8"),
            "this recipe is for folders of photographs, and the data is embedded",
        ),
        (
            ("--recipe", named(photographs=True), "--batch", UNEVEN, "--data", "FOLDER"),
            f" do not divide --batch {UNEVEN}: give --bn-group",
        ),
        (("--recipe", "papre", "--data", "FOLDER"), "unknown recipe 'papre'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_one_clear_line(
    reslab: Command, folder: Path, words: tuple[object, ...], says: str
) -> None:
    done = reslab("bench", "train", *(folder if word == "FOLDER" else word for word in words))
    assert done.returncode == 2
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("reslab: ")
    assert says in line


def test_loader_compares_speed_and_pixels(reslab: Command, folder: Path) -> None:
    done = reslab("bench", "loader", "--data", folder, "--batch", 4, "--rounds", 1, "--workers", 2, "--json")
    found = document(done)
    assert [row["name"] for row in found["rows"]] == [
        "fast path against Pillow full decode and resize, one core",
        "exact path against Pillow full decode and resize, one core",
        "loader with 2 workers against one",
        "loader with 2 workers against 2 threads",
        "data verify with 2 workers against decoding alone, times 2",
    ]
    assert found["differences"].keys() == {"fast", "exact"}
    assert found["differences"]["exact"] == {"mean_absolute": 0, "bias": 0}
    assert found["differences"]["fast"]["mean_absolute"] > 0
    assert found["advice"]["limit"] == "loader"
    assert found["advice"]["workers"] in (1, 2)
    assert found["environment"].keys() >= {"pillow", "simplejpeg"}


def test_loader_says_how_far_the_pixels_lie_apart(reslab: Command, folder: Path) -> None:
    done = reslab("bench", "loader", "--data", folder, "--batch", 2, "--rounds", 1, "--workers", 1)
    assert "The exact path's values differ from Pillow's full decode and resize by 0.000 of 255" in done.stdout
    assert "4 photographs of" in done.stdout
    assert "loader with 1 worker against 1 thread " in done.stdout
    assert ", n=1 round, " in done.stdout
    assert "reslab bench loader: batches of 2, 1 worker, 1 round\n" in done.stderr


def test_infer_measures_a_forward_pass(reslab: Command) -> None:
    found = document(reslab("bench", "infer", *TINY, "--rounds", 1, "--precision", "fp32", "--json"))
    assert [row["name"] for row in found["rows"]] == ["inference against bare eager fp32 NCHW"]
    assert found["advice"]["workers"] is None


def test_test_counts_ten_crops_and_whole_pictures_in_central_crops(
    reslab: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = partial(build, classes=3)
    monkeypatch.setattr(
        "reslab.experiments.bench.testing.build", lambda spec: narrow(spec.but({"name": "resnet18", "width": 8}))
    )
    words = ("--data", folder, "--batch", 2, "--rounds", 1, "--workers", 1, "--precision", "fp32")
    done = reslab("bench", "test", *words, "--model", "resnet18")
    assert done.returncode == 0, done.stderr
    assert "ten-crop in fp32 against ten central crops" in done.stdout
    assert "fp32, 1 worker, 1 round\n" in done.stderr
    found = document(reslab("bench", "test", *words, "--json"))
    assert found["settings"] == {
        "kind": "test",
        "model": "resnet50",
        "data": folder.name,
        "workers": 1,
        "batch": 2,
        "precision": "fp32",
        "device": None,
    }
    ten, whole = found["rows"]
    assert ten["name"] == "ten-crop in fp32 against ten central crops"
    pixels = sum(side * (side * 300 // 240) for side in (224, 256, 384, 480, 640))  # the photographs are 300x240
    assert whole["name"] == f"multi-scale in fp32 against {pixels / 224**2:.1f} central crops"
    assert all(row["ratio"] > 0 for row in found["rows"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("test",), "bench test reads photographs: --data FOLDER"),
        (("test", "--data", "FOLDER", "--bn-group", 2), "--bn-group has no effect on bench test"),
        (("train", "--rounds", 0), "--rounds must be at least 1, not 0"),
        (("train", "--batch", 0), "--batch must be at least 1, not 0"),
        (("train", "--workers", -1), "--workers must be at least 0, not -1"),
        (("train", "--model", "resnet51"), "unknown model 'resnet51'"),
        (("train", "--model", "cifar-resnet8", "--data", "FOLDER"), "cifar-resnet8 is for small pictures and "),
        (("train", "--batch", 64, "--data", "FOLDER"), "fewer than one batch of 64"),
        (("train", "--device", "tpu"), "unknown device 'tpu'"),
        (("loader",), "bench loader reads photographs: --data FOLDER"),
        (("loader", "--data", "embedded"), "and embedded holds small pictures"),
        (("loader", "--data", "FOLDER", "--workers", 0), "--workers must be at least 1 for bench loader"),
        (("loader", "--data", "FOLDER", "--model", "resnet18"), "--model has no effect on bench loader"),
        (("infer", "--data", "embedded"), "--data has no effect on bench infer"),
        *(((kind, "--recipe", "X"), f"--recipe has no effect on bench {kind}") for kind in ("loader", "infer", "test")),
        (("trian",), "trian"),
    ],
)
def test_a_mistake_is_one_clear_line(reslab: Command, folder: Path, words: tuple[object, ...], says: str) -> None:
    done = reslab("bench", *(folder if word == "FOLDER" else word for word in words))
    assert done.returncode == 2
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("reslab: ")
    assert says in line
