"""From ImageNet's archives to a trained network, as a user does it: on folders, on shards, by several processes."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imagenet_archives import write_archives
from tests.said import answer
from tests.torchrun import torchrun

Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("--crop", 64, "--shorter-side", 72, "--scale", 72, 96, "--batch", 16, "--bn-group", 8, "--width", 16)
PAPER = ("--model", "resnet18", "--recipe", "paper", "--steps", 30, "--precision", "fp32", "--bn-average", 64, *SMALL)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def weights_of(run: Path) -> str:
    return hashlib.sha256((run / "checkpoints" / "step-30" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def imagenet(reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Ten classes in folders and in shards; nobody may change them."""
    place = tmp_path_factory.mktemp("imagenet")
    (place / "archives").mkdir()
    archives = write_archives(place / "archives")
    prepared = answer(reslab("data", "prepare", "imagenet", *archives.words, "--out", place / "folders", "--json"))
    assert (prepared["train"]["classes"], prepared["val"]["pictures"]) == (10, 13)
    answer(reslab("data", "pack", place / "folders", "--out", place / "shards", "--shard-size", "20kB", "--json"))
    return place / "folders", place / "shards"


@pytest.fixture(scope="module")
def on_folders(reslab: Command, imagenet: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the folders; nobody may change it."""
    out = tmp_path_factory.mktemp("runs") / "folders"
    answer(reslab("train", "--data", imagenet[0], *PAPER, "--out", out, "--json"))
    return out


@pytest.mark.parametrize("workers", [0, 2])
def test_folders_and_shards_make_the_same_weights(
    workers: int, reslab: Command, imagenet: tuple[Path, Path], on_folders: Path, tmp_path: Path
) -> None:
    found = answer(
        reslab("train", "--data", imagenet[1], *PAPER, "--workers", workers, "--out", tmp_path / "run", "--json")
    )
    wanted = json.loads((on_folders / "result.json").read_text())
    assert weights_of(tmp_path / "run") == weights_of(on_folders)
    assert [found[key] for key in ("hits", "n", "train_error")] == [wanted[key] for key in ("hits", "n", "train_error")]


def test_the_papers_recipe_colours_and_jitters(on_folders: Path) -> None:
    photographs = json.loads((on_folders / "spec.json").read_text())["experiment"]["recipe"]["photographs"]
    assert photographs["scale"] == [72, 96]
    assert photographs["colour"]["std"] == 0.1
    assert photographs["contract"]["std"] == [1.0, 1.0, 1.0]


def test_two_processes_train_on_shards_what_one_does(
    imagenet: tuple[Path, Path], on_folders: Path, tmp_path: Path
) -> None:
    words = ("train", "--data", imagenet[1], *PAPER, "--log-every", 1, "--out", tmp_path / "run", "--json")
    found = answer(torchrun(2, *words))
    assert found["n"] == json.loads((on_folders / "result.json").read_text())["n"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [16 * step for step in range(1, 31)]
    assert all(line["loss"] < 10 for line in lines)
