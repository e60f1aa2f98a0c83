"""Runs on parts of a random area and on growing crops: stopped and gone on with, too small, kept, from older files."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.listeners import StopAt

from reslab.core.errors import SpecError
from reslab.core.experiment import Experiment, Photographs
from reslab.core.files import canonical_json, sha256_text, write_json
from reslab.core.rundir import RunDirectory
from reslab.data.source import PictureFolder
from reslab.experiments.feed import Feed
from reslab.experiments.inputs import PhotoInputs, stored_inputs
from reslab.experiments.job import Outcome
from reslab.experiments.memory import fits
from reslab.experiments.networks import build
from reslab.experiments.session import begin
from reslab.experiments.weights import read_weights
from reslab.training import checkpoint
from reslab.transforms.mean_image import MeanImage

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]
CPU = torch.device("cpu")
WAYS: dict[str, dict[str, Any]] = {
    "area": {"area": {}},
    "growing": {"progressive": {"sides": [16, 48], "between": [0.2, 0.8], "multiple": 8}},
    "both": {"area": {"share": [0.3, 1]}, "progressive": {"sides": [16, 48], "between": [0.2, 0.8], "multiple": 8}},
}
SIDES = [16, 16, 24, 32, 32, 40, 48]  # 7 steps, from 1.4 to 5.6


@pytest.fixture(params=WAYS)
def experiment(request: pytest.FixtureRequest, tiny_photos: Experiment) -> Experiment:
    return tiny_photos.but({"model": {"width": 8}, "recipe": {"photographs": WAYS[request.param]}})


@pytest.fixture
def growing(tiny_photos: Experiment) -> Experiment:
    return tiny_photos.but({"recipe": {"photographs": WAYS["growing"]}})


def older_spec(run: Path) -> None:
    """Write the run's spec as it was before there were areas."""
    experiment = RunDirectory.open(run).experiment.model_dump(mode="json")
    for key in ("area", "progressive"):
        del experiment["recipe"]["photographs"][key]
    write_json(run / "spec.json", {"digest": sha256_text(canonical_json(experiment)), "experiment": experiment})


def settings_of(experiment: Experiment) -> Photographs:
    assert experiment.recipe.photographs is not None
    return experiment.recipe.photographs


def test_a_run_stopped_in_the_middle_ends_as_an_unbroken_one_does(
    experiment: Experiment,
    train_on: TrainOn,
    finished_on_photos: Path,
    photos: Path,
    numbers_of: NumbersOf,
    tmp_path: Path,
) -> None:
    train_on(photos, tmp_path / "whole", experiment)
    outcome = train_on(photos, tmp_path / "run", experiment, StopAt(3), workers=2)
    assert (outcome.signal, outcome.step) == (signal.SIGINT, 3)
    train_on(photos, tmp_path / "run", experiment, resume=True)
    whole, broken, plain = (numbers_of(run) for run in (tmp_path / "whole", tmp_path / "run", finished_on_photos))
    assert {name for name in whole.keys() | broken.keys() if whole.get(name) != broken.get(name)} == set()
    assert whole["metrics 0"] != plain["metrics 0"]
    assert whole["result"]["input_size"] == plain["result"]["input_size"] == 32


@pytest.mark.parametrize("consumed", [0, 3])
def test_a_network_is_fed_the_side_of_each_step(consumed: int, growing: Experiment, photos: Path) -> None:
    pictures, settings = PictureFolder(photos).read("train"), settings_of(growing)
    batches = PhotoInputs(settings).training(pictures, growing.recipe, 0, 8 * consumed, Feed(CPU, part=range(4, 8)))
    assert [tuple(batch.images.shape) for batch in batches] == [(4, 3, side, side) for side in SIDES[consumed:]]


def test_from_crops_of_another_size_than_the_mean_image_its_average_is_subtracted(
    growing: Experiment, photos: Path
) -> None:
    image = MeanImage(torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0)) * 255)
    contract = image.subtracted_by(settings_of(growing).contract)
    less = settings_of(growing).but({"contract": contract.model_dump(mode="json")})
    pictures = PictureFolder(photos).read("train")
    plain = settings_of(growing).but({"contract": {"mean": [0, 0, 0]}})
    found = PhotoInputs(less, image).training(pictures, growing.recipe, 0, 0, Feed(CPU))
    pixels = PhotoInputs(plain).training(pictures, growing.recipe, 0, 0, Feed(CPU))
    for side, batch, raw in zip(SIDES, found, pixels, strict=True):
        subtracted = image.pixels.permute(2, 0, 1)
        if side != 32:
            subtracted = torch.tensor(contract.mean)[:, None, None].expand(3, side, side)
        assert torch.equal(batch.images, raw.images - subtracted)


@pytest.mark.parametrize(
    ("sides", "group", "line"),
    [
        ([16, 48], 4, "16x16 pixels are too few for this network: it takes 32x32 or more"),
        ([32, 48], 1, "batch statistics of one picture, whose map of 32x32 pixels ends as 1x1, are none"),
        ([48, 64], 1, None),
        ([32, 48], 4, None),
    ],
)
def test_the_smallest_crops_must_not_be_too_small(
    sides: list[int], group: int, line: str | None, tiny_photos: Experiment, photos: Path
) -> None:
    progressive = {"sides": sides, "multiple": 16}
    changed = tiny_photos.but(
        {
            "model": {"name": "resnet18", "width": 8},
            "recipe": {"bn_group": group, "photographs": {"progressive": progressive}},
        }
    )
    pictures = PictureFolder(photos).read("train")
    if line is None:
        begin(build(changed.model, 3), pictures, changed.recipe, Feed(CPU))
        return
    with pytest.raises(SpecError, match=line):
        begin(build(changed.model, 3), pictures, changed.recipe, Feed(CPU))


def test_the_crop_of_testing_must_not_be_too_small_where_those_of_training_are_not(
    tiny_photos: Experiment, photos: Path
) -> None:
    photographs = {"contract": {"crop": 16}, "scale": [16, 20], "progressive": {"sides": [32, 64]}}
    changed = tiny_photos.but({"model": {"name": "resnet18", "width": 8}, "recipe": {"photographs": photographs}})
    with pytest.raises(SpecError, match="16x16 pixels are too few"):
        begin(build(changed.model, 3), PictureFolder(photos).read("train"), changed.recipe, Feed(CPU))


def test_what_fits_into_memory_is_tried_with_the_largest_crops(growing: Experiment, photos: Path) -> None:
    session = begin(build(growing.model, 3), PictureFolder(photos).read("train"), growing.recipe, Feed(CPU))
    seen: list[tuple[int, ...]] = []
    session.net.register_forward_pre_hook(lambda _net, given: seen.append(tuple(given[0].shape)))
    assert fits(session, 4)
    assert set(seen) == {(4, 3, 48, 48)}


def test_a_checkpoint_keeps_how_its_crops_were_made(
    experiment: Experiment, train_on: TrainOn, photos: Path, tmp_path: Path
) -> None:
    train_on(photos, tmp_path / "run", experiment)
    kept = read_weights(tmp_path / "run").photographs
    assert kept == settings_of(experiment)
    found = checkpoint.newest(tmp_path / "run" / "checkpoints", pytest.fail)
    assert found is not None
    inputs = stored_inputs(found.facts["preprocessing"], {})
    assert inputs.sides == settings_of(experiment).sides


def test_what_was_written_before_there_were_areas_is_read_tested_and_gone_on_with(
    train_on: TrainOn,
    tiny_photos: Experiment,
    photos: Path,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    train_on(photos, run, notify=StopAt(3))
    step = run / "checkpoints" / "step-3"
    found = checkpoint.read(step)
    facts = dict(found.facts)
    facts["preprocessing"] = {
        key: value for key, value in facts["preprocessing"].items() if key not in ("area", "progressive")
    }
    assert facts["preprocessing"].keys() == found.facts["preprocessing"].keys() - {"area", "progressive"}
    assert len(facts["preprocessing"]) == len(found.facts["preprocessing"]) - 2
    checkpoint.write(tmp_path / "older", found.parts, facts)
    assert read_weights(tmp_path / "older").photographs == settings_of(tiny_photos)
    older_spec(run)
    train_on(photos, run, resume=True)
    whole, broken = numbers_of(finished_on_photos), numbers_of(run)
    assert {name for name in whole.keys() | broken.keys() if whole.get(name) != broken.get(name)} == set()
