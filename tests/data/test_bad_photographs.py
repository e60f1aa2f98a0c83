"""Pictures that cannot be used, and decoders that die: stopped at, replaced, never skipped."""

import os
import signal
from collections.abc import Callable, Iterable
from ctypes import c_int
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.tested import centre_views

from reslab.core.errors import PictureError
from reslab.core.experiment import Photographs
from reslab.data import chance, photographs, views
from reslab.data.decode import decode
from reslab.data.loader import CropBatch
from reslab.data.photographs import PhotoFolder
from reslab.data.source import PictureFolder

SEED = 3
Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]
RandomCrop = Callable[[PhotoFolder, int, int], torch.Tensor]


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def damage(root: Path, *names: str) -> PhotoFolder:
    """A folder whose pictures of these names are damaged, and were when it was indexed."""
    for name in names:
        cut_short(root / name)
    return PictureFolder(root).read("all")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_stops_and_is_named(drawn: Drawn, exact: Photographs, workers: int, own: Path) -> None:
    pictures = damage(own, "birch/003.png")
    for read in (lambda: drawn(pictures, workers=workers), lambda: list(centre_views(pictures, exact.contract, 4, 2))):
        with pytest.raises(PictureError) as error:
            read()
        assert str(error.value).startswith(f"{own}/birch/003.png is damaged: ")
        assert len(str(error.value).splitlines()) == 1


def test_a_test_stops_at_a_bad_picture_even_where_training_replaces_it(replacing: Photographs, own: Path) -> None:
    pictures = damage(own, "ash/000.png")
    with pytest.raises(PictureError, match=r"ash/000\.png is damaged"):
        list(centre_views(pictures, replacing.contract, 4))


@pytest.fixture(scope="module")
def replacing(exact: Photographs) -> Photographs:
    return exact.but({"on_bad_picture": "replace"})


def test_a_replacement_is_drawn_reported_and_the_same_for_any_workers(
    drawn: Drawn, digests: Digests, random_crop: RandomCrop, replacing: Photographs, own: Path
) -> None:
    bad = {"ash/001.png": 1, "birch/004.png": 10, "birch/005.png": 11}
    pictures = damage(own, *bad)
    alone = drawn(pictures, replacing)
    for workers in (2, 4):
        assert digests(drawn(pictures, replacing, workers=workers)) == digests(alone)
    assert digests(drawn(pictures, replacing, consumed=20, workers=2)) == digests(alone)[5:]
    taken = torch.cat([batch.indices for batch in alone]).tolist()
    met = [incident for batch in alone for incident in batch.replaced]
    expected = []
    for place, (epoch, sample) in enumerate((e, s) for e in range(3) for s in chance.order(SEED, e, 12).tolist()):
        number, attempt = sample, 0
        while number in bad.values():
            expected.append(number)
            words = chance.words(SEED, chance.REPLACEMENT + attempt * chance.STREAMS, epoch, np.array([sample]))
            number, attempt = int(chance.below(12, words)[0]), attempt + 1
        assert taken[place] == number
        if number == sample:
            assert torch.equal(alone[place // 4].pixels[place % 4], random_crop(pictures, epoch, number))
    assert [incident.number for incident in met] == expected
    assert len(expected) >= 9
    assert all(bad[incident.path] == incident.number for incident in met)
    assert all(incident.what.startswith("is damaged: ") for incident in met)
    labels = torch.cat([batch.labels for batch in alone]).tolist()
    assert labels == [number // 6 for number in taken]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_of_only_bad_pictures_ends_with_one_clear_line(
    drawn: Drawn, replacing: Photographs, workers: int, own: Path
) -> None:
    for file in own.rglob("*.png"):
        file.rename(file.with_name(f"two\nlines {file.name}"))
    pictures = damage(own, *(str(file.relative_to(own)) for file in own.rglob("*.png")))
    with pytest.raises(PictureError) as error:
        drawn(pictures, replacing, workers=workers)
    text = str(error.value)
    assert text.startswith("100 pictures one after the other cannot be used")
    assert text.isprintable()
    assert "two\\nlines" in text
    assert "is damaged" in text


def grow(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"more")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def become_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (grow, r"has changed: [\d,]+ bytes, not the [\d,]+ it had when it was found"),
        (cut_short, "has changed: "),
        (empty, "is empty"),
        (Path.unlink, "cannot be read: No such file or directory"),
        (become_a_folder, "is not a regular file"),
    ],
)
def test_a_file_that_changed_after_it_was_found_is_refused(
    drawn: Drawn, exact: Photographs, replacing: Photographs, change: Callable[[Path], object], message: str, own: Path
) -> None:
    pictures = PictureFolder(own).read("all")
    change(own / "ash" / "004.png")
    with pytest.raises(PictureError, match=rf"^{own}/ash/004\.png {message}"):
        drawn(pictures)
    with pytest.raises(PictureError, match=rf"^{own}/ash/004\.png {message}"):
        list(centre_views(pictures, exact.contract, 4))
    replaced = {incident.path for batch in drawn(pictures, replacing) for incident in batch.replaced}
    assert replaced == {"ash/004.png"}


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_killed_in_the_middle_of_decoding_changes_no_batch(
    drawn: Drawn,
    digests: Digests,
    exact: Photographs,
    deaths: int,
    photos: PhotoFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fatal, left = photos.store.read(7), RawValue(c_int, deaths)

    def dying(data: bytes, *arguments: Any) -> Any:
        if data == fatal and left.value:
            left.value -= 1
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, *arguments)

    alone = digests(drawn(photos))
    monkeypatch.setattr(photographs, "decode", dying)
    monkeypatch.setattr(views, "decode", dying)
    heard: list[str] = []
    assert digests(drawn(photos, workers=2, warn=heard.append)) == alone
    assert len(heard) == deaths
    assert all(f"died (SIGKILL) at {photos.place(7)}; it was replaced" in line for line in heard)
    left.value = deaths
    heard.clear()
    tested = list(centre_views(photos, exact.contract, 4, 2, heard.append))
    assert torch.cat([batch.indices for batch in tested]).tolist() == list(range(15))
    assert len(heard) == deaths
