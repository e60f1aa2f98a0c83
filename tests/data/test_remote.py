"""Shards behind a URL: fetched once, kept within bounds, waited for, checked."""

import errno
import http.server
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from reslab.core.errors import DataError, SpecError, StorageError
from reslab.core.listening import heard_by, unheard
from reslab.data import remote
from reslab.data.cache import Cache, usual_cache
from reslab.data.loader import CropBatch
from reslab.data.photographs import PhotoFolder
from reslab.data.pool import PATIENCE
from reslab.data.remote import RemoteFiles, usual_retry
from reslab.data.sharded import ShardFolder, find_shards
from reslab.data.shards import INDEX, read_shards
from reslab.data.source import find_data

Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]
FolderOf = Callable[..., Path]
Pack = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test's own, no long waiting, and nobody who hears of it."""
    monkeypatch.setenv("RESLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESLAB_RETRY", "0")
    monkeypatch.delenv("RESLAB_CACHE_SIZE", raising=False)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    with heard_by(unheard):
        yield tmp_path / "cache"


@pytest.fixture
def url(shards: Path) -> Iterator[str]:
    """The shards in fsspec's memory."""
    memory = fsspec.filesystem("memory")
    memory.put(str(shards), "/bucket/photos", recursive=True)
    yield "memory://bucket/photos"
    memory.rm("/bucket", recursive=True)


def kept(cache: Path) -> list[str]:
    """The shards in the cache, without the checksums in their names."""
    return sorted(path.name.rpartition("-")[0] for path in cache.glob("*/*.tar"))


def photos_at(place: str) -> PhotoFolder:
    found = find_data(place).read("all")
    assert isinstance(found, PhotoFolder)
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_folder(
    workers: int, drawn: Drawn, digests: Digests, photos: PhotoFolder, url: str, cache: Path
) -> None:
    assert digests(drawn(photos_at(url), workers=workers)) == digests(drawn(photos))
    source = find_shards(url)
    assert isinstance(source, ShardFolder)
    assert (source.place, source.name, source.halved) == (url, "folder", False)
    assert (photos_at(url).name, photos_at(url).digest) == ("photos", photos.digest)
    assert photos_at(url).place(4) == f"{url}: ash/004.jpg"
    assert not list(cache.glob("*/*.partial"))


def test_a_file_url_will_do(photos: PhotoFolder, shards: Path) -> None:
    found = photos_at(f"file://{shards}")
    assert [found.store.read(number) for number in range(15)] == [photos.store.read(number) for number in range(15)]


def test_two_halves_are_found(folder_of: FolderOf, packed: Pack, tmp_path: Path) -> None:
    for half in ("train", "val"):
        folder_of(tmp_path / "trees" / half, pictures=3)
    place = packed(tmp_path / "trees", tmp_path / "shards")
    far, near = (find_data(path) for path in (f"file://{place}/", str(place)))
    for part in ("train", "val", "all"):
        ours, theirs = far.read(part), near.read(part)  # type: ignore[arg-type]
        assert isinstance(ours, PhotoFolder)
        assert isinstance(theirs, PhotoFolder)
        assert ours.digest == theirs.digest
        assert ours.store.read(2) == theirs.store.read(2)


def test_each_shard_is_fetched_once_whoever_asks(url: str, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = counted(monkeypatch)
    for _ in range(2):
        photos = photos_at(url)
        for number in range(15):
            photos.store.read(number)
    names = [name for name in fetched if name.endswith(".tar")]
    assert sorted(names) == [file.name for file in read_shards(shards / INDEX).files]
    assert fetched.count(INDEX) == 2


def counted(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[str, Path], None] = lambda _url, _path: None
) -> list[str]:
    """The names of what is downloaded from now on."""
    names: list[str] = []
    real = remote.download

    def download(url: str, target: Path) -> None:
        names.append(url.rpartition("/")[2])
        before(url, target)
        real(url, target)

    monkeypatch.setattr(remote, "download", download)
    return names


def test_the_cache_keeps_within_its_bounds_and_drops_what_was_not_used_for_longest(
    url: str, shards: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = read_shards(shards / INDEX).files
    index_size = (shards / INDEX).stat().st_size
    limit = index_size + sum(file.size for file in files[:3]) + 100
    assert all(file.size == files[0].size for file in files[:4])
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{limit}B")
    remote_files = RemoteFiles(url)
    assert remote_files.index(".") is not None
    for age, file in enumerate((files[0], files[1], files[2], files[0], files[3])):
        remote_files.read(file, 10, 0)
        for path in cache.glob("*/*"):
            if time.time() - path.stat().st_mtime < 100:
                os.utime(path, (0, 10**6 + age))  # a step of time between any two uses
        assert sum(path.stat().st_size for path in cache.glob("*/*")) <= limit
    left = set(kept(cache))
    assert {"shard-00000", "shard-00003"} <= left
    assert "shard-00001" not in left


def test_an_index_that_was_just_fetched_is_left_for_whoever_is_about_to_read_it(url: str, cache: Path) -> None:
    far = RemoteFiles(url)
    file = far.index(".")
    assert file is not None
    shards = read_shards(file)
    tight = RemoteFiles(url, Cache(cache, max(shard.size for shard in shards.files)))
    for shard in shards.files[:3]:
        tight.read(shard, 1, 0)
    assert file.exists()
    assert len(kept(cache)) == 1
    os.utime(file, (0, 0))
    tight.read(shards.files[3], 1, 0)
    assert not file.exists()


def test_a_cache_smaller_than_the_shards_is_said_to_be(url: str, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(file.size for file in read_shards(shards / INDEX).files)
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{total - 1}B")
    note = photos_at(url).store.note
    assert note is not None
    assert "they will be fetched again and again; set RESLAB_CACHE_SIZE" in note
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{total}B")
    assert photos_at(url).store.note is None
    monkeypatch.setenv("RESLAB_CACHE_SIZE", "2kB")
    with pytest.raises(DataError, match=r"and the cache holds 2\.0 KiB: set RESLAB_CACHE_SIZE"):
        photos_at(url)


def read_all(url: str, order: list[int], results: Any) -> None:
    photos = photos_at(url)
    results.put([photos.store.read(number) for number in order])


def test_processes_that_share_a_cache_too_small_for_all_read_the_right_bytes(
    photos: PhotoFolder, shards: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = read_shards(shards / INDEX).files
    limit = (shards / INDEX).stat().st_size + 2 * max(file.size for file in files)
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{limit}B")
    context = multiprocessing.get_context("fork")
    results, draw = context.Queue(), np.random.default_rng(0)
    orders = [draw.integers(0, 15, 60).tolist() for _ in range(3)]
    workers = [context.Process(target=read_all, args=(f"file://{shards}", order, results)) for order in orders]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    expected = [[photos.store.read(number) for number in order] for order in orders]
    assert sorted(found) == sorted(expected)
    assert not list(cache.glob("*/*.partial"))


def test_storage_that_comes_back_in_time_is_waited_for(
    url: str, photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESLAB_RETRY", "60")
    away = {"left": 5}

    def fail(_url: str, target: Path) -> None:
        if away["left"]:
            away["left"] -= 1
            target.write_bytes(b"half")
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    counted(monkeypatch, fail)
    found = photos_at(url)
    away["left"] = 3
    assert found.store.read(3) == photos.store.read(3)
    assert away["left"] == 0
    assert found.store.patience > 60 + PATIENCE


@pytest.mark.parametrize(
    "error", [ConnectionResetError(errno.ECONNRESET, "gone"), RuntimeError("gone\nfor good"), TimeoutError()]
)
def test_storage_that_stays_away_is_one_line(
    error: Exception, url: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_url: str, _target: Path) -> None:
        raise error

    photos = photos_at(url)
    counted(monkeypatch, fail)
    monkeypatch.setattr(photos.store.files, "retry", 0.1)  # type: ignore[attr-defined]
    begun = time.monotonic()
    with pytest.raises(StorageError) as told:
        photos.store.read(0)
    assert time.monotonic() - begun < 30
    assert str(told.value).startswith(f"{url}/shard-0000")
    assert "cannot be fetched, tried for 0 s: " in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert kept(cache) == []
    assert not list(cache.glob("*/*.partial"))


def test_a_shard_that_is_missing_there_is_named(url: str) -> None:
    photos = photos_at(url)
    fsspec.filesystem("memory").rm("/bucket/photos/shard-00000.tar")
    number = int(np.flatnonzero(photos.store.shards.shards == 0)[0])  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=rf"^shard {url}/shard-00000\.tar is missing: copy it there again$"):
        photos.store.read(number)


@pytest.mark.parametrize("end", ["", "/"])
def test_an_index_that_is_damaged_there_is_named_by_its_url(end: str, url: str) -> None:
    memory = fsspec.filesystem("memory")
    whole = memory.cat(f"/bucket/photos/{INDEX}")
    memory.pipe(f"/bucket/photos/{INDEX}", whole[:-3] + b"???")
    with pytest.raises(DataError, match=rf"^the index of shards {url}/{INDEX} is damaged \(.*\): copy it there again$"):
        photos_at(f"{url}{end}")
    memory.pipe(f"/bucket/photos/{INDEX}", whole)
    assert photos_at(url).store.read(0)


def test_a_shard_that_is_damaged_there_is_named_and_not_kept(
    url: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = counted(monkeypatch)
    photos, memory = photos_at(url), fsspec.filesystem("memory")
    data = memory.cat("/bucket/photos/shard-00000.tar")
    memory.pipe("/bucket/photos/shard-00000.tar", data[:600] + b"?" + data[601:])
    number = int(np.flatnonzero(photos.store.shards.shards == 0)[0])  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"shard-00000\.tar is damaged, or not the one that its index is of"):
        photos.store.read(number)
    assert fetched.count("shard-00000.tar") == 2
    assert kept(cache) == []
    memory.pipe("/bucket/photos/shard-00000.tar", data)
    assert photos.store.read(number)


def test_shards_that_were_packed_anew_at_the_same_place_are_fetched_anew(
    url: str, folder_of: FolderOf, packed: Pack, tmp_path: Path
) -> None:
    before = photos_at(url).store.read(0)
    other = packed(folder_of(tmp_path / "other", pictures=5, seed=9), tmp_path / "others")
    memory = fsspec.filesystem("memory")
    memory.rm("/bucket/photos", recursive=True)
    memory.put(str(other), "/bucket/photos", recursive=True)
    assert before != photos_at(url).store.read(0) == (tmp_path / "other" / "ash" / "000.jpg").read_bytes()


def test_a_partial_file_of_a_process_that_died_is_filled_again(url: str, photos: PhotoFolder, cache: Path) -> None:
    found = photos_at(url)
    found.store.read(0)
    (path,) = cache.glob("*/*.tar")
    path.rename(path.with_name(f"{path.name}.partial"))
    os.truncate(path.with_name(f"{path.name}.partial"), 100)
    assert found.store.read(0) == photos.store.read(0)
    assert [entry.name for entry in cache.glob("*/shard*")] == [path.name]


def test_a_full_disk_is_one_line(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = photos_at(url)
    memory = fsspec.filesystem("memory")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(type(memory), "get_file", full)
    with pytest.raises(StorageError, match=rf"^the disk is full: cannot write {cache}"):
        photos.store.read(0)
    assert not list(cache.glob("*/shard*"))


@pytest.mark.parametrize(
    ("place", "error", "says"),
    [
        ("memory://nowhere/at/all", DataError, f"holds no shards: there is neither {INDEX} nor train/{INDEX}"),
        ("nonsense://bucket/x", SpecError, r"cannot read nonsense://.*pip install 'reslab\[remote\]'"),
        ("file:///absent", DataError, "holds no shards"),
    ],
)
def test_a_url_that_leads_nowhere_is_one_line(place: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as told:
        find_data(place)
    assert len(str(told.value).splitlines()) == 1


def test_the_environment_says_where_and_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESLAB_CACHE_SIZE", "1.5 GiB")
    assert usual_cache() == Cache(tmp_path / "cache", 3 * 2**29)
    monkeypatch.delenv("RESLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert usual_cache().folder == tmp_path / "xdg" / "reslab" / "shards"
    monkeypatch.setenv("RESLAB_CACHE_SIZE", "much")
    with pytest.raises(SpecError, match="RESLAB_CACHE_SIZE: 'much' is no number of bytes"):
        usual_cache()
    monkeypatch.delenv("RESLAB_RETRY")
    assert usual_retry() == 300
    for wrong in ("soon", "-1", "inf", "nan"):
        monkeypatch.setenv("RESLAB_RETRY", wrong)
        with pytest.raises(SpecError, match=f"RESLAB_RETRY must be seconds, not '{wrong}'"):
            usual_retry()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; the first answers are refusals."""

    refusals = 0

    def do_GET(self) -> None:
        if type(self).refusals:
            type(self).refusals -= 1
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web(shards: Path) -> Iterator[str]:
    """An HTTP server of the shards."""
    pytest.importorskip("aiohttp")

    def handler(*arguments: Any) -> _Handler:
        return _Handler(*arguments, directory=str(shards))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_web_server_that_refuses_at_first_is_read(
    workers: int, drawn: Drawn, digests: Digests, photos: PhotoFolder, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESLAB_RETRY", "60")
    monkeypatch.setattr(_Handler, "refusals", 3)
    found = photos_at(web)
    assert digests(drawn(found, workers=workers)) == digests(drawn(photos))
    assert torch.equal(found.labels, photos.labels)
    with pytest.raises(DataError, match="holds no shards"):
        find_data(f"{web}/absent")


@pytest.mark.filterwarnings("ignore")
def test_s3_is_read(
    drawn: Drawn, digests: Digests, photos: PhotoFolder, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against moto's server, where it and s3fs are installed."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        bucket = fsspec.filesystem("s3")
        bucket.mkdir("pictures")
        bucket.put(str(shards), "pictures/photos", recursive=True)
        for workers in (0, 2):
            assert digests(drawn(photos_at("s3://pictures/photos"), workers=workers)) == digests(drawn(photos))
        with pytest.raises(DataError, match="holds no shards"):
            find_data("s3://pictures/absent")
    finally:
        server.stop()
