"""Weights keep their word on the way in and out: what reslab wrote says what it is of, whoever reads it again."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.said import one_line

from reslab.core.contract import CONTRACTS
from reslab.experiments.importing import Known, import_weights
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.weights import Weights, read_weights
from reslab.models.resnet import resnet

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]
CLASSES = ("ash", "birch", "cedar")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """resnet18 as torchvision's users keep it."""
    place = tmp_path_factory.mktemp("library") / "resnet18.pth"
    torch.save(resnet(18, classes=3).state_dict(), place)
    return place


@pytest.fixture
def ours(file: Path, tmp_path: Path) -> Weights:
    """The same, known to take BGR pictures at other sides."""
    known = Known(CONTRACTS["caffe"], shorter_side=200, crop=160, classes=CLASSES)
    return import_weights("torchvision", file, tmp_path / "ours", known, pytest.fail)


def contract_of(weights: Weights) -> Any:
    assert isinstance(weights.inputs, PhotoInputs)
    return weights.inputs.settings.contract


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_file_that_says_what_it_is_of_is_believed_by_an_importer(
    library: str, reslab: Command, ours: Weights, tmp_path: Path
) -> None:
    words = ("weights", "import", library, ours.place / "model.safetensors", "--out", tmp_path / "again")
    assert reslab(*words).returncode == 0
    again = read_weights(tmp_path / "again")
    assert (again.architecture, again.classes, again.digest) == (ours.architecture, CLASSES, ours.digest)
    assert contract_of(again) == contract_of(ours)
    assert contract_of(again).order == "BGR"


def test_an_exported_folder_is_used_as_it_is(reslab: Command, ours: Weights, tmp_path: Path) -> None:
    out = tmp_path / "theirs"
    assert reslab("weights", "export", ours.place, "--to", "torchvision", "--out", out).returncode == 0
    assert read_weights(out).digest == ours.digest
    assert json.loads(reslab("weights", "inspect", out, "--json").stdout)["classes"] == list(CLASSES)


def test_reslabs_own_files_are_not_taken_for_those_of_others(reslab: Command, finished: Path, tmp_path: Path) -> None:
    (file,) = finished.glob("checkpoints/step-6/model.safetensors")
    line = one_line(reslab("weights", "import", "akamaster", file, "--out", tmp_path / "x"))
    assert "says that it is reslab's own" in line
    line = one_line(reslab("evaluate", file.rename(tmp_path / "lone.safetensors"), "--data", "embedded"))
    assert "lacks the mean picture, which lies beside it: give its folder" in line
    (tmp_path / "lone.safetensors").rename(file)


def test_a_network_of_timm_that_tensors_do_not_give_away_is_refused(
    reslab: Command, file: Path, tmp_path: Path
) -> None:
    """Anti-aliased ResNets have the tensors of plain ones."""
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "pytorch_model.bin").write_bytes(file.read_bytes())
    prepared = {"input_size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    config = tmp_path / "timm" / "config.json"
    words = ("weights", "import", "timm", tmp_path / "timm", "--out")
    for name, holds in (
        ("resnetblur18", False),
        ("resnet34", False),
        ("resnet18.a1_in1k", True),
        ("tv_resnet18", True),
    ):
        config.write_text(json.dumps({"architecture": name, "pretrained_cfg": prepared, "label_names": list(CLASSES)}))
        done = reslab(*words, tmp_path / name)
        assert (done.returncode == 0) == holds
        assert holds or f"says that it is of {name}, which computes something else than resnet18" in done.stderr
    config.write_text(json.dumps({"pretrained_cfg": {**prepared, "crop_mode": "squash"}, "label_names": list(CLASSES)}))
    assert "timm crops by the mode squash, reslab takes the centre" in reslab(*words, tmp_path / "squash").stderr


def test_names_of_classes_are_read_as_editors_write_them(reslab: Command, file: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    words = ("weights", "import", "torchvision", file, "--classes", names, "--out", tmp_path / "out")
    names.write_text("\n\n")
    assert f"{names} names no classes" in one_line(reslab(*words))
    names.write_text("ash\nash\ncedar\n")
    assert "3 names of classes for a network of 3; ash is there twice" in one_line(reslab(*words))
    names.write_text("\ufeffash\nbirch\n\ncedar", encoding="utf-8")
    assert reslab(*words).returncode == 0
    assert read_weights(tmp_path / "out").classes == CLASSES


def test_weights_that_can_only_give_nothing_are_refused(reslab: Command, tmp_path: Path) -> None:
    net = resnet(18, classes=3)
    net.bn1.running_var[1] = -1
    torch.save(net.state_dict(), tmp_path / "w.pth")
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    words = (tmp_path / "w.pth", "--classes", tmp_path / "names.txt", "--out", tmp_path / "out")
    assert "bn1.running_var has negative variances" in one_line(reslab("weights", "import", "torchvision", *words))
    assert not (tmp_path / "out").exists()


def test_a_crop_that_the_network_cannot_take_is_refused(reslab: Command, file: Path, tmp_path: Path) -> None:
    words = ("weights", "import", "torchvision", file, "--out", tmp_path / "out")
    assert "a crop of 16 is too small for this network: it takes 32" in one_line(reslab(*words, "--crop", 16))
    one_line(reslab(*words, "--crop", 10**20, "--shorter-side", 10**20))
    assert not (tmp_path / "out").exists()


def test_a_pipe_is_not_waited_for(reslab: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is no plain file" in one_line(reslab("evaluate", tmp_path / "pipe", "--data", "embedded"))


def test_of_two_imports_into_one_folder_one_is_there_whole(file: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    words = ["weights", "import", "torchvision", file, "--classes", tmp_path / "names.txt", "--out", tmp_path / "out"]
    command = [sys.executable, "-m", "reslab", *map(str, words)]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert 0 in [process.returncode for process in both], errors
    assert read_weights(tmp_path / "out").classes == CLASSES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["names.txt", "out"]
