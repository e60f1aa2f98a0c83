"""Weights that another library wrote, and weights that it reads, compute the same on both sides."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from tests.oracle.networks import LIBRARIES, counterpart, difference, ours, pictures
from timm.data import create_transform, resolve_model_data_config
from timm.models._hub import save_config_for_hf
from torch import nn

from reslab.core.contract import CONTRACTS
from reslab.core.listening import unheard
from reslab.experiments.exporting import export_weights
from reslab.experiments.importing import Known, import_weights
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.pretrained import pretrained
from reslab.experiments.weights import Weights
from reslab.weights.libraries import Library

pytestmark = pytest.mark.oracle

DEPTHS = pytest.mark.parametrize("depth", [18, 50])


def made(library: str, depth: int) -> nn.Module:
    return counterpart(library, ours(depth), depth).float().eval()


def agree(one: nn.Module, other: nn.Module) -> bool:
    x = pictures(1, 96, 160)
    with torch.no_grad():
        return difference(one.double()(x), other.double()(x)) <= 1e-9


def steps_of(net: nn.Module) -> dict[str, Any]:
    """timm's preparation of a picture for testing."""
    transform = create_transform(**resolve_model_data_config(net), is_training=False)
    return {type(step).__name__: step for step in transform.transforms}


def taken_in(library: Library, file: Path, out: Path) -> Weights:
    return import_weights(library, file, out, Known(), unheard)


def from_torchvision(folder: Path, depth: int = 18, known: Known | None = None) -> tuple[nn.Module, Weights]:
    net = made("torchvision", depth)
    torch.save(net.state_dict(), folder / "net.pth")
    return net, import_weights("torchvision", folder / "net.pth", folder / "kept", known or Known(), unheard)


@DEPTHS
def test_a_file_that_torchvision_wrote_computes_the_same_here(depth: int, tmp_path: Path) -> None:
    net, _ = from_torchvision(tmp_path, depth)
    assert agree(pretrained(tmp_path / "kept"), net)


@DEPTHS
def test_a_folder_that_timm_wrote_computes_the_same_here(depth: int, tmp_path: Path) -> None:
    net = made("timm", depth)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    save_config_for_hf(net, str(theirs / "config.json"))
    safetensors.torch.save_file(net.state_dict(), theirs / "model.safetensors")
    weights = taken_in("timm", theirs, tmp_path / "kept")
    assert agree(pretrained(tmp_path / "kept"), net)
    said = resolve_model_data_config(net)
    assert isinstance(weights.inputs, PhotoInputs)
    contract = weights.inputs.settings.contract
    steps = steps_of(net)
    assert (steps["Resize"].size, tuple(steps["CenterCrop"].size)) == (contract.shorter_side, (contract.crop,) * 2)
    assert contract.mean == pytest.approx([255 * value for value in said["mean"]], abs=1e-9)
    assert contract.std == pytest.approx([255 * value for value in said["std"]], abs=1e-9)


@DEPTHS
def test_what_is_exported_for_torchvision_computes_the_same_there(depth: int, tmp_path: Path) -> None:
    net, weights = from_torchvision(tmp_path, depth)
    (file,) = export_weights(weights, "torchvision", tmp_path / "out")
    there = LIBRARIES["torchvision"](depth).eval()
    assert not agree(there, net)
    there.float().load_state_dict(safetensors.torch.load_file(file), strict=True)
    assert agree(there, net)


@DEPTHS
def test_what_is_exported_for_timm_computes_the_same_there(depth: int, tmp_path: Path) -> None:
    net, weights = from_torchvision(tmp_path, depth)
    export_weights(weights, "timm", tmp_path / "out")
    there = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    assert agree(there, net)
    assert there.pretrained_cfg["label_names"] == list(weights.classes or ())


@pytest.mark.parametrize(("crop", "side"), [(224, 256), (224, 257), (224, 224), (160, 183), (32, 39), (96, 107)])
def test_timm_resizes_and_crops_what_is_exported_as_we_do(crop: int, side: int, tmp_path: Path) -> None:
    _, weights = from_torchvision(tmp_path, known=Known(shorter_side=side, crop=crop))
    export_weights(weights, "timm", tmp_path / "out")
    there = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=False)
    steps = steps_of(there)
    assert (steps["Resize"].size, tuple(steps["CenterCrop"].size)) == (side, (crop, crop))
    form = CONTRACTS["torchvision"]
    assert [255 * float(value) for value in steps["Normalize"].mean] == pytest.approx(form.mean, rel=1e-6)
    assert [255 * float(value) for value in steps["Normalize"].std] == pytest.approx(form.std, rel=1e-6)


def test_exported_weights_come_back_as_the_same_bits(tmp_path: Path) -> None:
    _, weights = from_torchvision(tmp_path)
    export_weights(weights, "timm", tmp_path / "out")
    again = taken_in("timm", tmp_path / "out", tmp_path / "again")
    assert weights.tensors is not None
    assert again.tensors is not None
    assert again.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(again.tensors[name], value) for name, value in weights.tensors.items())
    assert (again.architecture, again.classes) == (weights.architecture, weights.classes)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["architecture"] == "resnet18"
