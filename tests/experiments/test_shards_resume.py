"""A run goes on whether its photographs lie in a folder or in shards, to the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.listeners import StopAt

from reslab.core.errors import RunError
from reslab.data.pack import pack
from reslab.data.pack_set import Packing
from reslab.data.shard_writer import Smaller
from reslab.data.source import PictureFolder
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify

pytestmark = pytest.mark.usefixtures("quick_disk")

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]


class Hearing(Notify):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def shards(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "trees"
    pack(PictureFolder(photos), out, Packing(pictures=7), 0)
    return out


@pytest.mark.parametrize("shards_first", [False, True])
def test_a_run_begun_on_one_ends_on_the_other_as_an_unbroken_one_does(
    shards_first: bool,  # noqa: FBT001
    train_on: TrainOn,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    photos: Path,
    shards: Path,
    tmp_path: Path,
) -> None:
    first, second = (shards, photos) if shards_first else (photos, shards)
    assert train_on(first, tmp_path / "run", notify=StopAt(3)).step == 3
    assert train_on(second, tmp_path / "run", notify=StopAt(5), resume=True, workers=2).step == 5
    train_on(first, tmp_path / "run", resume=True)
    assert numbers_of(tmp_path / "run") == numbers_of(finished_on_photos)


def test_resized_pictures_are_others(train_on: TrainOn, photos: Path, tmp_path: Path) -> None:
    pack(PictureFolder(photos), tmp_path / "small", Packing(smaller=Smaller(45, 90)), 0)
    train_on(photos, tmp_path / "run", notify=StopAt(3))
    with pytest.raises(RunError, match=r"small holds other pictures than those that .*run was begun with"):
        train_on(tmp_path / "small", tmp_path / "run", resume=True)


def test_a_cache_that_cannot_hold_the_shards_is_warned_of(
    train_on: TrainOn, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESLAB_CACHE_SIZE", "50 kB")
    hearing = Hearing()
    train_on(f"file://{shards}", tmp_path / "run", notify=hearing)
    (warning,) = hearing.warnings
    assert "and the cache holds 48.8 KiB: they will be fetched again and again; set RESLAB_CACHE_SIZE" in warning
