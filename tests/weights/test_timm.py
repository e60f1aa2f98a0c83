"""timm's folders: what config.json says becomes the contract of the pictures, and back."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.weights.networks import photo_net, require_equal, stirred

from reslab.core.contract import CONTRACTS, Contract
from reslab.core.errors import DataError
from reslab.weights.layout import Tensors
from reslab.weights.timm import from_timm, timm_config

NET = photo_net(width=4, classes=3)
PREPARED = {
    "input_size": [3, 160, 160],
    "crop_pct": 0.95,
    "interpolation": "bilinear",
    "mean": [0.5, 0.25, 0.125],
    "std": [0.5, 1.0, 0.25],
    "fixed_input_size": False,
}


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return stirred(NET)


@pytest.fixture
def folder(tensors: Tensors, tmp_path: Path) -> Path:
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def say(folder: Path, **changes: Any) -> None:
    prepared = {key: value for key, value in (PREPARED | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": prepared}))


def test_a_folder_is_imported_with_what_its_config_says(folder: Path, tensors: Tensors) -> None:
    say(folder)
    found = from_timm(folder)
    assert found.architecture == NET
    assert found.form == Contract(mean=(127.5, 63.75, 31.875), std=(127.5, 255, 63.75), shorter_side=168, crop=160)
    assert (found.notes, found.classes) == ((), None)
    require_equal(found.tensors, tensors)


def test_the_file_in_the_folder_says_the_same(folder: Path) -> None:
    say(folder)
    assert from_timm(folder / "model.safetensors").form == from_timm(folder).form


def test_the_older_name_of_the_weights_is_found(tensors: Tensors, tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    say(tmp_path)
    require_equal(from_timm(tmp_path).tensors, tensors)


def test_safetensors_go_before_pickles_as_in_timm(folder: Path, tensors: Tensors) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"damaged")
    require_equal(from_timm(folder).tensors, tensors)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no model\.safetensors or pytorch_model\.bin$"):
        from_timm(tmp_path)


def test_what_a_config_leaves_out_is_timms_default(folder: Path) -> None:
    say(folder, crop_pct=..., interpolation=...)
    found = from_timm(folder)
    assert isinstance(found.form, Contract)
    assert found.form.shorter_side == math.floor(160 / 0.875)
    assert found.notes == ()


def test_bicubic_interpolation_becomes_the_contract_s(folder: Path) -> None:
    say(folder, interpolation="bicubic")
    found = from_timm(folder)
    assert isinstance(found.form, Contract)
    assert (found.form.resample, found.notes) == ("bicubic", ())
    assert timm_config(NET, found.form, ())["pretrained_cfg"]["interpolation"] == "bicubic"
    assert timm_config(NET, Contract(), ())["pretrained_cfg"]["interpolation"] == "bilinear"


@pytest.mark.parametrize("interpolation", ["lanczos", "nearest", "random"])
def test_another_interpolation_is_noted(interpolation: str, folder: Path) -> None:
    say(folder, interpolation=interpolation)
    found = from_timm(folder)
    assert isinstance(found.form, Contract)
    assert found.form.resample == "bilinear"
    (note,) = found.notes
    assert note == f"timm resizes with {interpolation} interpolation, reslab with antialiased bilinear"


def test_imagenets_usual_preparation_is_torchvisions_contract(folder: Path) -> None:
    usual = {
        "input_size": [3, 224, 224],
        "crop_pct": 0.875,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    say(folder, **usual)
    assert from_timm(folder).form == CONTRACTS["torchvision"]


def test_a_missing_config_is_noted_and_torchvisions_preparation_taken(folder: Path) -> None:
    found = from_timm(folder)
    (note,) = found.notes
    assert note.startswith("there is no config.json beside it")
    assert found.form == CONTRACTS["torchvision"]


def test_names_of_labels_become_the_classes(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": PREPARED, "label_names": ["ash", "elm", "yew"]}))
    assert from_timm(folder).classes == ("ash", "elm", "yew")


NAN = float("nan")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean": ...}, "mean: Field required"),
        ({"std": [1, 2]}, "std.2: Field required"),
        ({"std": [1, 0, 1]}, "std must be positive"),
        ({"std": [1, -1, 1]}, "std must be positive"),
        ({"mean": [NAN, 0, 0]}, "mean.0: Input should be a finite number"),
        ({"mean": "mean"}, "mean: Input should be a valid tuple"),
        ({"input_size": [1, 224, 224]}, "input_size.0: Input should be 3"),
        ({"input_size": [3, 224]}, "input_size.2: Field required"),
        ({"input_size": [3, 0, 0]}, "input_size.1: Input should be greater than 0"),
        ({"input_size": [3, 224, 160]}, "input_size: Value error, 224x160 pixels are not square"),
        ({"crop_pct": 0}, "crop_pct: Input should be greater than"),
        ({"crop_pct": 1e-310}, "crop_pct: Input should be greater than"),
        ({"crop_pct": 2}, "crop_pct: Input should be less than or equal to 1"),
        ({"crop_pct": NAN}, "crop_pct: Input should be"),
        ({"interpolation": 3}, "interpolation: Input should be a valid string"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_in_one_line(changes: dict[str, Any], says: str, folder: Path) -> None:
    say(folder, **changes)
    with pytest.raises(DataError) as caught:
        from_timm(folder)
    line = str(caught.value)
    assert line.startswith(f"{folder}/config.json: ")
    assert says in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{", '{"pretrained_cfg": 3}', '{"pretrained_cfg": {}, "label_names": 3}', "[" * 200_000]
)
def test_a_config_that_is_none_is_refused_in_one_line(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(DataError) as caught:
        from_timm(folder)
    assert str(folder / "config.json") in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("classes", [3, [1, 2, 3], {"a": "b"}])
def test_names_of_labels_that_are_no_list_of_names_are_refused(classes: object, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": PREPARED, "label_names": classes}))
    with pytest.raises(DataError, match=r"config\.json: .*Input should be a valid"):
        from_timm(folder)


@pytest.mark.parametrize(("crop", "side"), [(224, 256), (32, 93), (32, 117), (299, 342), (448, 448), (100, 101)])
def test_a_contract_comes_back_from_the_config_that_it_made(crop: int, side: int, folder: Path) -> None:
    contract = Contract(mean=(124, 1.5, 0), std=(58.5, 57.25, 1), shorter_side=side, crop=crop)
    config = timm_config(NET, contract, ("ash", "elm", "yew"))
    (folder / "config.json").write_text(json.dumps(config))
    found = from_timm(folder)
    assert found.form == contract
    assert found.classes == ("ash", "elm", "yew")
    assert math.floor(crop / config["pretrained_cfg"]["crop_pct"]) == side  # what timm does with it


def test_every_side_comes_back() -> None:
    for side in range(32, 1000):
        prepared = timm_config(NET, Contract(shorter_side=side, crop=32), ())["pretrained_cfg"]
        assert math.floor(32 / prepared["crop_pct"]) == side


@pytest.mark.parametrize(("depth", "features"), [(18, 32), (50, 128)])
def test_the_config_says_what_timm_builds(depth: int, features: int) -> None:
    config = timm_config(photo_net(depth, width=4, classes=3), CONTRACTS["torchvision"], ("ash", "elm", "yew"))
    assert config["architecture"] == f"resnet{depth}"
    assert (config["num_classes"], config["num_features"]) == (3, features)
    assert config["pretrained_cfg"]["mean"] == pytest.approx((0.485, 0.456, 0.406))
    assert config["pretrained_cfg"]["std"] == pytest.approx((0.229, 0.224, 0.225))
    assert config["pretrained_cfg"]["crop_pct"] == 0.875
