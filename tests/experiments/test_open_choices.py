"""Runs by other interpolation and other initial weights than the usual: what they say, and that it is so."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from reslab.core.contract import CONTRACTS, Contract
from reslab.core.errors import DataError
from reslab.core.experiment import Experiment, Init, Recipe
from reslab.core.files import canonical_json, sha256_text
from reslab.core.rundir import RunDirectory
from reslab.data.source import PictureFolder
from reslab.evaluation.scores import read_scores
from reslab.experiments.fine_tune import require_fitting
from reslab.experiments.inputs import PhotoInputs, stored_inputs
from reslab.experiments.job import Outcome
from reslab.experiments.networks import build, weights_generator
from reslab.experiments.weights import Held, Weights, hold, network_of, read_weights
from reslab.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]


def with_contract(experiment: Experiment, **changes: Any) -> Experiment:
    return experiment.but({"recipe": {"photographs": {"contract": changes}}})


@pytest.fixture(scope="module")
def cubic(tiny_photos: Experiment) -> Experiment:
    return with_contract(tiny_photos, resample="bicubic", shorter_side=40)


@pytest.fixture(scope="module")
def finished(train_on: TrainOn, photos: Path, cubic: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run on pictures that are resized bicubically; nobody may change it."""
    run = tmp_path_factory.mktemp("cubic") / "run"
    assert train_on(photos, run, cubic).signal is None
    return run


def kept_in(run: Path) -> Mapping[str, Any]:
    found = checkpoint.newest(run / "checkpoints", pytest.fail)
    assert found is not None
    preprocessing: Mapping[str, Any] = found.facts["preprocessing"]
    return preprocessing


def answers(run: Path, photos: Path, filter_: Image.Resampling) -> Tensor:
    """Probabilities of the run's network for the central crops of what was held out, read and resized by Pillow."""
    index, crops = PictureFolder(photos).read("val").index, []
    for number in range(len(index)):
        with Image.open(photos / index.path(number)) as file:
            picture = file.convert("RGB")
        short = min(picture.size)
        resized = picture.resize((40 * picture.width // short, 40 * picture.height // short), filter_)
        left, top = (round((side - 32) / 2) for side in resized.size)
        crops.append(np.asarray(resized.crop((left, top, left + 32, top + 32)), np.float32) - Contract().mean)
    net = network_of(read_weights(run)).eval()
    with torch.no_grad():
        return F.softmax(net(torch.from_numpy(np.stack(crops)).float().permute(0, 3, 1, 2)), dim=1)


def test_a_run_says_how_its_pictures_were_resized_and_is_tested_so(finished: Path, photos: Path) -> None:
    kept = kept_in(finished)
    assert (kept["resample"], kept["contract"]["resample"]) == ("bicubic, antialiased", "bicubic")
    facts = json.loads((finished / "scores" / "center-val" / "protocol.json").read_text())
    assert facts["preprocessing"]["resample"] == "bicubic, antialiased"
    found = read_scores(finished / "scores" / "center-val").probabilities
    torch.testing.assert_close(found, answers(finished, photos, Image.Resampling.BICUBIC), rtol=0, atol=1e-6)
    assert (found - answers(finished, photos, Image.Resampling.BILINEAR)).abs().max() > 1e-5


def test_training_crops_are_resized_so_too(
    finished: Path, train_on: TrainOn, photos: Path, tiny_photos: Experiment, tmp_path: Path
) -> None:
    train_on(photos, tmp_path / "run", with_contract(tiny_photos, shorter_side=40))
    losses = [
        [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (finished, tmp_path / "run")
    ]
    assert len(losses[0]) == len(losses[1]) == 7
    assert all(one != other for one, other in zip(*losses, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resample": "bilinear"}, "weights for pictures with resample bicubic, not with resample bilinear"),
        (
            {"resample": "bilinear", "order": "BGR"},
            "weights for pictures with order RGB, resample bicubic, not with order BGR, resample bilinear",
        ),
    ],
)
def test_weights_of_another_resampling_are_refused_unless_forced(
    changes: dict[str, Any], message: str, finished: Path, cubic: Experiment
) -> None:
    weights = read_weights(finished)
    experiment = cubic.but({"start": {"weights": weights.digest}})
    require_fitting(weights, experiment)
    other = with_contract(experiment, **changes)
    with pytest.raises(DataError, match=f"has {re.escape(message)}; to use them all the same, force it$"):
        require_fitting(weights, other)
    require_fitting(weights, other.but({"start": {"force": True}}))


def test_weights_are_not_held_to_be_of_a_preprocessing_with_another_resampling(finished: Path) -> None:
    weights = read_weights(finished)
    with pytest.raises(DataError, match="has weights for pictures with resample bicubic, not with resample bilinear"):
        hold(weights, Held({}, CONTRACTS["paper"]))
    asked = CONTRACTS["paper"].but({"resample": "bicubic"})
    assert hold(weights, Held({}, asked)).forced == ()
    forced = hold(weights, Held({}, CONTRACTS["paper"], force=True))
    assert isinstance(forced.inputs, PhotoInputs)
    assert forced.inputs.settings.contract.resample == "bilinear"
    assert len(forced.forced) == 1


def older(run: Path, out: Path) -> Path:
    """The run as it was written before there were these settings: neither spec nor checkpoints name them."""
    shutil.copytree(run, out)
    spec = json.loads((out / "spec.json").read_text())
    del spec["experiment"]["recipe"]["init"], spec["experiment"]["recipe"]["photographs"]["contract"]["resample"]
    spec["digest"] = sha256_text(canonical_json(spec["experiment"]))
    (out / "spec.json").write_text(json.dumps(spec))
    for place in (out / "checkpoints").glob("step-*"):
        found = checkpoint.read(place)
        shutil.rmtree(place)
        del found.facts["preprocessing"]["contract"]["resample"]
        found.facts["spec"] = spec["digest"]
        checkpoint.write(place, found.parts, found.facts, None)
    return out


def test_an_older_run_is_read_as_bilinear_and_by_the_usual_initial_weights(
    finished_on_photos: Path, tmp_path: Path
) -> None:
    run = older(finished_on_photos, tmp_path / "old")
    assert "resample" not in kept_in(run)["contract"]
    now = RunDirectory.open(finished_on_photos).experiment
    assert RunDirectory.open(run).experiment == now
    assert now.recipe.init == Init()
    theirs, ours = read_weights(run), read_weights(finished_on_photos)
    assert isinstance(theirs.inputs, PhotoInputs)
    assert theirs.inputs == ours.inputs
    assert theirs.inputs.settings.contract.resample == "bilinear"
    require_fitting(theirs, now.but({"start": {"weights": theirs.digest}}))


def test_an_older_run_goes_on_with_the_same_bits(
    finished_on_photos: Path, train_on: TrainOn, numbers_of: NumbersOf, photos: Path, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    assert train_on(photos, stopped, keep=9, checkpoint_every=3).signal is None
    run = older(stopped, tmp_path / "old")
    shutil.rmtree(run / "checkpoints" / "step-7")
    shutil.rmtree(run / "scores")
    (run / "result.json").unlink()
    outcome = train_on(photos, run, resume=True, checkpoint_every=3)
    assert outcome.result is not None
    assert numbers_of(run) == numbers_of(finished_on_photos)


def test_forms_survive_their_contract(cubic: Experiment) -> None:
    assert cubic.recipe.photographs is not None
    inputs = PhotoInputs(cubic.recipe.photographs)
    assert inputs.contract()["resample"] == "bicubic, antialiased"
    assert stored_inputs(json.loads(json.dumps(inputs.contract())), {}) == inputs


def first_weights(carry_out: Callable[..., Outcome], tiny: Experiment, out: Path, **init: str) -> dict[str, Tensor]:
    """Of a run whose rate is too small to change any."""
    still = {"lr": 1e-30, "weight_decay": 0.0}
    carry_out(out, tiny.but({"recipe": {"steps": 1, "optim": still, "init": init}}))
    return checkpoint.read(out / "checkpoints" / "step-1").parts["model"]


@pytest.mark.parametrize("init", [{}, {"fan": "fan_in"}, {"classifier": "he"}, {"fan": "fan_in", "classifier": "he"}])
def test_a_run_begins_from_the_weights_that_its_recipe_says(
    init: dict[str, str], carry_out: Callable[..., Outcome], tiny: Experiment, tmp_path: Path
) -> None:
    found = first_weights(carry_out, tiny, tmp_path / "run", **init)
    rule, source = Init.parse(init), weights_generator(0)
    for name in build(tiny.model).state_dict():  # the order of layers, in which they are drawn
        weight = found[name]
        if weight.dim() == 4:
            outputs, inputs, height, width = weight.shape
            std = (2 / (height * width * (outputs if rule.fan == "fan_out" else inputs))) ** 0.5
        elif name == "fc.weight":
            std = (2 / weight.shape[1]) ** 0.5
        else:
            continue
        drawn = torch.empty(weight.shape)
        if name == "fc.weight" and rule.classifier == "uniform":
            drawn.uniform_(-(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5, generator=source)
        else:
            drawn.normal_(0, std, generator=source)
        assert torch.equal(weight, drawn), name
    assert RunDirectory.open(tmp_path / "run").experiment.recipe.init == rule


def test_from_trained_weights_the_new_classifier_begins_as_the_recipe_says(
    train_on: TrainOn, two_classes: Path, tiny_photos: Experiment, photos: Path, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    still = {"steps": 1, "optim": {"lr": 1e-30, "weight_decay": 0.0}, "init": {"classifier": "he", "fan": "fan_in"}}
    experiment = tiny_photos.but({"recipe": still, "start": {"weights": weights.digest}})
    train_on(photos, tmp_path / "run", experiment, weights=weights)
    after = checkpoint.read(tmp_path / "run" / "checkpoints" / "step-1").parts["model"]
    fresh = build(experiment.model, 3, weights_generator(0), experiment.recipe.init).state_dict()
    usual = build(experiment.model, 3, weights_generator(0)).state_dict()
    assert torch.equal(after["fc.weight"], fresh["fc.weight"])
    assert not torch.equal(after["fc.weight"], usual["fc.weight"])
    assert weights.tensors is not None
    assert torch.equal(after["conv1.weight"], weights.tensors["conv1.weight"])


def test_initial_weights_are_no_part_of_what_weights_are_of(tiny_photos: Experiment, two_classes: Path) -> None:
    """A training may begin from weights whose run began otherwise."""
    weights: Weights = read_weights(two_classes)
    other = tiny_photos.but({"recipe": {"init": {"fan": "fan_in"}}, "start": {"weights": weights.digest}})
    require_fitting(weights, other)
    with pytest.raises(DataError, match="bicubic"):
        require_fitting(weights, other.but({"recipe": {"photographs": {"contract": {"resample": "bicubic"}}}}))


def test_a_recipe_without_a_word_about_initial_weights_has_the_usual_ones() -> None:
    said = Recipe().model_dump(mode="json")
    assert said.pop("init") == {"fan": "fan_out", "classifier": "uniform"}
    assert Recipe.parse(said) == Recipe()
