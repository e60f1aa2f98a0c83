"""Training that begins from trained weights: what is taken, kept, learned slowly."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.listeners import StopAt
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.contract import CONTRACTS
from reslab.core.errors import DataError
from reslab.core.experiment import Experiment, ModelSpec, Start
from reslab.data.loader import training_crops
from reslab.data.source import PictureFolder
from reslab.experiments.execute import _Execution
from reslab.experiments.fine_tune import fill, tune
from reslab.experiments.job import Job, Outcome
from reslab.experiments.networks import build, weights_generator
from reslab.experiments.notify import Notify
from reslab.experiments.weights import Weights, read_weights
from reslab.experiments.world import ALONE
from reslab.training import checkpoint
from reslab.transforms.photographs import PhotoForm

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]
TorchvisionFile = Callable[[Path, ModelSpec], Path]


class Warnings(Notify):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def warned(self, text: str) -> None:
        self.heard.append(text)


def model_of(run: Path) -> dict[str, Tensor]:
    found = checkpoint.newest(run / "checkpoints", pytest.fail)
    assert found is not None
    return found.parts["model"]


def from_weights(experiment: Experiment, weights: Weights, **start: Any) -> Experiment:
    return experiment.but({"start": {"weights": weights.digest, **start}})


@pytest.fixture
def prepared(photos: Path, tmp_path: Path) -> Callable[..., nn.Module]:
    """The network as it stands before the first step."""

    def prepare(experiment: Experiment, weights: Weights | None) -> nn.Module:
        job = Job(data=str(photos), out=tmp_path / "never", workers=0, weights=weights)
        return _Execution(experiment, job, Notify(), PictureFolder(photos), torch.device("cpu"), ALONE).session.net

    return prepare


def test_from_a_run_the_body_is_taken_and_the_head_is_new(
    two_classes: Path, tiny_photos: Experiment, prepared: Callable[..., nn.Module]
) -> None:
    weights = read_weights(two_classes)
    body, fresh = model_of(two_classes), prepared(tiny_photos, None).state_dict()
    net = prepared(from_weights(tiny_photos, weights), weights)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, (fresh if name.startswith("fc.") else body)[name]), name
    assert body["fc.weight"].shape == (2, 16)
    assert net.state_dict()["fc.weight"].shape == (3, 16)


@pytest.mark.parametrize("spec", [ModelSpec(name="resnet18", width=8), ModelSpec(name="cifar-resnet8", width=4)])
def test_from_a_file_the_body_is_taken_and_the_head_is_new(
    spec: ModelSpec,
    torchvision_file: TorchvisionFile,
    tiny_photos: Experiment,
    prepared: Callable[..., nn.Module],
    tmp_path: Path,
) -> None:
    weights = read_weights(torchvision_file(tmp_path / "w.safetensors", spec))
    assert (weights.model, weights.photographs) == (None, None)
    experiment = tiny_photos.but({"model": spec.model_dump(mode="json")})
    fresh = prepared(experiment, None).state_dict()
    net = prepared(from_weights(experiment, weights), weights)
    assert weights.tensors is not None
    for name, tensor in net.state_dict().items():
        given = fresh[name] if name.startswith("fc.") else weights.tensors.get(name)
        assert torch.equal(tensor, given if given is not None else torch.tensor(0)), name
    assert net.state_dict()["fc.weight"].shape[0] == 3


def test_half_precision_weights_become_single(
    torchvision_file: TorchvisionFile, tiny_photos: Experiment, prepared: Callable[..., nn.Module], tmp_path: Path
) -> None:
    file = torchvision_file(tmp_path / "w.safetensors", tiny_photos.model)
    halves = {name: tensor.half() for name, tensor in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(halves, file)
    weights = read_weights(file)
    net = prepared(from_weights(tiny_photos, weights), weights)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}
    assert torch.equal(net.state_dict()["conv1.weight"], halves["conv1.weight"].float())


@pytest.mark.parametrize(
    ("freeze", "kept"),
    [
        (["stem", "layer1"], ("conv1.", "bn1.", "layer1.")),
        (["layer2"], ("layer2.",)),
        (["layer3", "stem", "layer2", "layer1"], ("conv1.", "bn1.", "layer")),
    ],
)
def test_frozen_stages_stay_bit_for_bit_and_the_others_change(
    freeze: list[str],
    kept: tuple[str, ...],
    train_on: TrainOn,
    two_classes: Path,
    photos: Path,
    tiny_photos: Experiment,
    tmp_path: Path,
) -> None:
    """Also after a test on the way, which puts the whole network into evaluation mode."""
    weights = read_weights(two_classes)
    train_on(photos, tmp_path / "run", from_weights(tiny_photos, weights, freeze=freeze), weights=weights)
    before, after = model_of(two_classes), model_of(tmp_path / "run")
    for name, tensor in after.items():
        if name.startswith("fc."):
            continue
        assert torch.equal(tensor, before[name]) == name.startswith(kept), name
    momentum = checkpoint.read(tmp_path / "run" / "checkpoints" / "step-7").parts["momentum"]
    assert not any(name.startswith(kept) for name in momentum)
    assert "fc.weight" in momentum


def test_frozen_batch_normalisation_is_fed_stored_statistics_while_training(
    two_classes: Path, photos: Path, tiny_photos: Experiment, train_on: TrainOn, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    modes: dict[str, set[bool]] = {}
    real = nn.BatchNorm2d.forward

    def forward(module: nn.BatchNorm2d, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            modes.setdefault("frozen" if not module.weight.requires_grad else "free", set()).add(module.training)
        return real(module, images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.BatchNorm2d, "forward", forward)
        chosen = from_weights(tiny_photos, weights, freeze=["stem", "layer1"])
        train_on(photos, tmp_path / "run", chosen, weights=weights)
    assert modes == {"frozen": {False}, "free": {True}}


@pytest.mark.parametrize(("rate", "freeze"), [(0.1, ()), (0.25, ("stem", "layer1"))])
def test_one_update_is_what_the_rates_say(
    rate: float,
    freeze: tuple[str, ...],
    two_classes: Path,
    photos: Path,
    tiny_photos: Experiment,
    train_on: TrainOn,
    tmp_path: Path,
) -> None:
    weights = read_weights(two_classes)
    optim = {"lr": 0.2, "weight_decay": 0.01}
    once = tiny_photos.but({"recipe": {"steps": 1, "bn_group": 8, "optim": optim, "schedule": {"drops": []}}})
    experiment = from_weights(once, weights, freeze=freeze, body_rate=rate)
    train_on(photos, tmp_path / "run", experiment, weights=weights)

    net = build(experiment.model, 3, weights_generator(0))
    fill(net, weights)
    net.train()
    tune(net, Start(weights=weights.digest, freeze=freeze))
    settings = experiment.recipe.photographs
    assert settings is not None
    (batch,) = training_crops(PictureFolder(photos).read("train"), batch=8, steps=1, seed=0, settings=settings)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    F.cross_entropy(net(PhotoForm(settings.contract).input(batch.pixels)), batch.labels).backward()
    after = model_of(tmp_path / "run")
    for name, parameter in net.named_parameters():
        if parameter.grad is None:
            expected = parameter
        else:
            full = 0.2 * (1.0 if name.startswith("fc.") else rate)
            decay = 0.01 if parameter.ndim > 1 else 0.0
            expected = parameter - full * (parameter.grad + decay * parameter)
        torch.testing.assert_close(after[name], expected.detach(), rtol=1e-5, atol=1e-6)


def test_the_rate_that_is_written_down_is_the_classifiers(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    train_on(photos, tmp_path / "run", from_weights(tiny_photos, weights, body_rate=0.5), weights=weights)
    first = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0]
    assert '"lr": 0.1' in first


def tuned(experiment: Experiment, weights: Weights) -> Experiment:
    return from_weights(experiment, weights, freeze=["stem"], body_rate=0.3)


def test_a_fine_tuned_run_that_was_stopped_ends_as_an_unbroken_one_does_even_without_its_source(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, numbers_of: NumbersOf, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    experiment = tuned(tiny_photos, weights)
    train_on(photos, tmp_path / "unbroken", experiment, weights=weights)
    train_on(photos, tmp_path / "broken", experiment, StopAt(2), weights=weights)
    train_on(photos, tmp_path / "broken", experiment, StopAt(4), weights=weights, resume=True, workers=2)
    train_on(photos, tmp_path / "broken", experiment, resume=True)
    whole, found = (numbers_of(tmp_path / name) for name in ("unbroken", "broken"))
    assert {name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name)} == set()


def test_a_run_notes_its_weights_and_says_where_pictures_are_prepared_otherwise(
    train_on: TrainOn, two_classes: Path, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    weights, warnings = read_weights(two_classes), Warnings()
    same = from_weights(tiny_photos, weights)
    caffe = CONTRACTS["caffe"].model_dump(mode="json", include={"order", "mean", "std"})
    other = same.but({"recipe": {"photographs": {"contract": caffe}}})
    with pytest.raises(
        DataError, match=r"has weights for pictures with order RGB, .*, not with order BGR, .* force it$"
    ):
        train_on(photos, tmp_path / "refused", other, weights=weights)
    forced = other.but({"start": {"force": True}})
    for experiment, overridden in ((same, False), (forced, True)):
        run = tmp_path / f"run-{overridden}"
        train_on(photos, run, experiment, warnings, weights=weights)
        noted = json.loads((run / "environment.json").read_text())["weights"]
        assert (noted["place"], noted["sha256"]) == (str(two_classes), weights.digest)
        assert noted["model"] == tiny_photos.model.model_dump(mode="json")
        assert len(noted["forced"]) == overridden
        assert len(warnings.heard) == overridden
    assert warnings.heard[0].startswith(f"forced: {two_classes} has weights for pictures with order RGB")


def test_small_pictures_can_be_fine_tuned_too(carry_out: TrainOn, tiny: Experiment, tmp_path: Path) -> None:
    carry_out(tmp_path / "first")
    weights = read_weights(tmp_path / "first")
    experiment = from_weights(tiny, weights, freeze=["stem"])
    assert carry_out(tmp_path / "second", experiment, weights=weights).step == 8
    before, after = model_of(tmp_path / "first"), model_of(tmp_path / "second")
    assert torch.equal(before["bn1.running_mean"], after["bn1.running_mean"])
    assert not torch.equal(before["layer1.0.conv1.weight"], after["layer1.0.conv1.weight"])
