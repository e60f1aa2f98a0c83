"""Weights that training cannot begin from."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from reslab.core.errors import CheckpointError, DataError, ReslabError, RunError, SpecError
from reslab.core.experiment import Experiment, ModelSpec
from reslab.experiments.job import Outcome
from reslab.experiments.names import architecture_of
from reslab.experiments.weights import Weights, read_weights

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
TorchvisionFile = Callable[[Path, ModelSpec], Path]


def from_weights(experiment: Experiment, weights: Weights, **start: Any) -> Experiment:
    return experiment.but({"start": {"weights": weights.digest, **start}})


V1 = ModelSpec(name="resnet50", width=8)


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (V1, V1.but({"stride_on": "3x3"}), "the weights of resnet50 (stride on 1x1), not of resnet50 (stride on 3x3)"),
        (V1.but({"stride_on": "3x3"}), V1, "the weights of resnet50 (stride on 3x3), not of resnet50 (stride on 1x1)"),
        (V1, V1.but({"pool": "caffe"}), "the weights of resnet50 (pool pad1), not of resnet50 (pool caffe)"),
        (V1, V1.but({"name": "resnet101"}), "the weights of resnet50, not of resnet101"),
        (V1, V1.but({"width": 16}), "the weights of resnet50 (width 8), not of resnet50 (width 16)"),
        (V1, V1.but({"shortcut": "C"}), "the weights of resnet50 (shortcut B), not of resnet50 (shortcut C)"),
        (
            ModelSpec(name="resnet18"),
            ModelSpec(name="plain18"),
            "the weights of resnet18 (shortcut B), not of plain18 (shortcut none)",
        ),
    ],
)
def test_weights_of_another_network_by_their_own_word_are_refused(
    theirs: ModelSpec,
    ours: ModelSpec,
    message: str,
    train_on: TrainOn,
    photos: Path,
    tiny_photos: Experiment,
    tmp_path: Path,
) -> None:
    weights = Weights(tmp_path / "theirs", "0" * 64, {}, architecture_of(theirs))
    experiment = from_weights(tiny_photos.but({"model": ours.model_dump(mode="json")}), weights)
    with pytest.raises(DataError, match=f"theirs has {re.escape(message)}; to use them all the same, force it$"):
        train_on(photos, tmp_path / "run", experiment, weights=weights)
    assert not (tmp_path / "run").exists()


def test_a_choice_written_out_is_the_same_network(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    explicit = tiny_photos.but({"model": {"shortcut": "A"}})
    assert train_on(photos, tmp_path / "run", from_weights(explicit, weights), weights=weights).step == 7


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (
            ModelSpec(name="resnet34", width=8),
            "missing: layer1.2.conv1.weight, .* and 77 more",
        ),
        (
            ModelSpec(name="resnet18", width=16),
            r"misshapen: conv1.weight \(8, 3, 7, 7\) instead of \(16, .*another width",
        ),
        (
            ModelSpec(name="resnet18", width=8, shortcut="C"),
            "missing: layer1.0.downsample.0.w.*another shortcut option",
        ),
        (
            ModelSpec(name="resnet18", width=8, shortcut="A"),
            "left over: layer2.0.downsample.0.w.*another shortcut option",
        ),
        (ModelSpec(name="cifar-resnet8", width=8), r"misshapen: conv1.weight \(8, 3, 7, 7\) instead of \(8, 3, 3, 3\)"),
    ],
)
def test_a_file_of_another_architecture_is_refused_with_what_differs(
    ours: ModelSpec,
    name: str,
    torchvision_file: TorchvisionFile,
    train_on: TrainOn,
    photos: Path,
    tiny_photos: Experiment,
    tmp_path: Path,
) -> None:
    weights = read_weights(torchvision_file(tmp_path / "w.safetensors", ModelSpec(name="resnet18", width=8)))
    experiment = from_weights(tiny_photos.but({"model": ours.model_dump(mode="json")}), weights)
    with pytest.raises(
        DataError, match=rf"w\.safetensors has the weights of another architecture than this network: .*{name}"
    ):
        train_on(photos, tmp_path / "run", experiment, weights=weights)
    assert not (tmp_path / "run").exists()


def damaged_run(two_classes: Path, place: Path) -> None:
    shutil.copytree(two_classes, place)
    for file in (place / "checkpoints").rglob("model.safetensors"):
        file.write_bytes(b"?")


def half(_source: Path, place: Path) -> None:
    safetensors.torch.save_file({"conv1.weight": torch.zeros(8, 3, 7, 7)}, place)
    place.write_bytes(place.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("name", "make", "error", "message"),
    [
        ("absent", lambda _s, _p: None, DataError, "does not exist; give a run, or a safetensors file"),
        ("absent.safetensors", lambda _s, _p: None, DataError, "(does not exist|No such file)"),
        ("w.pth", lambda _s, p: torch.save({"fc.bias": torch.zeros(2)}, p), DataError, "is not a safetensors file"),
        ("w.safetensors", half, DataError, "cannot read the weights in"),
        ("w.safetensors", lambda _s, p: p.write_bytes(b""), DataError, "is not a safetensors file"),
        ("w.safetensors", lambda _s, p: torch.save({}, p), DataError, "is not a safetensors file"),
        ("folder", lambda _s, p: p.mkdir(), RunError, "is not a run directory: it has no spec.json"),
        ("run", damaged_run, CheckpointError, "no checkpoint in .* is whole"),
        (
            "run",
            lambda s, p: (p.mkdir(), shutil.copy(s / "spec.json", p)),
            DataError,
            "has no checkpoint yet, so no weights",
        ),
    ],
)
def test_what_holds_no_weights_is_refused_in_one_line(
    name: str,
    make: Callable[[Path, Path], object],
    error: type[ReslabError],
    message: str,
    two_classes: Path,
    tmp_path: Path,
) -> None:
    make(two_classes, tmp_path / name)
    with pytest.raises(error, match=message) as refused:
        read_weights(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_stage_that_the_network_lacks_cannot_be_frozen(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    experiment = from_weights(tiny_photos, weights, freeze=["layer4"])
    with pytest.raises(
        SpecError,
        match=r"^--freeze: unknown part of this network 'layer4'.* \(choose from: stem, layer1, layer2, layer3\)$",
    ):
        train_on(photos, tmp_path / "run", experiment, weights=weights)
    assert not (tmp_path / "run").exists()


def test_a_run_that_never_began_cannot_begin_without_its_weights(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    experiment = from_weights(tiny_photos, read_weights(two_classes))
    for resume in (False, True):
        with pytest.raises(RunError, match="the weights that it begins from are not given"):
            train_on(photos, tmp_path / "run", experiment, resume=resume)
    assert not (tmp_path / "run").exists()


def test_weights_that_the_experiment_does_not_begin_from_are_refused(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    """The spec says which weights a run began from: it may say nothing else than what happened."""
    weights = read_weights(two_classes)
    for experiment in (tiny_photos, tiny_photos.but({"start": {"weights": "0" * 64}})):
        with pytest.raises(ReslabError, match="weights"):
            train_on(photos, tmp_path / "run", experiment, weights=weights)
    assert not (tmp_path / "run").exists()
