"""Storage that goes away: waited for and said once where it comes back, one line where it does not."""

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from tests.web import Web, served

from reslab.core.errors import StorageError
from reslab.core.listening import heard_by, unheard
from reslab.data import remote
from reslab.data.loader import CropBatch
from reslab.data.photographs import PhotoFolder
from reslab.data.shards import INDEX, read_shards
from reslab.data.source import find_data

Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # aiohttp's, of a server that died


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, and short pauses."""
    monkeypatch.setenv("RESLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESLAB_RETRY", "60")
    monkeypatch.delenv("RESLAB_CACHE_SIZE", raising=False)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.05)
    return tmp_path / "cache"


@pytest.fixture
def web(shards: Path) -> Iterator[Web]:
    pytest.importorskip("aiohttp")
    with served(shards) as found:
        yield found


def photos_at(url: str) -> PhotoFolder:
    found = find_data(url).read("all")
    assert isinstance(found, PhotoFolder)
    return found


def says(web: Web) -> str:
    return f"{web.url} does not answer ("


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_dies_in_the_middle_and_comes_back_changes_no_batch_and_is_said_once(
    workers: int, drawn: Drawn, digests: Digests, photos: PhotoFolder, web: Web, cache: Path
) -> None:
    web.start(dies_at=3)
    found, heard = photos_at(web.url), list[str]()
    web.comes_back(1.0)
    assert digests(drawn(found, workers=workers, warn=heard.append)) == digests(drawn(photos))
    (line,) = heard
    assert line.startswith(says(web))
    assert line.endswith("; trying again for 1 min 00 s")
    assert line.isprintable()
    assert not list(cache.glob("*/*.partial"))


def test_each_outage_is_said(web: Web, photos: PhotoFolder, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(file.size for file in read_shards(shards / INDEX).files[:2]) + (shards / INDEX).stat().st_size
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{size}B")
    web.start()
    found, heard = photos_at(web.url), list[str]()
    for outage in (1, 2):
        web.stop()
        web.start(dies_at=1)
        web.comes_back(0.3)
        with heard_by(heard.append):
            assert [found.store.read(number) for number in range(15)] == [photos.store.read(n) for n in range(15)]
        assert len(heard) == outage
        assert web.returning is not None
        web.returning.join()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_server_that_stays_away_is_one_line_in_time(
    workers: int,
    drawn: Drawn,
    photos: PhotoFolder,
    web: Web,
    shards: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What workers were fetching when they were ended is fetched anew once storage is back."""
    monkeypatch.setenv("RESLAB_RETRY", "2")
    web.start(dies_at=2)
    found, heard = photos_at(web.url), list[str]()
    begun = time.monotonic()
    with pytest.raises(StorageError) as told:
        drawn(found, workers=workers, warn=heard.append)
    assert time.monotonic() - begun < 10
    line = str(told.value)
    assert line.startswith(f"{web.url}/shard-0000")
    assert ".tar cannot be fetched, tried for " in line
    assert line.isprintable()
    (said,) = heard
    assert said.endswith("; trying again for 2 s")
    assert workers or not list(cache.glob("*/*.partial"))
    whole = {(shards / file.name).read_bytes() for file in read_shards(shards / INDEX).files}
    assert {path.read_bytes() for path in cache.glob("*/*.tar")} <= whole
    web.start()
    again = photos_at(web.url)
    assert [again.store.read(number) for number in range(15)] == [photos.store.read(n) for n in range(15)]
    assert not list(cache.glob("*/*.partial"))


def test_who_waited_for_a_shard_that_another_gives_up_does_not_wait_once_more(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESLAB_RETRY", "1")
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.05)
    web.start()
    found, heard, tries = photos_at(web.url), list[str](), list[str]()
    web.stop()
    real = remote.download

    def give_up() -> None:
        with contextlib.suppress(StorageError), heard_by(unheard):
            found.store.read(0)

    def download(url: str, target: Path) -> None:
        tries.append(url)
        real(url, target)

    other = multiprocessing.get_context("fork").Process(target=give_up)
    other.start()
    files = found.store.files  # type: ignore[attr-defined]
    while not files._outage._since.value:
        time.sleep(0.01)
    monkeypatch.setattr(remote, "download", download)
    with heard_by(heard.append), pytest.raises(StorageError, match="cannot be fetched, tried for"):
        found.store.read(0)
    other.join()
    assert len(tries) <= 2
    assert heard == []


def test_a_silent_server_is_away_too(web: Web, photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENCE", 0.5)
    web.start(silent_at=2)
    found, heard = photos_at(web.url), list[str]()
    with heard_by(heard.append):
        assert [found.store.read(number) for number in range(15)] == [photos.store.read(n) for n in range(15)]
    assert len(heard) == 1
    assert heard[0].startswith(says(web))


def test_what_people_configured_for_web_servers_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setitem(fsspec.config.conf, "https", {"client_kwargs": {"headers": {"x": "y"}}})
    options = remote._options("https://example.org/x")["client_kwargs"]
    assert options["headers"] == {"x": "y"}
    assert (options["timeout"].total, options["timeout"].sock_read) == (None, remote.SILENCE)
    assert remote._options("s3://bucket/x") == {}


def test_one_shard_that_cannot_be_had_is_given_up_while_others_can(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESLAB_RETRY", "0.5")
    monkeypatch.setattr(remote, "LONGEST_PAUSE", 0.05)
    web.start()
    found, real = photos_at(web.url), remote.download
    files, heard = found.store.files, list[str]()  # type: ignore[attr-defined]

    def download(url: str, target: Path) -> None:
        if url.endswith("shard-00000.tar"):
            raise ConnectionError("refused")
        real(url, target)

    def sleep(_seconds: float) -> None:
        wait(0.05)
        files._outage.over(time.monotonic())  # as another worker's success does

    wait = time.sleep
    monkeypatch.setattr(remote, "download", download)
    monkeypatch.setattr("reslab.data.remote.time.sleep", sleep)
    number = int((found.store.shards.shards == 0).nonzero()[0][0])  # type: ignore[attr-defined]
    begun = time.monotonic()
    with heard_by(heard.append), pytest.raises(StorageError, match="cannot be fetched, tried for"):
        found.store.read(number)
    assert time.monotonic() - begun < 5
    assert len(heard) == 1


def test_the_index_is_waited_for_and_that_is_said(web: Web) -> None:
    web.start()
    web.stop()
    heard: list[str] = []
    timer = threading.Timer(0.5, web.start)
    timer.start()
    with heard_by(heard.append):
        photos_at(web.url)
    timer.join()
    assert len(heard) == 1
    assert heard[0].startswith(says(web))
