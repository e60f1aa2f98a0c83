"""Runs on photographs whose colours change, or from whose crops a mean image is subtracted."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from tests.listeners import StopAt
from torch.nn import functional as F

from reslab.core.errors import CheckpointError, DataError, SpecError
from reslab.core.experiment import Experiment, Photographs
from reslab.data import chance
from reslab.data.loader import training_crops
from reslab.data.source import PictureFolder
from reslab.data.stats import mean_image, photograph_sums
from reslab.experiments.execute import weights_generator
from reslab.experiments.exporting import export_weights
from reslab.experiments.feed import Feed
from reslab.experiments.fine_tune import require_fitting
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.job import Outcome
from reslab.experiments.networks import build
from reslab.experiments.weights import Held, complete, hold, read_weights
from reslab.training import checkpoint
from reslab.transforms.mean_image import MeanImage

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def image(photos: Path, tiny_photos: Experiment) -> MeanImage:
    settings = tiny_photos.recipe.photographs
    assert settings is not None
    return mean_image(photograph_sums(PictureFolder(photos).read("train"), settings.contract))


@pytest.fixture(scope="module")
def coloured(tiny_photos: Experiment) -> Experiment:
    return tiny_photos.but({"recipe": {"photographs": {"colour": {}}}})


@pytest.fixture(scope="module")
def both(coloured: Experiment, image: MeanImage) -> Experiment:
    """Colours change, and the mean image is subtracted."""
    settings = coloured.recipe.photographs
    assert settings is not None
    contract = image.subtracted_by(settings.contract)
    return coloured.but({"recipe": {"photographs": {"contract": contract.model_dump(mode="json")}}})


@pytest.fixture(scope="module")
def finished(
    train_on: TrainOn, photos: Path, both: Experiment, image: MeanImage, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An unbroken run; nobody may change it."""
    run = tmp_path_factory.mktemp("both") / "run"
    assert train_on(photos, run, both, mean_image=image).signal is None
    return run


def settings_of(experiment: Experiment) -> Photographs:
    assert experiment.recipe.photographs is not None
    return experiment.recipe.photographs


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_the_crop_and_its_colour_less_the_mean_image(
    photos: Path, both: Experiment, image: MeanImage, workers: int
) -> None:
    """Against one picture at a time, in float64."""
    settings, pictures = settings_of(both), PictureFolder(photos).read("train")
    batches = list(PhotoInputs(settings, image).training(pictures, both.recipe, 3, 0, Feed(CPU, workers)))
    plain = training_crops(pictures, batch=8, steps=7, seed=3, settings=settings.but({"colour": None}))
    colour, seen = settings.colour, 0
    assert colour is not None
    for batch, crops in zip(batches, plain, strict=True):
        assert torch.equal(batch.indices, crops.indices)
        for found, crop, number in zip(batch.images, crops.pixels, crops.indices.tolist(), strict=True):
            normals = chance.normal(3, chance.COLOUR, seen // 24, np.array([number]), 3)[0]
            added = 255 * np.array(colour.eigenvectors) @ (0.1 * normals * np.array(colour.eigenvalues))
            expected = crop.numpy().astype(np.float64) + added - image.pixels.numpy()
            assert found.permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-4)
            seen += 1
    assert seen == 56


def test_without_colours_a_run_is_what_it_was(
    train_on: TrainOn,
    photos: Path,
    coloured: Experiment,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    tmp_path: Path,
) -> None:
    train_on(photos, tmp_path / "off", coloured.but({"recipe": {"photographs": {"colour": None}}}))
    train_on(photos, tmp_path / "on", coloured)
    plain, off, on = (numbers_of(run) for run in (finished_on_photos, tmp_path / "off", tmp_path / "on"))
    assert off == plain
    assert on["model conv1.weight"] != plain["model conv1.weight"]


@pytest.mark.parametrize(("stops", "workers"), [((3,), 2), ((1, 4), 0)])
def test_a_run_stopped_anywhere_ends_as_an_unbroken_one_does(
    stops: tuple[int, ...],
    workers: int,
    train_on: TrainOn,
    photos: Path,
    both: Experiment,
    image: MeanImage,
    finished: Path,
    numbers_of: NumbersOf,
    tmp_path: Path,
) -> None:
    """The image travels with the checkpoint: whoever goes on need not give it."""
    run = tmp_path / "run"
    for stop in stops:
        given = {"mean_image": image} if stop == stops[0] else {"resume": True}
        outcome = train_on(photos, run, both, StopAt(stop), workers=workers, **given)
        assert (outcome.signal, outcome.step) == (signal.SIGINT, stop)
    train_on(photos, run, both, resume=True, workers=workers)
    whole, broken = numbers_of(finished), numbers_of(run)
    assert "form mean" in whole
    assert {name for name in whole.keys() | broken.keys() if whole.get(name) != broken.get(name)} == set()


def test_weights_say_that_a_mean_image_was_subtracted_and_bring_it(finished: Path, image: MeanImage) -> None:
    weights = read_weights(finished)
    assert weights.mean_image is not None
    assert torch.equal(weights.mean_image.pixels, image.pixels)
    assert weights.photographs is not None
    assert weights.photographs.contract.mean_image == image.digest
    alone = read_weights(next((finished / "checkpoints").glob("step-7")) / "model.safetensors")
    with pytest.raises(DataError, match="lacks the mean picture, which lies beside it: give its folder"):
        complete(alone)


def test_a_training_that_begins_from_such_weights_subtracts_their_image(
    train_on: TrainOn, photos: Path, finished: Path, both: Experiment, image: MeanImage, tmp_path: Path
) -> None:
    weights = read_weights(finished)
    tuned = both.but({"start": {"weights": weights.digest}})
    train_on(photos, tmp_path / "tuned", tuned, weights=weights)
    kept = read_weights(tmp_path / "tuned").mean_image
    assert kept is not None
    assert kept.digest == image.digest


def test_weights_of_another_mean_are_refused(tiny_photos: Experiment, finished: Path, image: MeanImage) -> None:
    weights = read_weights(finished)
    start = tiny_photos.but({"start": {"weights": weights.digest}})
    line = (
        rf"has weights for pictures with mean \(.*\), mean image {image.digest[:12]}, not with mean .*, mean image none"
    )
    with pytest.raises(DataError, match=line):
        require_fitting(weights, start)
    held = Held({}, settings_of(tiny_photos).contract, force=True)
    forced = hold(weights, held)
    assert forced.mean_image is None
    assert len(forced.forced) == 1


def test_what_cannot_express_a_mean_image_is_not_given_one(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"timm cannot express CIFAR networks, .*a mean image"):
        export_weights(read_weights(finished), "timm", tmp_path / "timm")
    export_weights(read_weights(finished), "safetensors", tmp_path / "own")
    assert read_weights(tmp_path / "own").mean_image is not None


def test_an_image_that_is_missing_or_another_is_one_line(
    train_on: TrainOn, photos: Path, both: Experiment, image: MeanImage, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match="the experiment subtracts a mean image: give it with --mean-image"):
        train_on(photos, tmp_path / "run", both)
    other = MeanImage(image.pixels / 2)
    with pytest.raises(DataError, match=f"the mean image has sha256 {other.digest}, and {image.digest} is to be"):
        train_on(photos, tmp_path / "run", both, mean_image=other)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda form: form.clear(), "the mean image with sha256 .* is to be subtracted, and is not given"),
        (lambda form: form.update(mean=form["mean"] + 1e-3), "the mean image has sha256 "),
        (lambda form: form.update(mean=form["mean"][0]), "a mean image is a square of float32 pixels in RGB"),
    ],
    ids=["gone", "another", "none"],
)
def test_a_checkpoint_whose_image_is_not_the_contracts_is_damaged(
    change: Callable[[dict[str, torch.Tensor]], None], line: str, finished: Path, tmp_path: Path
) -> None:
    found = checkpoint.read(finished / "checkpoints" / "step-7")
    form = found.parts[checkpoint.FORM]
    change(form)
    checkpoint.write(tmp_path / "copy", {**found.parts, checkpoint.FORM: form}, found.facts)
    with pytest.raises(CheckpointError, match=f"copy is damaged: {line}"):
        read_weights(tmp_path / "copy")


def test_grey_pictures_gain_colours_too(train_on: TrainOn, own: Path, coloured: Experiment, tmp_path: Path) -> None:
    for place in own.rglob("*.jpg"):
        with Image.open(place) as picture:
            grey = picture.convert("L")
        grey.save(place)
    assert train_on(own, tmp_path / "run", coloured).signal is None
    pictures = PictureFolder(own).read("train")
    (first, *_) = PhotoInputs(settings_of(coloured)).training(pictures, coloured.recipe, 0, 0, Feed(CPU))
    pixels = first.images + torch.tensor(settings_of(coloured).contract.mean)[:, None, None]
    apart = pixels - pixels.mean(dim=1, keepdim=True)
    assert (apart.abs().amax(dim=(1, 2, 3)) > 1e-3).all()
    assert torch.allclose(apart, apart[:, :, :1, :1].expand_as(apart), atol=1e-3)


def test_two_steps_with_colours_are_those_of_sgd_written_out(
    photos: Path, both: Experiment, image: MeanImage, train_on: TrainOn, tmp_path: Path
) -> None:
    experiment = both.but({"recipe": {"steps": 2, "bn_group": 8, "evaluate_every": 2}})
    train_on(photos, tmp_path / "run", experiment, mean_image=image)
    net = build(experiment.model, 3, weights_generator(experiment.seed))
    pictures = PictureFolder(photos).read("train")
    velocity: dict[str, torch.Tensor] = {}
    net.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    batches = PhotoInputs(settings_of(experiment), image).training(pictures, experiment.recipe, 0, 0, Feed(CPU))
    for batch, rate in zip(batches, (0.1, 0.01), strict=True):
        net.zero_grad()
        F.cross_entropy(net(batch.images), batch.labels).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None
            decay = 1e-4 if parameter.dim() > 1 else 0
            gradient = parameter.grad + decay * parameter.detach()
            velocity[name] = 0.9 * velocity[name] + gradient if name in velocity else gradient
            parameter.data -= rate * velocity[name]
    found = safetensors.torch.load_file(tmp_path / "run" / "checkpoints" / "step-2" / "model.safetensors")
    for name, parameter in net.named_parameters():
        assert torch.allclose(found[name], parameter, atol=1e-4), name
