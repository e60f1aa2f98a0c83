"""What a picture's file is, before anything is decoded: kind, size, orientation, and what is odd about it."""

import io
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import simplejpeg
from PIL import Image, UnidentifiedImageError

from reslab.core.errors import PictureError, one_line
from reslab.core.units import bytes_text, counted
from reslab.data.markers import START_OF_SCAN, jpeg_exif, jpeg_frame, orientation, png_exif, segments

MAX_BYTES: Final = 2**28  # ours: 256 MiB, an uncompressed 16-bit picture of MAX_PIXELS is not much larger
MAX_PIXELS: Final = 89_478_485  # Pillow's threshold for a decompression bomb: a quarter GiB in RGB
MAX_PILLOW: Final = 50_000_000  # of what Pillow decodes; ours: at its 12 to 19 bytes a pixel, below 1 GiB
MAX_SCANS: Final = 100  # of a progressive JPEG; encoders write about ten, and each costs a pass over the picture
MAX_SCANNED: Final = 10 * MAX_PIXELS  # scans times pixels; ours: about two seconds
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
BITS_PER_SAMPLE: Final = 258  # TIFF tag
DEPTHS: Final = (1, 2, 4, 8, 16, 32)  # bits a sample; 32 are refused when their mode is seen
TILE: Final = (322, 323)  # TIFF tags: a tile's width and length
LEAST_TILE: Final = 2**20  # pixels; ours: smaller tiles cost nothing
PLAIN_JPEG: Final = ("YCbCr", "RGB", "Gray")


@dataclass(frozen=True, slots=True)
class Header:
    """A picture's file without its pixels.

    ``width`` and ``height`` are those of the stored picture, before ``orientation`` (EXIF, 1 to 8) puts it upright; for
    TIFF, which Pillow turns by itself, those of the upright one. ``mode`` is the decoder's word for its channels;
    ``notes`` say what is unusual but handled.
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
        raise PictureError(f"has changed: {counted(len(data), 'byte')}, not the {expected:,} it had when it was found")
    return data


def read_header(data: bytes) -> Header:
    """What ``data`` claims to be; nothing is decoded, and what is too large to decode is refused here.

    Raises:
        PictureError: it is none of the six kinds, its header is damaged, or it claims too many pixels or scans.
    """
    kind = kind_of(data)
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
        except UnidentifiedImageError:  # its text is an address in memory
            raise PictureError("is damaged: its header cannot be read") from None
        except Exception as error:
            why = one_line(error) or type(error).__name__
            raise PictureError(f"is damaged: {why}") from None


def kind_of(data: bytes) -> str | None:
    """Which of the six kinds ``data`` begins as; None: none of them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for start, kind in MAGIC if data.startswith(start)), None)


def _jpeg_header(data: bytes) -> Header:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except KeyError:  # 4:4:1, a subsampling that simplejpeg decodes and has no name for
        width, height, channels = jpeg_frame(data)
        colours = {1: "Gray", 3: "YCbCr"}.get(channels, "CMYK")
    except ValueError as error:
        raise PictureError(f"is damaged: its JPEG header cannot be read ({error})") from None
    _check_size(width, height, MAX_PIXELS)
    _check_scans(data, width * height)
    turned = orientation(exif) if (exif := jpeg_exif(data)) else 1
    grey = ("grey",) if colours == "Gray" else ()
    ink = (colours,) if colours not in PLAIN_JPEG else ()
    return Header("JPEG", width, height, turned, colours, (*grey, *ink, *_turned(turned)))


def _check_size(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise PictureError(f"claims {width:,} x {height:,} pixels, more than {most:,}")


def _check_scans(data: bytes, pixels: int) -> None:
    most = min(MAX_SCANS, max(MAX_SCANNED // max(pixels, 1), 1))
    if data.count(bytes((0xFF, START_OF_SCAN))) <= most:
        return
    scans = sum(marker == START_OF_SCAN for marker, _ in segments(data))
    if scans > most:
        raise PictureError(f"is a JPEG of {scans:,} scans, more than {most}")


def _other_header(data: bytes, kind: str) -> Header:
    with pillow(), Image.open(io.BytesIO(data), formats=(kind,)) as image:
        _check_size(*image.size, MAX_PILLOW)
        bits = _sample_bits(image, data)
        if bits not in DEPTHS:
            raise PictureError(f"has {bits}-bit pixels; 8 and 16 bits are read")
        if kind == "TIFF":
            _check_tile(image)
        turned = orientation(_exif(image, data))
        notes = (
            *(("16-bit",) if bits == 16 else ()),
            *(("grey",) if image.mode in ("1", "L", "LA", "I;16", "I;16B", "I;16L") else ()),
            *(("palette",) if image.mode in ("P", "PA") and kind != "GIF" else ()),
            *(("alpha",) if image.has_transparency_data else ()),
            *(("CMYK",) if image.mode == "CMYK" else ()),
            *(("several frames",) if getattr(image, "is_animated", False) else ()),
            *_turned(turned),
        )
        return Header(kind, *image.size, turned, image.mode, notes)


def _check_tile(image: Image.Image) -> None:
    """A tile is decoded whole, however little of it the picture needs."""
    width, length = (int(_tags(image).get(tag, 0)) for tag in TILE)
    if width * length > max(4 * image.width * image.height, LEAST_TILE):
        raise PictureError(f"claims tiles of {width:,} x {length:,} pixels for {image.width:,} x {image.height:,}")


def _exif(image: Image.Image, data: bytes) -> bytes:
    """The EXIF block; Pillow's own look for it would decode a PNG, and a TIFF it puts upright by itself."""
    if image.format == "TIFF":
        return b""
    found: bytes = image.info.get("exif", b"")
    return found or (png_exif(data) if image.format == "PNG" else b"")


def _tags(image: Image.Image) -> Mapping[int, Any]:
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    return tags


def _sample_bits(image: Image.Image, data: bytes) -> int:
    if image.format == "PNG":
        return data[24]  # IHDR's bit depth
    if image.format == "TIFF":
        bits = _tags(image).get(BITS_PER_SAMPLE, (8,))
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return 8


def _turned(orientation: int) -> tuple[str, ...]:
    return (f"EXIF orientation {orientation}",) if orientation != 1 else ()
