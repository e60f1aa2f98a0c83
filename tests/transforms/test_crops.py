"""Where the crops of a testing protocol lie in a resized picture, and that they are cut from one resize."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.tested import PILLOWS

from reslab.core.contract import Contract, Resample
from reslab.core.protocol import PLACES, Places
from reslab.transforms import photographs
from reslab.transforms.photographs import Crop, Pixels, Size, centre_crop, crops_at, cut, cut_all, cut_whole, resized_to

CALM = settings(deadline=None, max_examples=200)
CORNERED: tuple[Places, ...] = ("corners+center", "square-corners+center")


def noise(size: Size, seed: int = 0) -> Pixels:
    width, height = size
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def even(half: int) -> int:
    """Half of a number of pixels, to the nearest whole one; of two the even one."""
    return int((Decimal(half) / 2).quantize(Decimal(1), ROUND_HALF_EVEN))


def naive(resized: Size, side: int, places: Places) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom: margins are shared out evenly, corners are those of a frame."""
    width, height = resized
    x, y = even(width - side), even(height - side)
    centre = (x, y, x + side, y + side)
    if places == "center":
        return [centre]
    frame = [0, 0, width, height]
    if places == "square-corners+center":
        square = min(width, height)
        x, y = even(width - square), even(height - square)
        frame = [x, y, x + square, y + square]
    left, top, right, bottom = frame
    return [
        (left, top, left + side, top + side),
        (right - side, top, right, top + side),
        (left, bottom - side, left + side, bottom),
        (right - side, bottom - side, right, bottom),
        centre,
    ]


def boxes(crops: Sequence[Crop]) -> list[tuple[int, int, int, int]]:
    return [(crop.left, crop.top, crop.left + crop.side, crop.top + crop.side) for crop in crops]


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Size, int]:
    """A resized picture, and a side that fits into it."""
    width, height = draw(st.integers(1, 700)), draw(st.integers(1, 700))
    return (width, height), draw(st.integers(1, min(width, height)))


@CALM
@given(layouts(), st.sampled_from(list(PLACES)))
def test_crops_lie_where_a_naive_description_puts_them(layout: tuple[Size, int], places: Places) -> None:
    resized, side = layout
    found = crops_at(resized, side, places)
    assert boxes(found) == naive(resized, side, places)
    assert {(crop.resized, crop.side) for crop in found} == {(resized, side)}
    assert len(found) == PLACES[places]


@CALM
@given(layouts(), st.sampled_from(list(PLACES)))
def test_no_crop_leaves_the_picture(layout: tuple[Size, int], places: Places) -> None:
    resized, side = layout
    for left, top, right, bottom in boxes(crops_at(resized, side, places)):
        assert 0 <= left < right <= resized[0]
        assert 0 <= top < bottom <= resized[1]


@CALM
@given(layouts())
def test_four_crops_touch_two_borders_of_the_picture_each(layout: tuple[Size, int]) -> None:
    (width, height), side = layout
    upper_left, upper_right, lower_left, lower_right, _ = boxes(crops_at((width, height), side, "corners+center"))
    assert upper_left[:2] == (0, 0)
    assert upper_right[1:3] == (0, width)
    assert (lower_left[0], lower_left[3]) == (0, height)
    assert lower_right[2:] == (width, height)


@CALM
@given(layouts())
def test_corners_of_the_central_square_are_those_of_a_square_picture_moved(layout: tuple[Size, int]) -> None:
    resized, side = layout
    square = min(resized)
    found = crops_at(resized, side, "square-corners+center")
    (frame,) = crops_at(resized, square, "center")
    alone = crops_at((square, square), side, "corners+center")
    for crop, corner in zip(found[:4], alone[:4], strict=True):
        assert (crop.left, crop.top) == (corner.left + frame.left, corner.top + frame.top)
    if resized[0] == resized[1]:
        assert found == alone


@CALM
@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), st.integers(1, 300), st.integers(0, 99))
def test_the_last_crop_is_the_centre_crop_of_training_and_of_every_other_test(
    size: Size, side: int, margin: int
) -> None:
    expected = centre_crop(size, Contract(shorter_side=side + margin, crop=side))
    for places in PLACES:
        assert crops_at(resized_to(size, side + margin), side, places)[-1] == expected


@pytest.mark.parametrize(
    ("margin", "place"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4), (31, 16), (33, 16)]
)
def test_half_a_pixel_goes_to_the_even_side(margin: int, place: int) -> None:
    across, down = (crops_at(size, 10, "center")[0] for size in ((10 + margin, 10), (10, 10 + margin)))
    assert (across.left, across.top) == (place, 0)
    assert (down.left, down.top) == (0, place)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ("corners+center", [(0, 0), (117, 0), (0, 32), (117, 32), (58, 16)]),
        ("square-corners+center", [(42, 0), (74, 0), (42, 32), (74, 32), (58, 16)]),
        ("center", [(58, 16)]),
    ],
)
def test_crops_of_a_photograph_worked_out_by_hand(places: Places, expected: list[tuple[int, int]]) -> None:
    assert [(crop.left, crop.top) for crop in crops_at((341, 256), 224, places)] == expected
    turned = [(crop.top, crop.left) for crop in crops_at((256, 341), 224, places)]
    assert sorted(turned) == sorted(expected)


@pytest.mark.parametrize("places", CORNERED)
def test_a_crop_of_the_whole_picture_is_five_times_the_same(places: Places) -> None:
    assert crops_at((64, 64), 64, places) == [Crop((64, 64), 0, 0, 64)] * 5


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Pixels, list[Crop]]:
    size = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    shorter = draw(st.integers(1, 50))
    crops = crops_at(resized_to(size, shorter), draw(st.integers(1, shorter)), draw(st.sampled_from(list(PLACES))))
    return noise(size, draw(st.integers(0, 99))), crops


@CALM
@given(cuts(), st.sampled_from(list(PILLOWS)))
def test_crops_cut_together_are_those_cut_alone_and_those_of_pillow(
    case: tuple[Pixels, list[Crop]], resample: Resample
) -> None:
    picture, crops = case
    image = Image.fromarray(picture).resize(crops[0].resized, PILLOWS[resample])
    found = cut_all(picture, crops, resample)
    assert len(found) == len(crops)
    for taken, crop, box in zip(found, crops, boxes(crops), strict=True):
        assert taken.dtype == np.uint8
        assert np.array_equal(taken, np.asarray(image.crop(box)))
        assert np.array_equal(taken, cut_whole(picture, crop, resample))


def test_a_picture_is_resized_once_for_all_of_its_crops(resizes: list[Size]) -> None:
    crops = crops_at((60, 45), 32, "corners+center")
    assert len({taken.tobytes() for taken in cut_all(noise((80, 60)), crops)}) == 5
    assert resizes == [(60, 45)]


@pytest.mark.parametrize("resample", PILLOWS)
def test_of_an_extremely_long_picture_only_the_crops_are_made(
    resample: Resample, resizes: list[Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photographs, "LARGEST_RESIZED", 400 * 20 - 1)
    picture, crops = noise((800, 40)), crops_at((400, 20), 16, "corners+center")
    found = cut_all(picture, crops, resample)
    assert resizes == [(16, 16)] * 5
    for taken, crop in zip(found, crops, strict=True):
        assert np.array_equal(taken, cut(picture, crop, resample))


@pytest.mark.parametrize("shape", [(7, 11), (7, 11, 3)])
@pytest.mark.parametrize("size", [(22, 14), (11, 7), (3, 5)])
@pytest.mark.parametrize("resample", PILLOWS)
def test_a_resize_is_pillows_for_grey_and_for_colour(resample: Resample, shape: tuple[int, ...], size: Size) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    found = photographs.resize(picture, size, resample)
    assert found.shape == (size[1], size[0], *shape[2:])
    assert np.array_equal(found, np.asarray(Image.fromarray(picture).resize(size, PILLOWS[resample])))
    if size == (11, 7):
        assert np.array_equal(found, picture)
