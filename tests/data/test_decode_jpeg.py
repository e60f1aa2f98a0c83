import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tests.picture_bytes import base, by_pillow, exif, image, saved, tall_sampling

from reslab.data.decode import decode, reduction
from reslab.data.picture_file import read_header
from reslab.transforms.photographs import Pixels, Size

CALM = settings(deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
JPEG_FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"progressive": True},
    {"keep_rgb": True},
    {"subsampling": 0},
    {"subsampling": 1},
    {"quality": 100},
)


def decoded(data: bytes, at_least: Size | None = None) -> Pixels:
    return decode(data, read_header(data), at_least)


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    picture = image(draw(st.sampled_from(["RGB", "RGB", "L"]))).resize((width, height))
    form = draw(st.sampled_from(JPEG_FORMS))
    if picture.mode == "L":
        form = {key: value for key, value in form.items() if key not in ("keep_rgb", "subsampling")}
    return saved("JPEG", picture, exif=exif(draw(st.integers(1, 8))), **form)


@CALM
@given(jpegs())
def test_a_jpeg_is_decoded_bit_for_bit_as_pillow_does(data: bytes) -> None:
    assert np.array_equal(decoded(data), by_pillow(data))


@pytest.mark.parametrize("form", JPEG_FORMS, ids=str)
def test_every_form_of_jpeg_shows_the_picture(form: dict[str, Any]) -> None:
    assert np.abs(decoded(saved("JPEG", **form)).astype(int) - base()).mean() < 8


def test_rare_subsampling_is_decoded() -> None:
    data = tall_sampling()
    assert np.array_equal(decoded(data), by_pillow(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_cmyk_pictures_are_put_upright_too(orientation: int) -> None:
    data = saved("JPEG", image("CMYK"), exif=exif(orientation))
    assert np.array_equal(decoded(data), by_pillow(data))


@st.composite
def smaller(draw: st.DrawFn) -> tuple[Size, int, Size]:
    size = draw(st.integers(9, 150)), draw(st.integers(9, 150))
    wanted = draw(st.integers(1, 160)), draw(st.integers(1, 160))
    return size, draw(st.integers(1, 8)), wanted


@CALM
@given(smaller())
def test_a_jpeg_decoded_small_is_pillows_draft_and_never_smaller_than_asked(case: tuple[Size, int, Size]) -> None:
    size, orientation, wanted = case
    data = saved("JPEG", image().resize(size), exif=exif(orientation))
    header = read_header(data)
    pixels = decode(data, header, at_least=wanted)
    upright = header.upright
    by = max(n for n in (1, 2, 4, 8) if n == 1 or all(-(-a // n) >= b for a, b in zip(upright, wanted, strict=True)))
    assert pixels.shape == (-(-upright[1] // by), -(-upright[0] // by), 3)
    with Image.open(io.BytesIO(data)) as opened:
        opened.draft("RGB", (size[0] // by, size[1] // by))
        assert np.array_equal(pixels, np.asarray(ImageOps.exif_transpose(opened)))


@CALM
@given(st.tuples(st.integers(1, 9999), st.integers(1, 9999)), st.tuples(st.integers(1, 999), st.integers(1, 999)))
def test_a_reduction_is_the_largest_that_leaves_enough(stored: Size, wanted: Size) -> None:
    def enough(by: int) -> bool:
        return all(np.ceil(side / by) >= least for side, least in zip(stored, wanted, strict=True))

    by = reduction(stored, wanted)
    assert by in (1, 2, 4, 8)
    assert by == 1 or enough(by)
    assert by == 8 or not enough(2 * by)


def test_a_cmyk_jpeg_is_decoded_whole() -> None:
    data = saved("JPEG", image("CMYK"))
    assert np.array_equal(decoded(data, (5, 3)), decoded(data))
