"""Inside a picture's file without decoding it: the segments of a JPEG, the EXIF block of a PNG, an orientation."""

import re
import struct
import warnings
from collections.abc import Iterator
from typing import Final

from PIL import Image

START_OF_SCAN: Final = 0xDA
END_OF_IMAGE: Final = 0xD9
FRAMES: Final = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # JPEG's starts of frame that libjpeg decodes
APP1: Final = 0xE1
EXIF: Final = b"Exif\0\0"
ORIENTATION: Final = 0x0112  # EXIF tag
MARKER: Final = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])")  # without stuffed bytes and markers that stand alone


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and contents of a JPEG's segments, up to its end: a film that a telephone appends is no part of it."""
    place = 2
    while (found := MARKER.search(data, place)) and found[1][0] != END_OF_IMAGE:
        place = found.end()
        length = int.from_bytes(data[place : place + 2], "big")
        yield found[1][0], data[place + 2 : place + length]
        place += max(length, 2)


def jpeg_exif(data: bytes) -> bytes:
    """The EXIF block of a JPEG, or nothing."""
    if EXIF not in data:
        return b""
    return next((body for marker, body in segments(data) if marker == APP1 and body.startswith(EXIF)), b"")


def jpeg_frame(data: bytes) -> tuple[int, int, int]:
    """Width, height and number of channels that a JPEG's frame states.

    Raises:
        ValueError: there is no frame.
    """
    for marker, body in segments(data):
        if marker in FRAMES and len(body) >= 6:
            height, width, channels = struct.unpack(">xHHB", body[:6])
            return width, height, channels
    raise ValueError("no frame")


def png_exif(data: bytes) -> bytes:
    """The EXIF block of a PNG, wherever it stands, or nothing."""
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"eXIf":
            return data[place + 8 : place + 8 + length]
        place += 12 + length
    return b""


def orientation(block: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block states; 1 where it states none or is damaged."""
    exif = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exif.load(block)
            found = exif.get(ORIENTATION, 1)
        except Exception:  # a stranger's bytes may raise anything
            return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1
