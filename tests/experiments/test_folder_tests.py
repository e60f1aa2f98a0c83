"""Testing runs on folders of photographs, and the same from Python."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.tested import evaluate_run

import reslab
from reslab.core.contract import Contract
from reslab.core.errors import DataError, PictureError, SpecError
from reslab.core.experiment import Experiment, Photographs
from reslab.core.rundir import RunDirectory
from reslab.data.parts import Part
from reslab.data.photographs import PhotoFolder
from reslab.evaluation.scores import read_scores
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
FolderOf = Callable[..., Path]
SETTINGS = Photographs(contract=Contract(shorter_side=32, crop=32), scale=(32, 40))
RECIPE = reslab.Recipe(steps=20, batch=12, bn_group=6, precision="fp32", photographs=SETTINGS)


class Warnings(Notify):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def warned(self, text: str) -> None:
        self.heard.append(text)


def halved(photos: Path, root: Path) -> Path:
    """The same pictures below train/ and val/: of each class 7 and 3."""
    for picture in sorted(photos.rglob("*.jpg")):
        part = "train" if int(picture.stem) < 7 else "val"
        place = root / part / picture.relative_to(photos)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, place)
    return root


@pytest.fixture(scope="module")
def finished(train_on: TrainOn, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run = tmp_path_factory.mktemp("finished") / "run"
    train_on(photos, run)
    return RunDirectory.open(run)


def test_of_class_folders_alone_every_picture_is_tested_and_a_warning_says_what_was_trained_on(
    finished: RunDirectory, photos: Path
) -> None:
    warnings = Warnings()
    found = evaluate_run(finished, str(photos), notify=warnings, workers=0)
    assert (found.n, found.protocol.name, set(found.by_class)) == (30, "center", {"ash", "birch", "cedar"})
    assert warnings.heard == [
        "the network was trained on 24 of the 30 pictures here; --split val tests the others",
    ]
    (kept,) = finished.scores.glob("center-all*")
    assert (kept / "scores.safetensors").exists()


@pytest.mark.parametrize(("split", "count"), [("val", 6), ("train", 24), ("all", 30)])
def test_a_split_that_was_asked_for_is_tested(
    split: Part, count: int, finished: RunDirectory, photos: Path, tmp_path: Path
) -> None:
    warnings = Warnings()
    found = evaluate_run(finished, str(photos), split=split, notify=warnings, out=tmp_path, workers=2)
    assert found.n == count
    assert len(warnings.heard) == (split == "all")
    assert json.loads((tmp_path / "protocol.json").read_text())["split"] == split


def test_testing_again_gives_the_runs_own_result(finished: RunDirectory, photos: Path, tmp_path: Path) -> None:
    found = evaluate_run(finished, str(photos), split="val", out=tmp_path, workers=1)
    result = finished.result()
    assert result is not None
    assert (found.error, found.n) == (result["test_error"], result["n"])
    again, stored = read_scores(tmp_path), read_scores(finished.scores / "center-val")
    assert torch.equal(again.probabilities, stored.probabilities)


def test_what_was_held_out_is_held_out_again_by_the_runs_own_share(
    train_on: TrainOn, tiny_photos: Experiment, photos: Path, tmp_path: Path
) -> None:
    half = tiny_photos.but({"recipe": {"photographs": {"held_out": 0.5}}})
    result = train_on(photos, tmp_path / "run", half).result
    assert result is not None
    assert result["n"] == 15
    warnings = Warnings()
    assert (
        evaluate_run(RunDirectory.open(tmp_path / "run"), str(photos), split="val", notify=warnings, workers=0).n == 15
    )
    assert warnings.heard == []


def test_of_a_halved_folder_val_is_tested(train_on: TrainOn, photos: Path, tmp_path: Path) -> None:
    root = halved(photos, tmp_path / "halved")
    result = train_on(root, tmp_path / "run").result
    assert result is not None
    assert (result["n"], result["train_n"]) == (9, 56)
    run, warnings = RunDirectory.open(tmp_path / "run"), Warnings()
    assert evaluate_run(run, str(root), notify=warnings, workers=0).n == 9
    assert warnings.heard == []
    assert evaluate_run(run, str(root), split="all", notify=warnings, workers=0).n == 30
    assert warnings.heard == ["the network was trained on 21 of the 30 pictures here; --split val tests the others"]


def test_pictures_elsewhere_are_tested_without_a_warning(
    finished: RunDirectory, folder_of: FolderOf, tmp_path: Path
) -> None:
    warnings = Warnings()
    others = folder_of(tmp_path / "others", pictures=3, seed=9)
    assert evaluate_run(finished, str(others), notify=warnings, out=tmp_path / "s", workers=0).n == 9
    assert warnings.heard == []


def test_the_runs_own_scores_are_not_replaced_by_those_of_other_pictures(
    finished: RunDirectory, folder_of: FolderOf, tmp_path: Path
) -> None:
    other = halved(folder_of(tmp_path / "plain", seed=9), tmp_path / "other")
    before = (finished.scores / "center-val" / "scores.safetensors").read_bytes()
    evaluate_run(finished, str(other), workers=0)
    assert (finished.scores / "center-val" / "scores.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("ash", "birch", "oak"), r"does not know \(1 of 3\): oak; it knows 3 classes: ash, birch, cedar$"),
        (("ash", "birch", "cedar", "oak"), r"does not know \(1 of 4\): oak; it knows 3 classes: ash, birch, cedar$"),
        (("Ash", "birch", "cedar"), r"does not know \(1 of 3\): Ash; it"),
        (("ash", "birch", "two\nlines"), r"does not know \(1 of 3\): two\\nlines; it"),
    ],
)
def test_other_classes_are_refused(
    classes: tuple[str, ...], message: str, finished: RunDirectory, folder_of: FolderOf, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as error:
        evaluate_run(finished, str(folder_of(tmp_path / "others", classes, 2)))
    assert str(error.value).isprintable()


def test_some_of_the_classes_are_tested_as_what_the_network_calls_them(
    finished: RunDirectory, folder_of: FolderOf, tmp_path: Path
) -> None:
    """Labels are the network's: the answers are counted among all that it knows."""
    folder = folder_of(tmp_path / "some", ("birch", "cedar"), 3, seed=4)
    found = evaluate_run(finished, str(folder), out=tmp_path / "scores", workers=0)
    kept = read_scores(tmp_path / "scores")
    assert kept.probabilities.shape == (6, 3)
    assert kept.labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert list(found.by_class) == ["birch", "cedar"]
    assert found.top1.errors == int((kept.probabilities.argmax(dim=1) != kept.labels).sum())
    mistakes = json.loads((tmp_path / "scores" / "mistakes.json").read_text())["mistakes"]
    assert {entry["label"] for entry in mistakes} <= {"birch", "cedar"}
    assert len(mistakes) == found.top1.errors


def test_small_pictures_are_refused(finished: RunDirectory) -> None:
    with pytest.raises(DataError, match=r"has classes that the network does not know \(10 of 10\): T-shirt/top"):
        evaluate_run(finished, "embedded")


def test_a_network_of_small_pictures_is_not_tested_on_photographs(
    carry_out: TrainOn, photos: Path, tmp_path: Path
) -> None:
    carry_out(tmp_path / "small")
    with pytest.raises(DataError, match=r"trees has classes that the network does not know \(3 of 3\): ash, birch"):
        evaluate_run(RunDirectory.open(tmp_path / "small"), str(photos))


def test_another_protocol_is_refused(finished: RunDirectory, photos: Path) -> None:
    with pytest.raises(SpecError, match=r"unknown protocol '10-crop'; did you mean 'ten-crop'\?"):
        evaluate_run(finished, str(photos), protocol="10-crop")


def test_a_negative_number_of_workers_is_refused(finished: RunDirectory, photos: Path) -> None:
    with pytest.raises(SpecError, match="--workers must be 0 or more, not -1"):
        evaluate_run(finished, str(photos), workers=-1)


def test_a_bad_picture_stops_a_test_and_is_named(finished: RunDirectory, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "own")
    bad = tmp_path / "own" / "birch" / "004.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=f"^{bad} is not a JPEG"):
        evaluate_run(finished, str(tmp_path / "own"), out=tmp_path / "scores", workers=2)
    assert not (tmp_path / "scores").exists()


def network(classes: int = 3) -> torch.nn.Module:
    return reslab.cifar_resnet(8, width=8, classes=classes, generator=torch.Generator().manual_seed(0))


def test_fit_and_evaluate_learn_what_is_easy(photos: Path) -> None:
    train = reslab.load(str(photos))
    assert isinstance(train, PhotoFolder)
    assert (len(train), train.name, train.split) == (24, "trees", "train")
    fitted = reslab.fit(network(), train, RECIPE, workers=0)
    found = reslab.evaluate(fitted, reslab.load(str(photos), "val"))
    assert (found.error, found.n, found.protocol.name) == (0.0, 6, "center")
    assert fitted.classes == ("ash", "birch", "cedar")


def test_workers_change_no_number(photos: Path) -> None:
    recipe = RECIPE.but({"steps": 2})
    nets = [reslab.fit(network(), reslab.load(str(photos)), recipe, workers=workers).net for workers in (0, 1, 3)]
    for name, tensor in nets[0].state_dict().items():
        assert all(torch.equal(tensor, net.state_dict()[name]) for net in nets[1:]), name


def test_python_warns_of_replaced_and_enlarged_pictures(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "own")
    for picture in (tmp_path / "own" / "ash").iterdir():
        picture.write_bytes(picture.read_bytes()[:-60])
    pictures = reslab.load(str(tmp_path / "own"))
    recipe = RECIPE.but({"steps": 2, "photographs": {"on_bad_picture": "replace", "contract": {"crop": 32}}})
    with pytest.warns(UserWarning, match=r"^ash/\d+\.jpg is damaged: .*: another picture took its place$"):
        reslab.fit(network(), pictures, recipe, workers=0)
    with pytest.raises(PictureError, match="is damaged"):
        reslab.fit(network(), pictures, RECIPE, workers=0)


@pytest.mark.parametrize("workers", [-1, -7])
def test_python_refuses_a_negative_number_of_workers(workers: int, photos: Path) -> None:
    with pytest.raises(SpecError, match="must be 0 or more"):
        reslab.fit(network(), reslab.load(str(photos)), RECIPE, workers=workers)


def test_one_class_or_too_few_pictures_are_refused(folder_of: FolderOf, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has one class, 'ash'"):
        reslab.fit(network(1), reslab.load(str(folder_of(tmp_path / "one", ("ash",), 20))), RECIPE)
    with pytest.raises(DataError, match="has 6 pictures, fewer than one batch of 12"):
        reslab.fit(network(), reslab.load(str(folder_of(tmp_path / "few", pictures=2)), "all"), RECIPE)
