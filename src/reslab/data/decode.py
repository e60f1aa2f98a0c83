"""From a picture's file to upright RGB pixels, by the same stated rules for every kind of file.

Grey becomes three equal channels; palettes are looked up; transparent pixels are laid on white; CMYK is converted as
Pillow does; 16-bit values are scaled to 8 bits, never clipped; of several frames the first counts; EXIF orientation is
always applied. A JPEG whose decoder warns is damaged: a guess is not a picture.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import simplejpeg
from PIL import Image

from reslab.core.errors import PictureError
from reslab.data.picture_file import PLAIN_JPEG, Header, pillow
from reslab.transforms.photographs import Pixels, Size

UPRIGHT: Final[dict[int, Callable[[Pixels], Pixels]]] = {  # EXIF 2.3, tag Orientation
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, 3),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x),
}
STDERR: Final = 2
ONE_AT_A_TIME: Final = threading.Lock()
PHOTOMETRIC: Final = 262  # TIFF tag; 0: white is zero
HALVINGS: Final = (8, 4, 2)  # scales that the JPEG decoder reaches with fast arithmetic; 7/8 ... 5/8 are slower than 1


def decode(data: bytes, header: Header, at_least: Size | None = None) -> Pixels:
    """Upright RGB pixels.

    Args:
        data: the file.
        header: what `read_header` said about it.
        at_least: where given, a JPEG may be decoded at a half, quarter or eighth that is not smaller (width, height).

    Returns:
        uint8, (H, W, 3), contiguous.

    Raises:
        PictureError: the picture is damaged or holds values that no rule covers.
    """
    if header.kind == "JPEG" and header.mode in PLAIN_JPEG:
        stored = at_least if header.orientation < 5 or at_least is None else at_least[::-1]
        pixels = UPRIGHT[header.orientation](_jpeg(data, header, stored))
    else:
        pixels = _by_pillow(data, header)
    return np.ascontiguousarray(pixels)


def reduction(stored: Size, at_least: Size) -> int:
    """By how much a JPEG of ``stored`` pixels may shrink while it is decoded: 1, 2, 4 or 8."""
    return next((n for n in HALVINGS if all(-(-a // n) >= b for a, b in zip(stored, at_least, strict=True))), 1)


def _jpeg(data: bytes, header: Header, at_least: Size | None) -> Pixels:
    by = 1 if at_least is None else reduction((header.width, header.height), at_least)
    smallest = {"min_width": -(-header.width // by), "min_height": -(-header.height // by)} if by > 1 else {}
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", **smallest)
    except ValueError as error:
        raise PictureError(f"is damaged: {error}") from None
    return pixels


def _by_pillow(data: bytes, header: Header) -> Pixels:
    if header.kind == "JPEG":
        _check_ink(data)
    silence = _no_libtiff() if header.kind == "TIFF" else contextlib.nullcontext()
    with silence, pillow(), Image.open(io.BytesIO(data), formats=(header.kind,)) as image:
        image.load()
        if image.size[0] * image.size[1] != header.width * header.height:
            raise PictureError(f"is damaged: its header says {header.width} x {header.height}, its pixels otherwise")
        return UPRIGHT[header.orientation](np.asarray(_rgb(image)))


@contextlib.contextmanager
def _no_libtiff() -> Iterator[None]:
    """Without libtiff's own words on standard error: what is wrong is said once, by us. One thread at a time."""
    with ONE_AT_A_TIME:
        try:
            kept = os.dup(STDERR)
        except OSError:  # there is no standard error to be kept clean
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, STDERR)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            os.close(null)


def _check_ink(data: bytes) -> None:
    """Pillow overlooks what simplejpeg's strict reading finds."""
    try:
        simplejpeg.decode_jpeg(data, "CMYK")
    except ValueError as error:
        raise PictureError(f"is damaged: {error}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.mode in ("I", "F"):
        raise PictureError("has 32-bit pixels, whose range nothing states; 8 and 16 bits are read")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:  # Pillow inverts 8 bits alone
        values = 65535 - values
    scaled = np.round(values.astype(np.float32) / 257)  # 65535 is 257 * 255
    if (clear := image.info.get("transparency")) is not None:
        scaled[values == clear] = 255
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
