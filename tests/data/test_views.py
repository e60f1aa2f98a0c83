"""Every view that a testing protocol asks for, against naive loops of Pillow: photographs and small pictures."""

import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.tested import PILLOWS
from torch import Tensor

from reslab.core.contract import Resample
from reslab.core.errors import PictureError
from reslab.core.protocol import PLACES, Protocol
from reslab.data import views
from reslab.data.decode import decode
from reslab.data.photographs import Incident, PhotoFolder
from reslab.data.picture_file import Header
from reslab.data.pictures import Pictures
from reslab.data.source import PictureFolder
from reslab.data.views import ViewBatch, by_size, photo_views, small_views
from reslab.transforms.photographs import Pixels, crops_at, resized_to

CALM = settings(deadline=None, max_examples=150)
Upright = Callable[[PhotoFolder, int], Image.Image]
Found = dict[tuple[int, int], list[Tensor]]  # the views of a picture in a group
SIDE: Final = 32


def protocol(**values: Any) -> Protocol:
    usual: dict[str, Any] = {"name": "p", "shorter_sides": [36], "crop": SIDE, "places": "corners+center"}
    return Protocol.parse({**usual, **values})


TEN: Final = protocol(mirror=True)
TWO_SCALES: Final = protocol(shorter_sides=[50, 33], places="square-corners+center")
CENTRE: Final = protocol(shorter_sides=[32, 41], places="center")
DENSE: Final = protocol(shorter_sides=[32, 37, 48], places="center", dense="pool-then-classify", mirror=True)


def gathered(batches: Iterable[ViewBatch]) -> Found:
    found: Found = defaultdict(list)
    for batch in batches:
        assert (batch.pixels.dtype, batch.indices.dtype, batch.pixels.dim()) == (torch.uint8, torch.int64, 4)
        for pixels, number in zip(batch.pixels, batch.indices.tolist(), strict=True):
            found[number, batch.group].append(pixels)
    return found


def by_pillow(image: Image.Image, shorter: int, of: Protocol, resample: Resample = "bilinear") -> list[Tensor]:
    """The views of one picture at one shorter side."""
    resized = image.resize(resized_to(image.size, shorter), PILLOWS[resample])
    made = [resized]
    if not of.dense:
        places = [(crop.left, crop.top) for crop in crops_at(resized.size, of.crop, of.places)]
        made = [resized.crop((left, top, left + of.crop, top + of.crop)) for left, top in places]
    return [torch.from_numpy(np.array(one).reshape(one.height, one.width, -1)) for one in made]


def expected(
    photos: PhotoFolder, which: range, of: Protocol, upright: Upright, resample: Resample = "bilinear"
) -> Found:
    return {
        (number, group): by_pillow(upright(photos, number), shorter, of, resample)
        for number in which
        for group, shorter in enumerate(of.shorter_sides)
    }


def require_same(found: Found, wanted: Found) -> None:
    assert found.keys() == wanted.keys()
    for key, ours in found.items():
        assert len(ours) == len(wanted[key]), key
        assert all(map(torch.equal, ours, wanted[key])), key


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch", [1, 4, 15, 64])
@pytest.mark.parametrize("of", [TEN, TWO_SCALES, CENTRE, DENSE], ids=["ten", "two scales", "centre", "dense"])
def test_views_of_photographs_are_those_of_pillow_bit_for_bit(
    of: Protocol, batch: int, workers: int, photos: PhotoFolder, upright: Upright
) -> None:
    found = gathered(photo_views(photos, of, range(15), batch=batch, workers=workers))
    require_same(found, expected(photos, range(15), of, upright))
    assert {len(each) for each in found.values()} == {of.views // (2 if of.mirror else 1)}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("of", [TEN, TWO_SCALES, DENSE], ids=["ten", "two scales", "dense"])
def test_bicubic_views_are_those_of_pillow_bit_for_bit(
    of: Protocol, workers: int, photos: PhotoFolder, upright: Upright
) -> None:
    found = gathered(photo_views(photos, of, range(15), batch=4, resample="bicubic", workers=workers))
    require_same(found, expected(photos, range(15), of, upright, "bicubic"))
    others = expected(photos, range(15), of, upright)
    assert not any(torch.equal(found[key][0], others[key][0]) for key in found)


def test_crops_come_view_by_view_in_full_batches(photos: PhotoFolder) -> None:
    batches = list(photo_views(photos, TWO_SCALES, range(15), batch=6))
    numbers = [list(range(6)), list(range(6, 12)), [12, 13, 14]]
    assert [batch.indices.tolist() for batch in batches] == [each for each in numbers for _ in range(10)]
    assert [batch.group for batch in batches] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1] * 3


@pytest.mark.parametrize("of", [TEN, DENSE], ids=["ten", "dense"])
@pytest.mark.parametrize("which", [range(3, 9), range(14, 15), range(1), range(7, 7), range(0)])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_part_of_the_pictures_has_their_views_and_no_others(
    of: Protocol, which: range, workers: int, photos: PhotoFolder, upright: Upright
) -> None:
    found = gathered(photo_views(photos, of, which, batch=4, workers=workers))
    require_same(found, expected(photos, which, of, upright))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("of", [TEN, TWO_SCALES, DENSE], ids=["ten", "two scales", "dense"])
def test_every_picture_is_opened_and_decoded_once(
    of: Protocol, workers: int, photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, decoded = (multiprocessing.get_context("fork").Array("i", 15) for _ in range(2))
    sizes: list[int] = photos.index.sizes.tolist()
    assert len(set(sizes)) == 15
    read = PhotoFolder.open

    def open_one(self: PhotoFolder, number: int) -> tuple[bytes, Header]:
        with opened.get_lock():
            opened[number] += 1
        return read(self, number)

    def decode_one(data: bytes, header: Header) -> Pixels:
        with decoded.get_lock():
            decoded[sizes.index(len(data))] += 1
        return decode(data, header)

    monkeypatch.setattr(PhotoFolder, "open", open_one)
    monkeypatch.setattr(views, "decode", decode_one)
    assert len(list(photo_views(photos, of, range(15), batch=4, workers=workers))) > 1
    assert list(opened) == list(decoded) == [1] * 15


def test_what_a_batch_holds_does_not_change_when_the_next_one_comes(photos: PhotoFolder) -> None:
    for of in (TEN, DENSE):
        kept = [(batch, batch.pixels.clone()) for batch in photo_views(photos, of, range(15), batch=2, workers=2)]
        assert all(torch.equal(batch.pixels, before) for batch, before in kept)


def test_a_batch_of_crops_takes_no_more_memory_than_is_said(
    photos: PhotoFolder, upright: Upright, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pictures, most in ((2, 2 * 10 * SIDE**2 * 3), (2, 3 * 10 * SIDE**2 * 3 - 1), (1, 1)):
        monkeypatch.setattr(views, "CROPS", most)
        batches = list(photo_views(photos, TWO_SCALES, range(5), batch=64))
        assert max(len(batch.indices) for batch in batches) == pictures
        require_same(gathered(batches), expected(photos, range(5), TWO_SCALES, upright))


def test_whole_pictures_of_one_size_fill_batches_of_so_many_pixels(own: Path) -> None:
    for file in own.rglob("*.png"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(file)
    pictures = PictureFolder(own).read("all")
    of = protocol(shorter_sides=[32, 64], places="center", dense="pool-then-classify")
    batches = list(photo_views(pictures, of, range(12), batch=8))
    assert [(batch.group, len(batch.indices)) for batch in batches if batch.group == 0] == [(0, 8), (0, 4)]
    assert [(batch.group, len(batch.indices)) for batch in batches if batch.group == 1] == [(1, 2)] * 6


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("of", [TEN, DENSE], ids=["ten", "dense"])
def test_a_damaged_picture_is_named(of: Protocol, workers: int, own: Path) -> None:
    file = own / "birch" / "003.png"
    file.write_bytes(file.read_bytes()[:-40])
    pictures = PictureFolder(own).read("all")
    with pytest.raises(PictureError) as error:
        list(photo_views(pictures, of, range(12), batch=4, workers=workers))
    assert str(error.value).startswith(f"{file} is damaged: ")
    assert str(error.value).isprintable()
    good = list(photo_views(pictures, of, range(9), batch=4, workers=workers))
    assert len(gathered(good)) == 9 * len(of.groups)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_too_large_for_dense_testing_is_named(
    workers: int, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((40, 100, 3), np.uint8)).save(own / "birch" / "wide.png")
    pictures = PictureFolder(own).read("all")
    monkeypatch.setattr(views, "LARGEST_VIEW", 48 * 120)
    found = gathered(photo_views(pictures, DENSE, range(13), batch=4, workers=workers))
    assert max(view.shape[:2].numel() for each in found.values() for view in each) == 48 * 120
    monkeypatch.setattr(views, "LARGEST_VIEW", 48 * 120 - 1)
    with pytest.raises(PictureError) as error:
        list(photo_views(pictures, DENSE, range(13), batch=4, workers=workers))
    assert str(error.value) == f"{own}/birch/wide.png is 120x48 pixels in dense testing, more than 5,759"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("of", [TEN, TWO_SCALES, DENSE], ids=["ten", "two scales", "dense"])
def test_a_picture_smaller_than_the_crop_is_told_once_and_enlarged(of: Protocol, workers: int, own: Path) -> None:
    Image.fromarray(np.full((20, 31, 3), 77, np.uint8)).save(own / "ash" / "small.png")
    pictures = PictureFolder(own).read("all")
    number = [pictures.index.path(place) for place in range(13)].index("ash/small.png")
    batches = list(photo_views(pictures, of, range(13), batch=5, workers=workers))
    told = Incident(number, "ash/small.png", "has 31x20 pixels, fewer than the crop of 32")
    assert [incident for batch in batches for incident in batch.enlarged] == [told]
    assert all(number in batch.indices for batch in batches if batch.enlarged)
    assert all((view == 77).all() for group in range(len(of.groups)) for view in gathered(batches)[number, group])


def view(number: int, group: int, height: int, width: int) -> ViewBatch:
    incident = Incident(number, str(number), "is odd")
    pixels = torch.full((1, height, width, 3), number % 256, dtype=torch.uint8)
    return ViewBatch(pixels, torch.tensor([number]), group, (incident,) if number % 3 == 0 else ())


@st.composite
def streams(draw: st.DrawFn) -> list[ViewBatch]:
    """Views of few sizes, so that many have the same."""
    sides = st.sampled_from([1, 2, 5, 9])
    shapes = draw(st.lists(st.tuples(st.integers(0, 2), sides, sides), max_size=40))
    return [view(number, *shape) for number, shape in enumerate(shapes)]


def key(batch: ViewBatch) -> tuple[int, ...]:
    return (batch.group, *batch.pixels.shape[1:])


@CALM
@given(streams(), st.integers(1, 120), st.integers(1, 600))
def test_every_view_comes_out_once_in_batches_of_one_size_within_the_bounds(
    stream: list[ViewBatch], pixels: int, pending: int
) -> None:
    taken, given_away = 0, 0

    def source() -> Iterator[ViewBatch]:
        nonlocal taken
        for one in stream:
            assert taken - given_away <= pending
            taken += one.pixels.nbytes
            yield one

    found: list[ViewBatch] = []
    for batch in by_size(source(), pixels, pending):
        given_away += batch.pixels.nbytes
        assert taken - given_away <= pending
        found.append(batch)
    assert sorted(number for batch in found for number in batch.indices.tolist()) == list(range(len(stream)))
    for batch in found:
        assert len(batch.indices) == len(batch.pixels)
        assert len(batch.indices) == 1 or batch.pixels.shape[:3].numel() <= pixels
        for place, number in enumerate(batch.indices.tolist()):
            assert key(stream[number]) == key(batch)
            assert torch.equal(batch.pixels[place], stream[number].pixels[0])
        assert batch.enlarged == tuple(i for number in batch.indices.tolist() for i in stream[number].enlarged)


@CALM
@given(streams(), st.integers(1, 120))
def test_where_all_may_wait_every_batch_but_the_last_of_its_size_is_full(stream: list[ViewBatch], pixels: int) -> None:
    sizes = defaultdict(list)
    for batch in by_size(iter(stream), pixels):
        sizes[key(batch)].append(len(batch.indices))
    counts = Counter(map(key, stream))
    for (group, height, width, channels), found in sizes.items():
        full = max(1, pixels // (height * width))
        whole, rest = divmod(counts[group, height, width, channels], full)
        assert found == [full] * whole + [rest] * (rest > 0)


def test_where_too_much_waits_the_fullest_batch_goes_on() -> None:
    stream = [view(0, 0, 2, 2), view(1, 0, 3, 3), view(2, 0, 2, 2), view(3, 0, 2, 2), view(4, 0, 1, 1)]
    found = [batch.indices.tolist() for batch in by_size(iter(stream), 1000, 12 + 27 + 12)]
    assert found == [[0, 2, 3], [1], [4]]
    assert [batch.indices.tolist() for batch in by_size(iter(stream), 1000, 0)] == [[0], [1], [2], [3], [4]]


def test_what_has_gone_on_waits_no_more() -> None:
    stream = [view(number, 0, 2, 2) for number in range(6)]
    assert [batch.indices.tolist() for batch in by_size(iter(stream), 8, 24)] == [[0, 1], [2, 3], [4, 5]]
    assert [batch.indices.tolist() for batch in by_size(iter(stream), 99, 12)] == [[0, 1], [2, 3], [4, 5]]


def test_a_batch_goes_on_as_soon_as_it_is_full() -> None:
    asked: list[int] = []

    def source() -> Iterator[ViewBatch]:
        for number in range(6):
            asked.append(number)
            yield view(number, 0, 2, 2)

    batches = by_size(source(), 8)
    assert next(batches).indices.tolist() == [0, 1]
    assert asked == [0, 1]


def small(channels: int, count: int = 7, height: int = 12, width: int = 12) -> Pictures:
    draw = torch.Generator().manual_seed(channels)
    pixels = torch.randint(256, (count, channels, height, width), generator=draw, dtype=torch.uint8)
    return Pictures("noise", "val", pixels, torch.zeros(count, dtype=torch.int64), ("a",))


def small_by_pillow(pictures: Pictures, which: range, of: Protocol) -> Found:
    found: Found = {}
    for number in which:
        pixels = pictures.pixels[number].permute(1, 2, 0).numpy()
        image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels))
        for group, shorter in enumerate(of.shorter_sides):
            found[number, group] = by_pillow(image, shorter, of)
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("batch", [1, 3, 50])
@pytest.mark.parametrize("places", [*PLACES, "pool-then-classify"])
def test_views_of_small_pictures_are_those_of_pillow_bit_for_bit(channels: int, batch: int, places: str) -> None:
    what = {"places": places} if places in PLACES else {"places": "center", "dense": places}
    of = protocol(shorter_sides=[14, 12, 19, 11], crop=11, **what)
    pictures = small(channels)
    for which in (range(7), range(2, 5), range(6, 7)):
        found = gathered(small_views(pictures, of, which, batch))
        require_same(found, small_by_pillow(pictures, which, of))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dense", [None, "pool-then-classify"])
def test_a_view_of_the_pictures_own_size_is_the_picture_itself(channels: int, dense: str | None) -> None:
    pictures = small(channels)
    of = protocol(shorter_sides=[12, 15], crop=12, places="center", dense=dense)
    for number in range(7):
        (found,) = gathered(small_views(pictures, of, range(7), 3))[number, 0]
        assert torch.equal(found, pictures.pixels[number].permute(1, 2, 0))


def test_a_small_picture_is_cropped_where_the_crop_is_smaller_though_it_keeps_its_size() -> None:
    pictures = small(3)
    of = protocol(shorter_sides=[12], crop=8, places="center")
    (batch,) = small_views(pictures, of, range(7), 10)
    assert torch.equal(batch.pixels, pictures.pixels[:, :, 2:10, 2:10].permute(0, 2, 3, 1))


@pytest.mark.parametrize(("batch", "sizes"), [(7, [[7], [4, 3], [1] * 7]), (3, [[3, 3, 1], [1] * 7, [1] * 7])])
def test_batches_of_larger_small_pictures_are_smaller(batch: int, sizes: list[list[int]]) -> None:
    of = protocol(shorter_sides=[12, 15, 30], crop=12, places="center", dense="pool-then-classify")
    found: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for some in small_views(small(3), of, range(7), batch):
        found[some.group].append(len(some.indices))
        assert len(some.indices) == 1 or some.pixels.shape[:3].numel() <= batch * 12**2
    assert list(found.values()) == sizes


@pytest.mark.parametrize("places", PLACES)
def test_no_pictures_have_no_views(places: str) -> None:
    for which in (range(0), range(4, 4)):
        assert list(small_views(small(3), protocol(crop=10, shorter_sides=[12], places=places), which, 5)) == []


def test_views_leave_small_pictures_as_they_are() -> None:
    pictures = small(1)
    before = pictures.pixels.clone()
    of = protocol(shorter_sides=[12, 14], crop=12)
    assert len(list(small_views(pictures, of, range(7), 3))) == 3 * 10
    assert torch.equal(pictures.pixels, before)
