import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tests.hostile import KINDS, Kind
from tests.picture_bytes import (
    HEIGHT,
    WIDTH,
    base,
    by_pillow,
    chunk,
    deep_grey,
    exif,
    image,
    moving,
    png,
    saved,
    see_through,
    tiff,
    ycck,
)

from reslab.core.errors import PictureError
from reslab.data.decode import decode
from reslab.data.picture_file import read_header, read_picture
from reslab.transforms.photographs import Pixels, Size

EVERY_VALUE = np.arange(65536, dtype=np.uint16).reshape(256, 256)
ROUNDED = (EVERY_VALUE.astype(np.float64) / 257).round()


def decoded(data: bytes, at_least: Size | None = None) -> Pixels:
    return decode(data, read_header(data), at_least)


def named(kind: Kind) -> str:
    return kind.name


def off(one: NDArray[np.generic], other: NDArray[np.generic]) -> int:
    """The largest difference."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(np.int64) - other.astype(np.int64)).max())


def on_white(colours: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return np.round(colours * share + 255 * (1 - share))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.reads], ids=named)
@pytest.mark.parametrize("at_least", [None, (11, 7)])
def test_an_odd_file_gives_its_pixels(kind: Kind, at_least: Size | None, tmp_path: Path) -> None:
    path = kind.put(tmp_path)
    data = read_picture(path, expected=path.stat().st_size)
    header = read_header(data)
    pixels = decode(data, header, at_least)
    width, height = header.upright
    assert kind.says in " ".join(header.notes)
    assert (str(pixels.dtype), pixels.ndim, pixels.shape[2], pixels.flags.c_contiguous) == ("uint8", 3, 3, True)
    if at_least is None:
        assert pixels.shape == (height, width, 3)
    else:
        assert min(width, at_least[0]) <= pixels.shape[1] <= width
        assert min(height, at_least[1]) <= pixels.shape[0] <= height


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.reads], ids=named)
@pytest.mark.parametrize("at_least", [None, (11, 7)])
def test_a_hostile_file_gives_one_line(kind: Kind, at_least: Size | None, tmp_path: Path) -> None:
    path = kind.put(tmp_path)
    with pytest.raises(PictureError) as refusal:
        decoded(read_picture(path), at_least)
    assert kind.says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [saved("PNG"), saved("BMP"), saved("TIFF"), saved("WEBP", lossless=True)],
    ids=["png", "bmp", "tiff", "webp"],
)
def test_lossless_pictures_are_their_pixels(data: bytes) -> None:
    assert np.array_equal(decoded(data), base())


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_compressed_tiff_is_its_pixels(compression: str, orientation: int) -> None:
    data = saved("TIFF", compression=compression, exif=exif(orientation))
    assert np.array_equal(decoded(data), np.rot90(base(), 3) if orientation == 6 else base())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_put_upright(kind: str, orientation: int) -> None:
    data = saved(kind, exif=exif(orientation))
    assert np.array_equal(decoded(data), by_pillow(data))


def test_orientation_6_is_a_quarter_turn_clockwise() -> None:
    assert np.array_equal(decoded(saved("PNG", exif=exif(6))), np.rot90(base(), -1))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pictures_are_put_upright_too(kind: str, orientation: int) -> None:
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(kind, see_through(), exif=exif(orientation), **lossless)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGBA")
    colours, alpha = np.asarray(upright)[..., :3], np.asarray(upright)[..., 3]
    assert off(decoded(data), on_white(colours, alpha)) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_pictures_are_put_upright_too(orientation: int) -> None:
    block = chunk(b"eXIf", exif(orientation).tobytes()[6:])
    plain, turned = decoded(png(deep_grey(), 16, 0)), decoded(png(deep_grey(), 16, 0, before=block))
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(marked(plain, orientation))))


def marked(pixels: NDArray[np.uint8], orientation: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.getexif()[0x0112] = orientation
    return picture


@pytest.mark.parametrize(
    "data",
    [
        png(EVERY_VALUE, 16, 0),
        tiff(EVERY_VALUE.tobytes(), {256: 256, 257: 256, 278: 256, 258: 16}),
        saved("TIFF", Image.fromarray(EVERY_VALUE.astype(">u2"))),
    ],
    ids=["png", "tiff", "big-endian-tiff"],
)
def test_16_bit_grey_is_scaled_and_rounded(data: bytes) -> None:
    assert np.array_equal(decoded(data), np.stack([ROUNDED] * 3, -1))
    assert [int(ROUNDED.flat[value]) for value in (0, 128, 129, 32896, 65535)] == [0, 0, 1, 128, 255]


def test_16_bit_colours_are_scaled() -> None:
    turned = np.stack([EVERY_VALUE, EVERY_VALUE[::-1], EVERY_VALUE.T], -1)
    expected = np.stack([ROUNDED, ROUNDED[::-1], ROUNDED.T], -1)
    assert off(decoded(png(turned, 16, 2)), expected) <= 1  # Pillow keeps the upper eight bits of colours


def test_16_bit_alpha_is_laid_on_white() -> None:
    grey = np.full((2, 3), 65535 // 2, np.uint16)
    alpha = np.array([[0, 65535, 32896], [65535, 0, 0]], np.uint16)
    pixels = decoded(png(np.stack([grey, grey, grey, alpha], -1), 16, 6))
    assert off(pixels[..., 0], np.array([[255, 127, 191], [127, 255, 255]])) <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_whose_zero_is_white_is_not_a_negative(bits: int) -> None:
    grey = np.linspace(0, 2**bits - 1, WIDTH * HEIGHT).round().astype(f"<u{bits // 8}").reshape(HEIGHT, WIDTH)
    usual, inverted = tiff(grey.tobytes(), {258: bits}), tiff((2**bits - 1 - grey).tobytes(), {258: bits, 262: 0})
    assert np.array_equal(decoded(inverted), decoded(usual))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_grey_becomes_three_equal_channels(kind: str) -> None:
    pixels = decoded(saved(kind, image("L")))
    assert off(pixels[..., 0], np.asarray(image("L"))) <= (6 if kind == "JPEG" else 0)
    assert np.array_equal(pixels, np.repeat(pixels[..., :1], 3, -1))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_is_black_or_white(kind: str) -> None:
    assert np.array_equal(decoded(saved(kind, image("1"))), np.asarray(image("1").convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF"])
def test_palettes_are_looked_up(kind: str) -> None:
    assert np.array_equal(decoded(saved(kind, image("P"))), np.asarray(image("P").convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_pixels_are_laid_on_white(kind: str) -> None:
    lossless = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pixels = decoded(saved(kind, see_through(), **lossless))
    assert off(pixels, on_white(base(), np.asarray(see_through())[..., 3])) <= 1
    assert np.array_equal(pixels[:, 0], base()[:, 0])
    assert (pixels[:, -1] == 255).all()


def test_a_palettes_transparent_colour_is_white() -> None:
    indexes = np.asarray(image("P"))
    chosen = int(indexes[3, 4])
    expected = np.where((indexes == chosen)[..., None], 255, np.asarray(image("P").convert("RGB")))
    for kind in ("PNG", "GIF"):
        assert np.array_equal(decoded(saved(kind, image("P"), transparency=chosen)), expected)


def test_a_transparent_grey_is_white() -> None:
    grey = np.asarray(image("L"))
    data = png(grey, 8, 0, before=chunk(b"tRNS", struct.pack(">H", grey[3, 4])))
    assert np.array_equal(decoded(data)[..., 0], np.where(grey == grey[3, 4], 255, grey))


def test_a_transparent_16_bit_grey_is_white() -> None:
    usual = decoded(png(deep_grey(), 16, 0))[..., 0]
    chosen = int(deep_grey()[20, 4])
    data = png(deep_grey(), 16, 0, before=chunk(b"tRNS", struct.pack(">H", chosen)))
    assert np.array_equal(decoded(data)[..., 0], np.where(deep_grey() == chosen, 255, usual))


def test_a_transparent_colour_is_white() -> None:
    data = png(base(), 8, 2, before=chunk(b"tRNS", struct.pack(">HHH", *base()[3, 4])))
    hidden = (base() == base()[3, 4]).all(-1, keepdims=True)
    assert np.array_equal(decoded(data), np.where(hidden, 255, base()))


def test_cmyk_is_converted_as_pillow_does() -> None:
    for data in (saved("JPEG", image("CMYK")), saved("TIFF", image("CMYK")), ycck()):
        assert np.array_equal(decoded(data), by_pillow(data))
        assert np.abs(decoded(data).astype(int) - base()).mean() < 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_counts(kind: str) -> None:
    mean_off = np.abs(decoded(moving(kind)).astype(int) - base()).mean()
    assert mean_off < 8


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pictures_are_refused(mode: str) -> None:
    line = "^has 32-bit pixels, whose range nothing states; 8 and 16 bits are read$"
    with pytest.raises(PictureError, match=line):
        decoded(saved("TIFF", image("L").convert(mode)))


def test_pixels_of_another_size_than_the_header_says_are_refused() -> None:
    wide = saved("PNG", image().resize((WIDTH + 1, HEIGHT)))
    with pytest.raises(PictureError, match=r"^is damaged: its header says 40 x 24, its pixels otherwise$"):
        decode(wide, read_header(saved("PNG")))


def test_damage_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    packed = saved("TIFF", compression="tiff_adobe_deflate")
    for data in (packed[:8] + bytes(40) + packed[48:], saved("JPEG")[:-40], saved("PNG")[:-40], saved("GIF")[:-200]):
        with pytest.raises(PictureError, match="is damaged"):
            decoded(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_only_a_jpeg_is_decoded_smaller(kind: str) -> None:
    data = saved(kind)
    assert np.array_equal(decoded(data, (5, 3)), decoded(data))
