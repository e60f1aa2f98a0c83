"""Batch statistics recomputed after the last step of a run: over which pictures, to what end, however often broken."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.listeners import StopAveraging
from tests.tested import on_cuda
from torch import Tensor, nn

from reslab.core.errors import CheckpointError, SpecError
from reslab.core.experiment import Experiment
from reslab.core.files import sha256_file
from reslab.core.intervals import Count
from reslab.data import chance
from reslab.data.draws import Drawer
from reslab.data.parts import Split
from reslab.data.pictures import Pictures
from reslab.data.source import PictureFolder
from reslab.evaluation.paired import paired
from reslab.evaluation.scores import read_scores
from reslab.experiments import execute as executing
from reslab.experiments.averaging import Averaging, pictures_averaged
from reslab.experiments.job import Outcome
from reslab.experiments.networks import build
from reslab.experiments.notify import Notify
from reslab.experiments.weights import read_weights
from reslab.training import checkpoint
from reslab.transforms.cifar import CifarForm, per_pixel_mean

pytestmark = pytest.mark.usefixtures("quick_disk")

Session = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]
WALL_CLOCK = {"seconds", "images_per_second"}
ASKED, PICTURES, GROUPS = 150, 160, 10  # whole batches of 32, in groups of 16; 8 steps came before


@pytest.fixture(scope="module")
def averaging(tiny: Experiment) -> Experiment:
    return tiny.but({"recipe": {"bn_average": ASKED}})


@pytest.fixture(scope="module")
def moving(carry_out: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with moving averages; nobody may change it."""
    run = tmp_path_factory.mktemp("moving") / "run"
    carry_out(run)
    return run


@pytest.fixture(scope="module")
def unbroken(carry_out: Session, averaging: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody may change it."""
    run = tmp_path_factory.mktemp("unbroken") / "run"
    outcome = carry_out(run, averaging)
    assert (outcome.signal, outcome.stopped) == (None, False)
    assert outcome.result is not None
    return run


def last(run: Path) -> checkpoint.Checkpoint:
    return checkpoint.read(run / "checkpoints" / "step-8")


def result_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def small_numbers(run: Path) -> dict[str, Any]:
    """Every byte of a finished run that comes from no clock, under a name of its own."""
    files = [*(run / "checkpoints" / "step-8").glob("*.safetensors"), *(run / "scores" / "single-val").iterdir()]
    numbers: dict[str, Any] = {str(file.relative_to(run)): file.read_bytes() for file in files}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    numbers["metrics"] = [{key: value for key, value in line.items() if key not in WALL_CLOCK} for line in lines]
    numbers["result"] = {key: value for key, value in result_of(run).items() if key not in WALL_CLOCK}
    return numbers | {"facts": last(run).facts["bn_average"], "checkpoints": checkpoint.steps(run / "checkpoints")}


def statistics(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.endswith(("running_mean", "running_var"))}


def counted_by_hand(moving: Path, experiment: Experiment, pictures: Pictures) -> dict[str, np.ndarray]:
    """Statistics over the pictures after those of 8 steps, from the epochs' orders, a group at a time, in float64."""
    recipe, first = experiment.recipe, 8 * 32
    order = np.concatenate([chance.order(0, epoch, 100) for epoch in range(5)])
    indices, corners, mirrored = Drawer(100, 0, recipe.augment)(first, PICTURES)
    assert indices.tolist() == order[first : first + PICTURES].tolist()
    drawn = [torch.from_numpy(part) for part in (indices, corners, mirrored)]
    form = CifarForm(per_pixel_mean(pictures.pixels), recipe.augment.pad)
    images = form.train(pictures.pixels[drawn[0]], drawn[1], drawn[2])
    net = build(experiment.model, 10)
    net.load_state_dict(last(moving).parts["model"])
    net.to(memory_format=torch.channels_last)
    seen: dict[str, list[np.ndarray]] = {}

    def hear(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            values = given[0].double().transpose(0, 1).flatten(1).numpy()
            seen.setdefault(f"{name}.running_mean", []).append(values.mean(axis=1))
            seen.setdefault(f"{name}.running_var", []).append(values.var(axis=1, ddof=1))

        return hook

    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(hear(name))
    with torch.no_grad():
        for number in range(GROUPS):
            net.train()(images[16 * number : 16 * number + 16])
    return {name: np.mean(values, axis=0) for name, values in seen.items()}


def test_they_are_of_the_groups_of_the_pictures_that_training_would_have_taken_next(
    unbroken: Path, moving: Path, averaging: Experiment, splits: dict[Split, Pictures]
) -> None:
    wanted, found = counted_by_hand(moving, averaging, splits["train"]), statistics(last(unbroken).parts["model"])
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name].numpy(), value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_weights_and_momentum_are_those_of_a_run_that_keeps_moving_averages(unbroken: Path, moving: Path) -> None:
    ours, theirs = last(unbroken).parts, last(moving).parts
    for part in ("momentum", "window", "form"):
        assert all(torch.equal(tensor, theirs[part][name]) for name, tensor in ours[part].items())
    same = {name: torch.equal(tensor, theirs["model"][name]) for name, tensor in ours["model"].items()}
    assert {name for name, equal in same.items() if not equal} == {
        name for name in same if "running" in name or "num_batches" in name
    }


@pytest.mark.parametrize(
    ("asked", "pictures"), [(0, 0), (1, 32), (32, 32), (33, 64), (ASKED, PICTURES), (PICTURES, PICTURES)]
)
def test_the_number_is_rounded_up_to_whole_batches(asked: int, pictures: int, tiny: Experiment) -> None:
    assert pictures_averaged(tiny.but({"recipe": {"bn_average": asked}}).recipe) == pictures


def test_the_result_says_before_and_after_and_how_the_answers_differ(unbroken: Path, moving: Path) -> None:
    result, before = result_of(unbroken), result_of(moving)
    found = result["bn_average"]
    assert (found["pictures"], found["groups"]) == (PICTURES, GROUPS)
    assert (found["hits_before"], found["n"], found["error_before"]) == (before["hits"], 40, before["test_error"])
    assert found["interval_before"] == before["test_interval"]
    ours, theirs = (read_scores(run / "scores" / "single-val").hits().numpy() for run in (unbroken, moving))
    assert found["paired"] == paired(theirs, ours).as_json()
    assert (result["hits"], result["test_error"]) == (int(ours.sum()), Count(40 - int(ours.sum()), 40).error)
    assert (ours != theirs).any()
    assert {key: found[key] for key in found if key != "paired"} == last(unbroken).facts["bn_average"]
    assert "bn_average" not in before
    assert "bn_average" not in last(moving).facts


def test_the_curves_are_of_the_moving_averages(unbroken: Path, moving: Path) -> None:
    ours, theirs = (small["metrics"] for small in map(small_metrics, (unbroken, moving)))
    assert ours == theirs


def small_metrics(run: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {"metrics": [{key: value for key, value in line.items() if key not in WALL_CLOCK} for line in lines]}


def test_the_weights_of_the_run_have_them(unbroken: Path) -> None:
    weights = read_weights(unbroken)
    assert weights.tensors is not None
    kept = last(unbroken)
    assert all(torch.equal(tensor, kept.parts["model"][name]) for name, tensor in weights.tensors.items())
    protocol = json.loads((unbroken / "scores" / "single-val" / "protocol.json").read_text())
    model = unbroken / "checkpoints" / "step-8" / "model.safetensors"
    assert protocol["weights"] == weights.digest == sha256_file(model)


def test_equal_runs_end_with_equal_bytes(
    carry_out: Session, averaging: Experiment, unbroken: Path, tmp_path: Path
) -> None:
    carry_out(tmp_path / "again", averaging, workers=2)
    assert small_numbers(tmp_path / "again") == small_numbers(unbroken)


class Crash(BaseException):
    """The end of the process."""


def crash(*_: Any, **__: Any) -> Any:
    raise Crash


class CrashAfter(Notify):
    """Ends the process when so many pictures have passed."""

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures

    def averaged(self, pictures: int, of: int) -> None:
        assert of == PICTURES
        if pictures == self.pictures:
            raise Crash


def before_the_first_test(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(executing._Execution, "_average", crash)


def before_the_first_picture(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("reslab.experiments.averaging.recompute", crash)


def before_saving(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Averaging, "parts", lambda self: crash() if self.done else {})


def between_the_old_checkpoint_and_the_new(patch: pytest.MonkeyPatch) -> None:
    real = checkpoint._discard

    def discard(path: Path) -> None:
        real(path)
        if path.name == "step-8":
            raise Crash

    patch.setattr(checkpoint, "_discard", discard)


def after_saving(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(executing._Execution, "_finish", crash)


def in_the_second_test(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(executing, "fill_scores", crash)


def before_the_result(patch: pytest.MonkeyPatch) -> None:
    real = executing.RunDirectory.write

    def write(run: executing.RunDirectory, name: str, value: dict[str, Any]) -> None:
        if name == "result.json":
            raise Crash
        real(run, name, value)

    patch.setattr(executing.RunDirectory, "write", write)


@pytest.mark.parametrize(
    "point",
    [
        before_the_first_test,
        before_the_first_picture,
        before_saving,
        between_the_old_checkpoint_and_the_new,
        after_saving,
        in_the_second_test,
        before_the_result,
    ],
)
def test_a_crash_anywhere_changes_no_byte(
    point: Callable[[pytest.MonkeyPatch], None],
    carry_out: Session,
    averaging: Experiment,
    unbroken: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        point(patch)
        with pytest.raises(Crash):
            carry_out(run, averaging)
    assert not (run / "result.json").exists()
    outcome = carry_out(run, averaging, resume=True)
    assert outcome.result == {**result_of(run), "directory": str(run)}
    assert small_numbers(run) == small_numbers(unbroken)


@pytest.mark.parametrize("pictures", [32, 96, 160])
def test_so_it_is_within_the_recomputing(
    pictures: int, carry_out: Session, averaging: Experiment, unbroken: Path, moving: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash):
        carry_out(run, averaging, CrashAfter(pictures))
    kept = last(run)
    assert "bn_average" not in kept.facts
    assert all(torch.equal(tensor, last(moving).parts["model"][name]) for name, tensor in kept.parts["model"].items())
    carry_out(run, averaging, resume=True)
    assert small_numbers(run) == small_numbers(unbroken)


@pytest.mark.parametrize("engine", ["eager", "graph"])
@on_cuda
def test_so_it_is_on_a_cuda_device(engine: str, carry_out: Session, averaging: Experiment, tmp_path: Path) -> None:
    how = {"device": "cuda", "engine": engine}
    carry_out(tmp_path / "whole", averaging, **how)
    with pytest.raises(Crash):
        carry_out(tmp_path / "broken", averaging, CrashAfter(64), **how)
    carry_out(tmp_path / "broken", averaging, resume=True, **how)
    assert small_numbers(tmp_path / "broken") == small_numbers(tmp_path / "whole")


def test_a_signal_stops_it_and_it_is_done_again(
    carry_out: Session, averaging: Experiment, unbroken: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    notify = StopAveraging(64)
    outcome = carry_out(run, averaging, notify)
    assert notify.heard == [32, 64]
    assert outcome == Outcome(None, signal.SIGINT, 8, stopped=True, averaging=(64, PICTURES))
    assert not (run / "result.json").exists()
    assert not (run / "scores").exists()
    again = StopAveraging()
    assert carry_out(run, averaging, again, resume=True).averaging is None
    assert again.heard == [32, 64, 96, 128, 160]
    assert small_numbers(run) == small_numbers(unbroken)


def test_a_finished_run_is_known(carry_out: Session, averaging: Experiment, unbroken: Path) -> None:
    before = small_numbers(unbroken)
    outcome = carry_out(unbroken, averaging, CrashAfter(32), resume=True)
    assert outcome.result is not None
    assert outcome.result["bn_average"]["pictures"] == PICTURES
    assert small_numbers(unbroken) == before


def test_a_checkpoint_that_lacks_the_answers_before_is_one_line(
    carry_out: Session, averaging: Experiment, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        after_saving(patch)
        with pytest.raises(Crash):
            carry_out(run, averaging)
    found = last(run)
    parts = {name: tensors for name, tensors in found.parts.items() if name != "before"}
    checkpoint.write(found.path, parts, found.facts, replace=True)
    with pytest.raises(CheckpointError, match=r"state.json does not say 'before'"):
        carry_out(run, averaging, resume=True)


def test_validation_is_repeated_too(carry_out: Session, averaging: Experiment, tmp_path: Path) -> None:
    aside = averaging.but({"recipe": {"validation": 20}})
    carry_out(tmp_path / "averaged", aside)
    carry_out(tmp_path / "moving", aside.but({"recipe": {"bn_average": 0}}))
    after, before = result_of(tmp_path / "averaged"), result_of(tmp_path / "moving")
    assert after["validation_n"] == before["validation_n"] == 20
    assert after["bn_average"]["hits_before"] == before["hits"]
    line = json.loads((tmp_path / "averaged" / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["validation_error"] == before["validation_error"]


@pytest.fixture(scope="module")
def photo_averaging(tiny_photos: Experiment) -> Experiment:
    how = {"photographs": {"on_bad_picture": "replace", "colour": {}}, "bn_average": 30}
    return tiny_photos.but({"recipe": how})


def test_photographs_are_replaced_and_counted_as_in_training(
    train_on: Session, photo_averaging: Experiment, numbers_of: NumbersOf, own: Path, tmp_path: Path
) -> None:
    index = PictureFolder(own).read("train").index
    for number in (2, 9):
        file = own / index.path(number)
        file.write_bytes(file.read_bytes()[:-60])
    train_on(own, tmp_path / "whole", photo_averaging)
    with pytest.raises(Crash):
        train_on(own, tmp_path / "broken", photo_averaging, CrashAfterPhotos())
    train_on(own, tmp_path / "broken", photo_averaging, resume=True, workers=2)
    whole, broken = numbers_of(tmp_path / "whole"), numbers_of(tmp_path / "broken")
    assert {name for name in whole.keys() | broken.keys() if whole.get(name) != broken.get(name)} == set()
    samples = [number for epoch in range(4) for number in chance.order(0, epoch, 24).tolist()][: 7 * 8 + 32]
    assert whole["result"]["replaced"] == sum(number in (2, 9) for number in samples)
    assert whole["result"]["bn_average"]["pictures"] == 32


class CrashAfterPhotos(Notify):
    """Ends the process when two batches have passed."""

    def averaged(self, pictures: int, of: int) -> None:
        assert of == 32
        if pictures == 16:
            raise Crash


def test_frozen_stages_keep_the_statistics_that_they_came_with(
    train_on: Session, photo_averaging: Experiment, two_classes: Path, photos: Path, tmp_path: Path
) -> None:
    weights = read_weights(two_classes)
    tuned = photo_averaging.but({"start": {"weights": weights.digest, "freeze": ["stem", "layer1"]}})
    train_on(photos, tmp_path / "run", tuned, weights=weights)
    kept = checkpoint.newest(tmp_path / "run" / "checkpoints", pytest.fail)
    assert kept is not None
    assert weights.tensors is not None
    for name, tensor in statistics(kept.parts["model"]).items():
        assert torch.equal(tensor, weights.tensors[name]) is name.startswith(("bn1", "layer1")), name


def test_where_all_is_frozen_it_is_refused(
    train_on: Session, photo_averaging: Experiment, two_classes: Path, photos: Path, tmp_path: Path
) -> None:
    weights, all_of_it = read_weights(two_classes), ["stem", "layer1", "layer2", "layer3"]
    tuned = photo_averaging.but({"start": {"weights": weights.digest, "freeze": all_of_it}})
    with pytest.raises(SpecError, match=r"^bn_average has no effect: this network has no batch normalisation that"):
        train_on(photos, tmp_path / "run", tuned, weights=weights)
    assert not (tmp_path / "run").exists()
