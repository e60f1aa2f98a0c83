"""A run whose storage goes away: it waits, or ends with one line, and goes on to the same bits."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web import Web, served

from reslab.core.errors import PictureError, StorageError
from reslab.data import remote
from reslab.data.pack import pack
from reslab.data.pack_set import Packing
from reslab.data.shards import INDEX
from reslab.data.source import PictureFolder
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify

pytestmark = [pytest.mark.usefixtures("quick_disk"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

TrainOn = Callable[..., Outcome]
NumbersOf = Callable[[Path], dict[str, Any]]


class Acting(Notify):
    """Does something after a step, and remembers warnings."""

    def __init__(self, step: int = -1, act: Callable[[], Any] = lambda: None) -> None:
        self.step, self.act = step, act
        self.warnings: list[str] = []

    def stepped(self, step: int) -> None:
        if step == self.step:
            self.act()

    def warned(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def shards(photos: Path, tmp_path: Path) -> Path:
    """A shard a picture, so that some are not open yet, in a folder of the same name."""
    out = tmp_path / "shards" / photos.name
    pack(PictureFolder(photos), out, Packing(pictures=1), 0)
    return out


@pytest.fixture
def web(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """The shards behind a URL; the cache holds a few of them."""
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("RESLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{(shards / INDEX).stat().st_size + 60_000}B")
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.05)
    with served(shards.parent) as found:
        yield found


@pytest.fixture
def copied(photos: Path, tmp_path: Path) -> Path:
    """The folder, to be moved."""
    return Path(shutil.copytree(photos, tmp_path / "copied" / photos.name))


def away(warnings: list[str]) -> list[str]:
    return [line for line in warnings if "does not answer" in line]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_is_away_for_some_seconds_changes_nothing(
    workers: int,
    train_on: TrainOn,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    photos: Path,
    web: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESLAB_RETRY", "60")
    web.start(dies_at=30)
    web.comes_back(1.0)
    heard = Acting()
    train_on(f"{web.url}/{photos.name}", tmp_path / "run", notify=heard, workers=workers)
    assert numbers_of(tmp_path / "run") == numbers_of(finished_on_photos)
    (line,) = away(heard.warnings)
    assert line.startswith(f"{web.url}/{photos.name} does not answer (")
    assert line.endswith("trying again for 1 min 00 s")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_stays_away_ends_the_run_which_goes_on_once_it_is_back(
    workers: int,
    train_on: TrainOn,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    photos: Path,
    web: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESLAB_RETRY", "0.5")
    web.start(dies_at=40)
    words = {"workers": workers, "checkpoint_every": 1}
    with pytest.raises(StorageError, match=rf"^{web.url}/{photos.name}/shard-\d+\.tar cannot be fetched, tried for "):
        train_on(f"{web.url}/{photos.name}", tmp_path / "run", notify=Acting(), **words)
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))
    with pytest.raises(StorageError, match=rf"^{web.url}/{photos.name}/{INDEX} cannot be fetched, tried for "):
        train_on(f"{web.url}/{photos.name}", tmp_path / "run", notify=Acting(), resume=True, **words)
    web.start()
    train_on(f"{web.url}/{photos.name}", tmp_path / "run", resume=True, **words)
    assert numbers_of(tmp_path / "run") == numbers_of(finished_on_photos)


@pytest.mark.parametrize(("workers", "replacing"), [(0, False), (0, True), (2, False)])
@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_disk_that_goes_away_ends_the_run_which_goes_on_once_it_is_back(
    kind: str,
    workers: int,
    replacing: bool,  # noqa: FBT001
    train_on: TrainOn,
    tiny_photos: Any,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    copied: Path,
    shards: Path,
    tmp_path: Path,
) -> None:
    """Its pictures are not bad ones: none is replaced."""
    place, gone = copied if kind == "folder" else shards, tmp_path / "elsewhere"
    photographs = {"on_bad_picture": "replace" if replacing else "stop"}
    words = {
        "experiment": tiny_photos.but({"recipe": {"photographs": photographs}}),
        "workers": workers,
        "checkpoint_every": 1,
    }
    says = r"^shard .*/shard-\d+\.tar" if kind == "shards" else rf"^{copied}/(ash|birch|cedar)"
    with pytest.raises(StorageError, match=f"{says} has gone: its disk, or it was moved$"):
        train_on(place, tmp_path / "run", notify=Acting(1, lambda: place.rename(gone)), **words)
    assert not (tmp_path / "run" / "replaced_pictures.json").exists()
    gone.rename(place)
    train_on(place, tmp_path / "run", resume=True, **words)
    ours, theirs = numbers_of(tmp_path / "run"), numbers_of(finished_on_photos)
    named = {"scores/center-val/protocol.json"} if replacing else set()  # it names the experiment
    assert {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} == named


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_shard_that_changes_ends_the_run_and_is_named(
    damage: str,
    train_on: TrainOn,
    finished_on_photos: Path,
    numbers_of: NumbersOf,
    shards: Path,
    tmp_path: Path,
) -> None:
    files = sorted(shards.glob("*.tar"))
    before = [file.read_bytes() for file in files]

    def spoil() -> None:
        for file, data in zip(files, before, strict=True):
            file.write_bytes(data[:700] if damage == "cut" else data[:600] + b"?" + data[601:])

    says = (
        "is not whole: shard-.* is cut short" if damage == "cut" else "does not match its checksum: shard-.* is damaged"
    )
    with pytest.raises(PictureError, match=rf"^{shards}: \w+/\d+\.jpg {says}"):
        train_on(shards, tmp_path / "run", notify=Acting(1, spoil), checkpoint_every=1)
    for file, data in zip(files, before, strict=True):
        file.write_bytes(data)
    train_on(shards, tmp_path / "run", resume=True)
    assert numbers_of(tmp_path / "run") == numbers_of(finished_on_photos)
