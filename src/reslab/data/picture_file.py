"""What a picture's file is, before anything is decoded: kind, size, orientation, and what is odd about it."""

import io
import stat
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import simplejpeg
from PIL import Image

from reslab.core.errors import PictureError
from reslab.core.units import bytes_text

MAX_BYTES: Final = 2**28  # ours: 256 MiB, an uncompressed 16-bit picture of MAX_PIXELS is not much larger
MAX_PIXELS: Final = 89_478_485  # Pillow's threshold for a decompression bomb: a quarter GiB in RGB
MAX_SCANS: Final = 100  # of a progressive JPEG; encoders write about ten, and each costs a pass over the picture
SUFFIXES: Final = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WEBP",
    **dict.fromkeys((".bmp", ".dib"), "BMP"),
    ".gif": "GIF",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
}
MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
ORIENTATION: Final = 0x0112  # EXIF tag
BITS_PER_SAMPLE: Final = 258  # TIFF tag
DEPTHS: Final = (1, 2, 4, 8, 16, 32)  # bits a sample; 32 are refused when their mode is seen
START_OF_SCAN, END_OF_IMAGE, FILL = 0xDA, 0xD9, 0xFF  # JPEG markers
WITHOUT_LENGTH: Final = (0x00, 0x01, FILL, *range(0xD0, 0xD9))  # stuffed bytes, fill bytes, restarts, start of image
PLAIN_JPEG: Final = ("YCbCr", "RGB", "Gray")


@dataclass(frozen=True, slots=True)
class Header:
    """A picture's file without its pixels.

    ``width`` and ``height`` are those of the stored picture, before ``orientation`` (EXIF, 1 to 8) puts it upright;
    ``mode`` is the decoder's word for its channels; ``notes`` say what is unusual but handled.
    """

    kind: str
    width: int
    height: int
    orientation: int
    mode: str
    notes: tuple[str, ...]

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as people see the picture."""
        turned = self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


def read_picture(path: Path, expected: int | None = None) -> bytes:
    """The bytes of a picture's file.

    Args:
        path: the file.
        expected: its size when it was found; None: not known.

    Raises:
        PictureError: it is missing, unreadable, no regular file, too large, empty, or has changed.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise PictureError("is not a regular file")
        if found.st_size > MAX_BYTES:
            raise PictureError(f"has {bytes_text(found.st_size)}, more than {bytes_text(MAX_BYTES)}")
        data = path.read_bytes()
    except OSError as error:
        raise PictureError(f"cannot be read: {error.strerror or error}") from None
    if not data:
        raise PictureError("is empty")
    if expected is not None and len(data) != expected:
        raise PictureError(f"has changed: {len(data):,} bytes, not the {expected:,} it had when it was found")
    return data


def read_header(data: bytes) -> Header:
    """What ``data`` claims to be; nothing is decoded, and what is too large to decode is refused here.

    Raises:
        PictureError: it is none of the six kinds, its header is damaged, or it claims too many pixels or scans.
    """
    kind = _kind(data)
    if kind is None:
        raise PictureError("is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture")
    return _jpeg_header(data) if kind == "JPEG" else _other_header(data, kind)


@contextmanager
def pillow() -> Iterator[None]:
    """Pillow at work on a stranger's file: whatever it raises becomes one line, and it warns nobody.

    Raises:
        PictureError: instead of any exception.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except PictureError:
            raise
        except Image.DecompressionBombError:
            raise PictureError(f"claims more than {MAX_PIXELS:,} pixels") from None
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise PictureError(f"is damaged: {why}") from None


def _kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for start, kind in MAGIC if data.startswith(start)), None)


def _jpeg_header(data: bytes) -> Header:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except KeyError:  # a chroma subsampling that simplejpeg decodes but cannot name
        width, height, colours = _pillows_jpeg(data)
    except ValueError as error:
        raise PictureError(f"is damaged: its JPEG header cannot be read ({error})") from None
    _check_size(width, height)
    if data.count(b"\xff\xda") > MAX_SCANS and (scans := _scans(data)) > MAX_SCANS:
        raise PictureError(f"is a JPEG of {scans:,} scans, more than {MAX_SCANS}")
    orientation = _jpeg_orientation(data) if b"Exif\0\0" in data else 1
    grey = ("grey",) if colours == "Gray" else ()
    ink = (colours,) if colours not in PLAIN_JPEG else ()
    return Header("JPEG", width, height, orientation, colours, (*grey, *ink, *_turned(orientation)))


def _pillows_jpeg(data: bytes) -> tuple[int, int, str]:
    with pillow(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return *image.size, {"L": "Gray", "RGB": "YCbCr"}.get(image.mode, image.mode)


def _scans(data: bytes) -> int:
    """Starts of scans up to the end of the picture; what follows it, a telephone's film say, does not count."""
    scans, place = 0, 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == END_OF_IMAGE:
            break
        if marker in WITHOUT_LENGTH:
            place += 1 if marker == FILL else 2
            continue
        scans += marker == START_OF_SCAN
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return scans


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(f"claims {width:,} x {height:,} pixels, more than {MAX_PIXELS:,}")


def _jpeg_orientation(data: bytes) -> int:
    with pillow(), Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return _orientation(image)


def _other_header(data: bytes, kind: str) -> Header:
    with pillow(), Image.open(io.BytesIO(data), formats=(kind,)) as image:
        orientation = 1 if kind == "TIFF" else _orientation(image)  # Pillow puts a TIFF upright by itself
        _check_size(*image.size)
        bits = _sample_bits(image, data)
        if bits not in DEPTHS:
            raise PictureError(f"has {bits}-bit pixels; 8 and 16 bits are read")
        notes = (
            *(("16-bit",) if bits == 16 else ()),
            *(("grey",) if image.mode in ("1", "L", "LA", "I;16", "I;16B", "I;16L") else ()),
            *(("palette",) if image.mode in ("P", "PA") and kind != "GIF" else ()),
            *(("alpha",) if image.has_transparency_data else ()),
            *(("CMYK",) if image.mode == "CMYK" else ()),
            *(("several frames",) if getattr(image, "n_frames", 1) > 1 else ()),
            *_turned(orientation),
        )
        return Header(kind, *image.size, orientation, image.mode, notes)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1  # damaged EXIF says nothing
    return found if found in range(1, 9) else 1


def _sample_bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]  # IHDR's bit depth
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return 8


def _turned(orientation: int) -> tuple[str, ...]:
    return (f"EXIF orientation {orientation}",) if orientation != 1 else ()
