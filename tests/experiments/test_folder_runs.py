"""A run on a folder of photographs: what it leaves behind, and what it refuses."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.tested import evaluate_run

from reslab.core.errors import DataError, PictureError, RunError, SpecError
from reslab.core.experiment import Experiment, Photographs
from reslab.core.rundir import RunDirectory
from reslab.data.index import read_index
from reslab.data.source import PictureFolder
from reslab.evaluation.scores import read_scores
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify
from reslab.report.figure import training_curves
from reslab.report.finished import finished
from reslab.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
FolderOf = Callable[..., Path]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def damage(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes()[:-60])


def test_a_result_says_how_pictures_were_tested_and_that_none_was_replaced(finished_on_photos: Path) -> None:
    result = read_json(finished_on_photos / "result.json")
    assert (result["model"], result["steps"], result["protocol"], result["input_size"]) == (
        *("cifar-resnet8", 7, "center"),
        32,
    )
    assert (result["n"], result["replaced"], result["train_n"]) == (6, 0, 56)
    assert {name: count["n"] for name, count in result["by_class"].items()} == {"ash": 2, "birch": 2, "cedar": 2}
    assert not (finished_on_photos / "replaced_pictures.json").exists()


def test_scores_say_which_pictures_they_are_of(finished_on_photos: Path, photos: Path) -> None:
    folder = finished_on_photos / "scores" / "center-val"
    protocol, scores = read_json(folder / "protocol.json"), read_scores(folder)
    val = PictureFolder(photos).read("val")
    assert (protocol["protocol"], protocol["split"], protocol["n"]) == ("center", "val", 6)
    assert protocol["data"] == {"name": "trees", "digest": val.digest}
    assert read_index(folder / "pictures.safetensors").digest == val.digest
    assert scores.labels.tolist() == val.index.labels.tolist()
    assert read_json(finished_on_photos / "result.json")["hits"] == int(scores.hits().sum()) == protocol["hits"]


def test_the_most_certain_mistakes_are_kept_with_small_pictures(
    finished_on_photos: Path, photos: Path, tmp_path: Path
) -> None:
    evaluate_run(RunDirectory.open(finished_on_photos), str(photos), out=tmp_path / "all", workers=0)
    mistakes = read_json(tmp_path / "all" / "mistakes.json")["mistakes"]
    scores, index = read_scores(tmp_path / "all"), read_index(tmp_path / "all" / "pictures.safetensors")
    wrong = [number for number, hit in enumerate(scores.hits().tolist()) if not hit]
    assert len(mistakes) == min(len(wrong), 24)
    assert {mistake["picture"] for mistake in mistakes} <= {index.path(number) for number in wrong}
    certain = [mistake["probability"] for mistake in mistakes]
    assert certain == sorted(certain, reverse=True)
    for mistake in mistakes:
        assert mistake["label"] == mistake["picture"].split("/")[0]
        assert mistake["answer"] != mistake["label"]
        assert mistake["label_probability"] <= mistake["probability"] <= 1
        with Image.open(io.BytesIO(base64.b64decode(mistake["thumbnail"]))) as shown:
            assert (shown.format, max(shown.size) <= 160) == ("JPEG", True)


def test_the_run_keeps_which_pictures_it_saw(finished_on_photos: Path, photos: Path) -> None:
    for part in ("train", "val"):
        kept = read_index(finished_on_photos / "pictures" / f"{part}.safetensors")
        assert kept.digest == PictureFolder(photos).read(part).digest
    assert read_json(finished_on_photos / "environment.json")["data"]["place"] == str(photos)


def test_a_checkpoint_holds_the_contract(finished_on_photos: Path, tiny_photos: Experiment) -> None:
    found = checkpoint.newest(finished_on_photos / "checkpoints", pytest.fail)
    assert found is not None
    settings = tiny_photos.recipe.photographs
    assert settings is not None
    kept = dict(found.facts["preprocessing"])
    words = [kept.pop(key) for key in ("form", "resample", "exif")]
    assert words == ["photographs", "bilinear, antialiased", "applied"]
    assert Photographs.parse(kept) == settings
    assert found.facts["classes"] == ["ash", "birch", "cedar"]
    assert found.facts["replaced"] == {}


def test_lines_have_both_errors_that_figure_4_shows_and_the_curves_draw_them(finished_on_photos: Path) -> None:
    """Training error on augmented crops, over all batches so far; validation error on the centre crops."""
    lines = [json.loads(line) for line in (finished_on_photos / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["train_n"]) for line in lines] == [(step, 8 * step) for step in range(1, 8)]
    assert all(0 <= line["train_error"] <= 100 for line in lines)
    tested = {line["step"]: line for line in lines if "test_error" in line}
    assert list(tested) == [3, 6, 7]
    assert {line["test_n"] for line in tested.values()} == {6}
    result = read_json(finished_on_photos / "result.json")
    assert (result["protocol"], tested[7]["test_error"]) == ("center", result["test_error"])
    (axes,) = training_curves(finished([RunDirectory.open(finished_on_photos)])).axes
    drawn = {curve.get_linewidth(): list(curve.get_xydata()) for curve in axes.lines if len(curve.get_xdata()) > 2}
    thin, bold = drawn[min(drawn)], drawn[max(drawn)]
    assert [tuple(point) for point in thin] == [(line["step"], line["train_error"]) for line in lines]
    assert [tuple(point) for point in bold] == [(step, line["test_error"]) for step, line in tested.items()]


def trained_on(photos: Path, *numbers: int) -> list[Path]:
    index = PictureFolder(photos).read("train").index
    return [photos / index.path(number) for number in numbers]


def test_a_bad_picture_stops_a_run_that_keeps_what_it_had(train_on: TrainOn, own: Path, tmp_path: Path) -> None:
    (bad,) = trained_on(own, 2)
    damage(bad)
    with pytest.raises(PictureError, match=f"^{bad} is damaged"):
        train_on(own, tmp_path / "run", checkpoint_every=1)
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("classes", "pictures", "changes", "error", "message"),
    [
        (("ash",), 20, {}, DataError, "has one class, 'ash'; there is nothing to tell apart"),
        (("ash", "birch"), 4, {}, DataError, "has 6 pictures, fewer than one batch of 8"),
        (("ash", "birch"), 20, {"model": {"name": "cifar-resnet9"}}, SpecError, "6n"),
        (("ash", "birch"), 20, {"data": "embedded", "recipe": {"photographs": None}}, RunError, "is folder"),
    ],
)
def test_a_mistake_leaves_no_directory_behind(
    classes: tuple[str, ...],
    pictures: int,
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    train_on: TrainOn,
    tiny_photos: Experiment,
    folder_of: FolderOf,
    tmp_path: Path,
) -> None:
    root = folder_of(tmp_path / "photos", classes, pictures)
    with pytest.raises(error, match=message):
        train_on(root, tmp_path / "new" / "run", tiny_photos.but(changes))
    assert not (tmp_path / "new").exists()


def test_training_leaves_the_global_generator_alone(train_on: TrainOn, photos: Path, tmp_path: Path) -> None:
    states: list[torch.Tensor] = []

    class Listening(Notify):
        def begun(self, title: str, step: int, steps: int) -> None:
            del title, step, steps
            states.append(torch.get_rng_state())

        def ended(self) -> None:
            states.append(torch.get_rng_state())

    train_on(photos, tmp_path / "run", notify=Listening(), workers=1)
    assert torch.equal(*states)
