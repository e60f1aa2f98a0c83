import hashlib
import io
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from reslab.core.contract import Contract
from reslab.core.errors import PictureError
from reslab.core.experiment import Photographs
from reslab.data import chance, photographs
from reslab.data.decode import decode
from reslab.data.loader import CropBatch, centre_crops, training_crops
from reslab.data.photographs import PhotoFolder
from reslab.data.source import PictureFolder
from reslab.transforms.photographs import resized_to

CALM = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
SIDE = 32
EXACT = Photographs(contract=Contract(shorter_side=36, crop=SIDE), scale=(34, 50), decode="exact")
FAST = EXACT.but({"decode": "fast"})
SEED = 3
FolderOf = Callable[..., Path]


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    """15 JPEG pictures in three classes, of which one lies on its side."""
    root = folder_of(tmp_path_factory.mktemp("photos"), pictures=5)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(root / "birch" / "002.jpg") as image:
        image.save(root / "birch" / "002.jpg", exif=exif, quality=95)
    return PictureFolder(root).read("all")


@pytest.fixture
def own(folder_of: FolderOf, tmp_path: Path) -> Path:
    """12 PNG pictures in two classes, to be damaged."""
    return folder_of(tmp_path / "own", ("ash", "birch"), 6, ".png")


def drawn(pictures: PhotoFolder, how: Photographs = EXACT, **options: Any) -> list[CropBatch]:
    chosen = {"batch": 4, "steps": 9, "seed": SEED, "settings": how} | options
    return list(training_crops(pictures, **chosen))


def digests(batches: Iterable[CropBatch]) -> list[str]:
    """One for each batch, of everything in it."""
    return [
        hashlib.sha256(b"".join(part.numpy().tobytes() for part in batch[:3]) + repr(batch[3:]).encode()).hexdigest()
        for batch in batches
    ]


def as_pillow_sees_it(pictures: PhotoFolder, number: int) -> Image.Image:
    with Image.open(pictures.root / pictures.index.path(number)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def random_crop(pictures: PhotoFolder, epoch: int, number: int) -> torch.Tensor:
    """By Pillow, from the draws that `chance.words` and `chance.below` give."""

    def draw(bound: int, stream: int) -> int:
        return int(chance.below(bound, chance.words(SEED, stream, epoch, np.array([number])))[0])

    image = as_pillow_sees_it(pictures, number)
    low, high = EXACT.scale
    width, height = resized_to(image.size, low + draw(high - low + 1, chance.SCALE))
    left, top = draw(width - SIDE + 1, chance.COLUMN), draw(height - SIDE + 1, chance.ROW)
    cut = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + SIDE, top + SIDE))
    mirrored = draw(2, chance.MIRROR) == 1
    return torch.from_numpy(np.array(ImageOps.mirror(cut) if mirrored else cut))


@pytest.mark.parametrize("how", [EXACT, FAST], ids=["exact", "fast"])
def test_batches_are_the_same_for_any_number_of_workers_and_wherever_they_begin(
    how: Photographs, photos: PhotoFolder
) -> None:
    alone = digests(drawn(photos, how))
    assert len(set(alone)) == 9
    for workers in (2, 4):
        assert digests(drawn(photos, how, workers=workers)) == alone
    for done, workers in ((1, 0), (4, 2), (8, 0), (9, 2)):
        assert digests(drawn(photos, how, consumed=4 * done, workers=workers)) == alone[done:]


def test_every_epoch_visits_every_picture_once_in_an_order_of_its_own(photos: PhotoFolder) -> None:
    visited = torch.cat([batch.indices for batch in drawn(photos, steps=12, workers=2)]).tolist()
    epochs = [visited[start : start + 15] for start in (0, 15, 30)]
    assert all(sorted(epoch) == list(range(15)) for epoch in epochs)
    assert epochs == [chance.order(SEED, epoch, 15).tolist() for epoch in range(3)]
    assert epochs[0] != epochs[1]


def test_batches_have_the_promised_types_and_labels(photos: PhotoFolder) -> None:
    for batch in drawn(photos):
        assert (batch.pixels.dtype, tuple(batch.pixels.shape)) == (torch.uint8, (4, SIDE, SIDE, 3))
        assert batch.labels.dtype == batch.indices.dtype == torch.int64
        assert batch.labels.tolist() == [index // 5 for index in batch.indices.tolist()]
        assert (batch.replaced, batch.enlarged) == ((), ())


def test_a_crop_is_what_its_draws_say(photos: PhotoFolder) -> None:
    seen = 0
    for batch in drawn(photos):
        for crop, number in zip(batch.pixels, batch.indices.tolist(), strict=True):
            assert torch.equal(crop, random_crop(photos, seen // 15, number)), number
            seen += 1


def test_fast_decoding_gives_nearly_the_same_crops(photos: PhotoFolder) -> None:
    for exact, fast in zip(drawn(photos), drawn(photos, FAST), strict=True):
        assert torch.equal(exact.indices, fast.indices)
        assert (exact.pixels.float() - fast.pixels.float()).abs().mean() < 2


def test_without_flipping_crops_are_the_same_or_mirror_images(photos: PhotoFolder) -> None:
    mirrored = []
    for with_flips, without in zip(drawn(photos), drawn(photos, EXACT.but({"flip": False})), strict=True):
        for one, other in zip(with_flips.pixels, without.pixels, strict=True):
            mirrored.append(torch.equal(one, other.flip(1)))
            assert mirrored[-1] != torch.equal(one, other)
    assert 0.2 < np.mean(mirrored) < 0.8


def test_crops_reach_every_scale_and_every_corner(photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = []
    whole = photographs.cut_whole
    monkeypatch.setattr(photographs, "cut_whole", lambda picture, crop: windows.append(crop) or whole(picture, crop))
    drawn(photos, EXACT.but({"scale": [SIDE, SIDE + 2]}), steps=200)
    assert {min(window.resized) for window in windows} == {SIDE, SIDE + 1, SIDE + 2}
    slack = {(min(w.resized) - SIDE, w.left if w.resized[0] < w.resized[1] else w.top) for w in windows}
    assert slack == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}


def test_another_seed_gives_other_batches(photos: PhotoFolder) -> None:
    assert not set(digests(drawn(photos))) & set(digests(drawn(photos, seed=4)))


@CALM
@given(
    *(st.integers(1, 2**32 - 1), st.integers(0, 2**63 - 1), st.integers(0, 900), st.integers(0, 2**31)),
    st.integers(0, 2**31),
)
def test_a_single_draw_is_the_one_that_arrays_give(bound: int, seed: int, stream: int, epoch: int, sample: int) -> None:
    expected = chance.below(bound, chance.words(seed, stream, epoch, np.array([sample])))
    assert chance.draw(bound, seed, stream, epoch, sample) == int(expected[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_centre_crops_are_those_of_pillow_in_order_each_once(workers: int, photos: PhotoFolder) -> None:
    batches = list(centre_crops(photos, EXACT.contract, 4, workers))
    assert [len(batch.indices) for batch in batches] == [4, 4, 4, 3]
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(15))
    assert torch.cat([batch.labels for batch in batches]).tolist() == [number // 5 for number in range(15)]
    for number, crop in enumerate(torch.cat([batch.pixels for batch in batches])):
        image = as_pillow_sees_it(photos, number)
        resized = image.resize(resized_to(image.size, 36), Image.Resampling.BILINEAR)
        left, top = (round((side - SIDE) / 2) for side in resized.size)
        expected = resized.crop((left, top, left + SIDE, top + SIDE))
        assert torch.equal(crop, torch.from_numpy(np.array(expected))), number


@pytest.mark.parametrize(("pictures", "batch", "sizes"), [(15, 15, [15]), (15, 64, [15]), (15, 1, [1] * 15)])
def test_centre_crops_fill_batches_of_any_size(
    pictures: int, batch: int, sizes: list[int], photos: PhotoFolder
) -> None:
    assert len(photos) == pictures
    assert [len(found.labels) for found in centre_crops(photos, EXACT.contract, batch)] == sizes


def test_a_picture_smaller_than_the_crop_is_enlarged_and_said_to_be(own: Path) -> None:
    Image.fromarray(np.full((20, 31, 3), 77, np.uint8)).save(own / "ash" / "small.png")
    pictures = PictureFolder(own).read("all")
    number = [pictures.index.path(n) for n in range(13)].index("ash/small.png")
    told = (number, "ash/small.png", "has 31x20 pixels, fewer than the crop of 32")
    tested = list(centre_crops(pictures, EXACT.contract, 13, 2))
    assert [tuple(incident) for batch in tested for incident in batch.enlarged] == [told]
    assert (tested[0].pixels[number] == 77).all()
    trained = drawn(pictures, batch=13, steps=2, workers=2)
    assert [tuple(incident) for batch in trained for incident in batch.enlarged] == [told, told]


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def damage(root: Path, *names: str) -> PhotoFolder:
    """A folder whose pictures of these names are damaged, and were when it was indexed."""
    for name in names:
        cut_short(root / name)
    return PictureFolder(root).read("all")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_picture_stops_and_is_named(workers: int, own: Path) -> None:
    pictures = damage(own, "birch/003.png")
    for read in (lambda: drawn(pictures, workers=workers), lambda: list(centre_crops(pictures, EXACT.contract, 4, 2))):
        with pytest.raises(PictureError) as error:
            read()
        assert str(error.value).startswith(f"{own}/birch/003.png is damaged: ")
        assert len(str(error.value).splitlines()) == 1


def test_a_test_stops_at_a_bad_picture_even_where_training_replaces_it(own: Path) -> None:
    pictures = damage(own, "ash/000.png")
    with pytest.raises(PictureError, match=r"ash/000\.png is damaged"):
        list(centre_crops(pictures, EXACT.but({"on_bad_picture": "replace"}).contract, 4))


REPLACE = EXACT.but({"on_bad_picture": "replace"})


def test_a_replacement_is_drawn_reported_and_the_same_for_any_workers(own: Path) -> None:
    bad = {"ash/001.png": 1, "birch/004.png": 10, "birch/005.png": 11}
    pictures = damage(own, *bad)
    alone = drawn(pictures, REPLACE)
    for workers in (2, 4):
        assert digests(drawn(pictures, REPLACE, workers=workers)) == digests(alone)
    assert digests(drawn(pictures, REPLACE, consumed=20, workers=2)) == digests(alone)[5:]
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
def test_a_folder_of_only_bad_pictures_ends_with_one_clear_line(workers: int, own: Path) -> None:
    for file in own.rglob("*.png"):
        file.rename(file.with_name(f"two\nlines {file.name}"))
    pictures = damage(own, *(str(file.relative_to(own)) for file in own.rglob("*.png")))
    with pytest.raises(PictureError) as error:
        drawn(pictures, REPLACE, workers=workers)
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
    change: Callable[[Path], object], message: str, own: Path
) -> None:
    pictures = PictureFolder(own).read("all")
    change(own / "ash" / "004.png")
    with pytest.raises(PictureError, match=rf"^{own}/ash/004\.png {message}"):
        drawn(pictures, workers=2)
    with pytest.raises(PictureError, match=rf"^{own}/ash/004\.png {message}"):
        list(centre_crops(pictures, EXACT.contract, 4))
    replaced = {incident.path for batch in drawn(pictures, REPLACE) for incident in batch.replaced}
    assert replaced == {"ash/004.png"}


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_killed_in_the_middle_of_decoding_changes_no_batch(
    deaths: int, photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal, left = (photos.root / photos.index.path(7)).read_bytes(), RawValue(c_int, deaths)

    def dying(data: bytes, *arguments: Any) -> Any:
        if data == fatal and left.value:
            left.value -= 1
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, *arguments)

    alone = digests(drawn(photos))
    monkeypatch.setattr(photographs, "decode", dying)
    heard: list[str] = []
    assert digests(drawn(photos, workers=2, warn=heard.append)) == alone
    assert len(heard) == deaths
    assert all(f"died (SIGKILL) at {photos.place(7)}; it was replaced" in line for line in heard)
    left.value = deaths
    heard.clear()
    tested = list(centre_crops(photos, EXACT.contract, 4, 2, heard.append))
    assert torch.cat([batch.indices for batch in tested]).tolist() == list(range(15))
    assert len(heard) == deaths


def test_what_a_batch_holds_does_not_change_when_the_next_one_comes(photos: PhotoFolder) -> None:
    stream = training_crops(photos, batch=4, steps=9, seed=SEED, settings=EXACT, workers=2)
    kept = [(batch, digests([batch])) for batch in stream]
    assert all(digests([batch]) == before for batch, before in kept)


def test_a_picture_as_wide_as_a_panorama_is_cut_too(own: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((2, 3000, 3), np.uint8)).save(stream, "PNG")
    (own / "ash" / "wide.png").write_bytes(stream.getvalue())
    pictures = PictureFolder(own).read("all")
    assert len(torch.cat([batch.indices for batch in centre_crops(pictures, EXACT.contract, 5)])) == 13
    assert len(drawn(pictures, FAST, batch=13, steps=3)) == len(drawn(pictures, EXACT, batch=13, steps=3)) == 3
