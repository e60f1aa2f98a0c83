"""A run on a folder of photographs that was stopped goes on with the same pictures to the same bits."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reslab.core.errors import DataError, PictureError, RunError
from reslab.core.experiment import Experiment
from reslab.data import chance, source
from reslab.data.index import read_index
from reslab.data.source import PictureFolder
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]
FolderOf = Callable[..., Path]


class Hearing(Notify):
    """Remembers warnings, and presses Ctrl-C after a step."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.warnings: list[str] = []

    def stepped(self, step: int) -> None:
        if step == self.stop:
            signal.raise_signal(signal.SIGINT)

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def differences(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


def damage(picture: Path) -> None:
    picture.write_bytes(picture.read_bytes()[:-60])


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that have been searched."""
    searched: list[str] = []
    real = source.scan

    def scan(root: Path, *arguments: Any, **options: Any) -> Any:
        searched.append(str(root))
        return real(root, *arguments, **options)

    monkeypatch.setattr(source, "scan", scan)
    return searched


@pytest.mark.parametrize(("stops", "workers"), [((1,), 0), ((3,), 2), ((2, 4, 6), 0)])
def test_a_run_stopped_anywhere_ends_as_an_unbroken_one_does(
    stops: tuple[int, ...],
    workers: int,
    train_on: TrainOn,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    photos: Path,
    tmp_path: Path,
) -> None:
    for stop in stops:
        outcome = train_on(photos, tmp_path / "run", notify=Hearing(stop), resume=stop != stops[0], workers=workers)
        assert (outcome.signal, outcome.step) == (signal.SIGINT, stop)
    train_on(photos, tmp_path / "run", resume=True, workers=workers)
    numbers = numbers_of(tmp_path / "run")
    assert {"model conv1.weight", "momentum conv1.weight", "metrics 6", "pictures/train.safetensors"} <= numbers.keys()
    assert differences(numbers_of(finished_on_photos), numbers) == set()


@pytest.fixture(scope="module")
def replacing(tiny_photos: Experiment) -> Experiment:
    return tiny_photos.but({"recipe": {"photographs": {"on_bad_picture": "replace"}}})


def trained_on(photos: Path, *numbers: int) -> list[Path]:
    index = PictureFolder(photos).read("train").index
    return [photos / index.path(number) for number in numbers]


@pytest.mark.parametrize("stops", [(4,), (1, 2, 6)])
def test_replaced_pictures_are_counted_once_however_often_the_run_is_stopped(
    stops: tuple[int, ...],
    train_on: TrainOn,
    replacing: Experiment,
    numbers_of: NumbersOf,
    own: Path,
    tmp_path: Path,
) -> None:
    bad = trained_on(own, 2, 9, 20)
    for picture in bad:
        damage(picture)
    hearing = Hearing()
    train_on(own, tmp_path / "unbroken", replacing, hearing)
    for stop in stops:
        train_on(own, tmp_path / "broken", replacing, Hearing(stop), resume=stop != stops[0])
    train_on(own, tmp_path / "broken", replacing, resume=True, workers=2)
    whole = numbers_of(tmp_path / "unbroken")
    assert differences(whole, numbers_of(tmp_path / "broken")) == set()
    counts = json.loads(whole["replaced_pictures.json"])
    assert set(counts) == {str(picture.relative_to(own)) for picture in bad}
    assert all(entry["reason"].startswith("is damaged: ") for entry in counts.values())
    assert all(entry["times"] >= 2 for entry in counts.values())
    samples = [number for epoch in range(3) for number in chance.order(0, epoch, 24).tolist()][: 7 * 8]
    assert whole["result"]["replaced"] == sum(number in (2, 9, 20) for number in samples)
    assert sum(entry["times"] for entry in counts.values()) >= whole["result"]["replaced"]
    assert sorted(line.split(" is damaged")[0] for line in hearing.warnings) == sorted(counts)
    assert all(line.endswith(": another picture took its place") for line in hearing.warnings)


def test_a_run_that_stopped_before_its_first_checkpoint_searches_again(
    train_on: TrainOn, own: Path, tmp_path: Path
) -> None:
    """Who removes the picture that was named, and gives the same command again, wants to go on."""
    (bad,) = trained_on(own, 2)
    damage(bad)
    with pytest.raises(PictureError):
        train_on(own, tmp_path / "run")
    assert list((tmp_path / "run" / "checkpoints").glob("step-*")) == []
    bad.unlink()
    assert train_on(own, tmp_path / "run").step == 7
    assert len(read_index(tmp_path / "run" / "pictures" / "train.safetensors")) == 23


def test_a_run_begun_again_elsewhere_keeps_the_index_of_the_new_place(
    train_on: TrainOn, own: Path, folder_of: FolderOf, tmp_path: Path
) -> None:
    (bad,) = trained_on(own, 2)
    damage(bad)
    with pytest.raises(PictureError):
        train_on(own, tmp_path / "run")
    other = folder_of(tmp_path / "other", pictures=12)
    train_on(other, tmp_path / "run", notify=Hearing(stop=2))
    assert len(read_index(tmp_path / "run" / "pictures" / "train.safetensors")) == 30
    assert train_on(other, tmp_path / "run", resume=True).step == 7


def test_a_folder_is_searched_once(train_on: TrainOn, photos: Path, scans: list[str], tmp_path: Path) -> None:
    train_on(photos, tmp_path / "run", notify=Hearing(stop=2))
    assert scans == [str(photos)]


def test_a_resumed_run_does_not_search_again(train_on: TrainOn, photos: Path, scans: list[str], tmp_path: Path) -> None:
    train_on(photos, tmp_path / "run", notify=Hearing(stop=2))
    scans.clear()
    assert train_on(photos, tmp_path / "run", resume=True).step == 7
    assert scans == []


def test_a_resumed_run_goes_on_with_the_pictures_it_had_although_others_came(
    train_on: TrainOn, own: Path, finished_on_photos: Path, numbers_of: NumbersOf, tmp_path: Path
) -> None:
    train_on(own, tmp_path / "run", notify=Hearing(stop=2))
    shutil.copy(own / "ash" / "000.jpg", own / "ash" / "more.jpg")
    train_on(own, tmp_path / "run", resume=True)
    found = differences(numbers_of(finished_on_photos), numbers_of(tmp_path / "run"))
    assert found == {"scores/center-val/protocol.json"}  # it names the folder


def test_pictures_that_moved_are_searched_and_recognised(
    train_on: TrainOn, own: Path, scans: list[str], tmp_path: Path
) -> None:
    train_on(own, tmp_path / "run", notify=Hearing(stop=2))
    (tmp_path / "moved").mkdir()
    own.rename(tmp_path / "moved" / "own")
    scans.clear()
    assert train_on(tmp_path / "moved" / "own", tmp_path / "run", resume=True).step == 7
    assert set(scans) == {str(tmp_path / "moved" / "own")}


def another_picture(root: Path) -> None:
    shutil.copy(root / "ash" / "000.jpg", root / "ash" / "more.jpg")


def a_picture_less(root: Path) -> None:
    (root / "ash" / "000.jpg").unlink()


def another_name(root: Path) -> None:
    (root / "ash" / "000.jpg").rename(root / "ash" / "zero.jpg")


def another_size(root: Path) -> None:
    with (root / "birch" / "003.jpg").open("ab") as stream:
        stream.write(b"x")


@pytest.mark.parametrize("change", [another_picture, a_picture_less, another_name, another_size])
def test_other_pictures_elsewhere_are_refused(
    change: Callable[[Path], None], train_on: TrainOn, own: Path, tmp_path: Path
) -> None:
    train_on(own, tmp_path / "run", notify=Hearing(stop=2))
    shutil.copytree(own, tmp_path / "copy" / "own")
    change(tmp_path / "copy" / "own")
    with pytest.raises(RunError, match=r"holds other pictures than those that .*run was begun with"):
        train_on(tmp_path / "copy" / "own", tmp_path / "run", resume=True)


def test_a_picture_that_changed_since_is_refused_when_its_turn_comes(
    train_on: TrainOn, own: Path, tmp_path: Path
) -> None:
    train_on(own, tmp_path / "run", notify=Hearing(stop=2))
    for picture in trained_on(own, *range(24)):
        os.truncate(picture, 700)
    with pytest.raises(PictureError, match=r"has changed: 700 bytes, not the [\d,]+ it had when it was found"):
        train_on(own, tmp_path / "run", resume=True)


def test_a_damaged_index_is_one_line_that_helps(train_on: TrainOn, own: Path, tmp_path: Path) -> None:
    train_on(own, tmp_path / "run", notify=Hearing(stop=2))
    index = tmp_path / "run" / "pictures" / "train.safetensors"
    index.write_bytes(b"?")
    with pytest.raises(DataError, match=f"^{index} is damaged .* remove it and the folder is searched again"):
        train_on(own, tmp_path / "run", resume=True)
    index.unlink()
    assert train_on(own, tmp_path / "run", resume=True).step == 7
