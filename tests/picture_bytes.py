"""Bytes of odd, damaged and hostile picture files, small and built in milliseconds from one small picture."""

import io
import struct
import zlib
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps

WIDTH: Final = 40
HEIGHT: Final = 24


def base() -> NDArray[np.uint8]:
    """A picture without symmetry and without straight gradients, so that every wrong turn and crop shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([255 - 6 * x, 10 * y, 96 + 3 * x + 80 * (x > 25) * (y < 8)], -1).astype(np.uint8)


def image(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(base()).convert(mode)


def see_through() -> Image.Image:
    """The base picture, the more transparent the further right."""
    picture = image("RGBA")
    picture.putalpha(Image.fromarray(np.tile(np.linspace(255, 0, WIDTH).astype(np.uint8), (HEIGHT, 1))))
    return picture


def saved(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (picture or image()).save(buffer, kind, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    """What Pillow alone makes of it, put upright."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def sized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """``data`` with other sizes in its header."""
    frame = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return patched(data, frame + 5, struct.pack(">HH", height, width))


def with_exif(block: bytes, data: bytes | None = None) -> bytes:
    """A JPEG with ``block`` as its EXIF."""
    data = data or saved("JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + data[2:]


def odd_resolution() -> bytes:
    """EXIF of orientation 6 and with an empty text as resolution, over which Pillow stumbles."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x011A, 2, 1, 0)
    return b"II*\0\x08\0\0\0\2\0" + entries + bytes(4)


def tall_sampling() -> bytes:
    """A sound 8x32 JPEG of 4:4:1, one chroma sample for four rows: the only unit of a 32x8 one, its blocks stacked."""
    wide = simplejpeg.encode_jpeg(np.ascontiguousarray(base()[:8, :32]), 95, "RGB", "411")
    return sized_jpeg(wide, 8, 32).replace(b"\x01\x41\x00", b"\x01\x14\x00", 1)


def ycck() -> bytes:
    """As Adobe writes it: cyan, magenta and yellow as YCbCr, black inverted."""
    cyan, magenta, yellow, black = image("CMYK").split()
    colours = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    plain = saved("JPEG", Image.merge("CMYK", (*map(ImageChops.invert, colours), black)), quality=95)
    return patched(plain, plain.index(b"Adobe") + 11, b"\2")


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows: NDArray[Any], depth: int, colour: int, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of ``rows`` (H, W) or (H, W, C) as they are, big-endian; further chunks before and after the pixels."""
    lines = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in rows)
    return png_of(rows.shape[1], len(rows), depth, colour, zlib.compress(lines), before=before, after=after)


def png_of(
    width: int, height: int, depth: int, colour: int, packed: bytes, *, before: bytes = b"", after: bytes = b""
) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", packed) + after + chunk(b"IEND", b"")


def packed_zeros(mebibytes: int) -> bytes:
    """What zlib makes of that many zeros, without making them: one block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\x9c" + mebibytes * block + b"\x03\0" + struct.pack(">HH", mebibytes * 2**20 % 65521, 1)


def deep_grey() -> NDArray[np.uint16]:
    """A 16-bit picture whose first value is 65535 and whose last is 32896."""
    return np.linspace(65535, 32896, WIDTH * HEIGHT).round().astype(np.uint16).reshape(HEIGHT, WIDTH)


def tiff(strip: bytes, tags: dict[int, int | None] | None = None, *, pages: int = 1, following: int = 0) -> bytes:
    """A grey TIFF: its strip, then as many equal pages as wanted; ``following`` is where the last one leads."""
    plain = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: len(strip)}
    wanted = {tag: value for tag, value in sorted({**plain, **(tags or {})}.items()) if value is not None}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in wanted.items())
    page = struct.pack("<H", len(wanted)) + entries
    starts = [8 + len(strip) + number * (len(page) + 4) for number in range(pages)]
    links = [*starts[1:], following]
    return b"II*\0" + struct.pack("<I", starts[0]) + strip + b"".join(page + struct.pack("<I", link) for link in links)


def grey_bytes() -> bytes:
    return np.asarray(image("L")).tobytes()


def tiled_tiff(side: int) -> bytes:
    """A small picture in one tile of ``side`` squared."""
    packed = zlib.compress(bytes(1000))
    tiles = {322: side, 323: side, 324: 8, 325: len(packed)}
    return tiff(packed, {273: None, 278: None, 279: None, 259: 8, **tiles})


def gif_frame() -> int:
    """Where the first frame's description starts in a GIF of the base picture."""
    data = saved("GIF")
    start = 13 + (6 << (data[10] & 7))  # header and palette
    assert data[start] == ord(",")
    return start


def gif_pages(count: int) -> bytes:
    return saved("GIF")[:-1] + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0" * count + b";"


def moving(kind: str) -> bytes:
    return saved(kind, image(), save_all=True, append_images=[ImageChops.invert(image())])


def scans(count: int) -> bytes:
    refinement = b"\xff\xda\0\x0c\x03\x01\0\x02\x11\x03\x11\0\x3f\0"
    return saved("JPEG", progressive=True)[:-2] + count * refinement + b"\xff\xd9"


def turned(orientation: int) -> bytes:
    return saved("JPEG", exif=exif(orientation))


def flipped() -> bytes:
    data = bytearray(saved("JPEG", quality=100))
    for place in range(data.index(b"\xff\xda") + 40, len(data) - 8, 11):
        data[place] ^= 0xFF
    return bytes(data)


def zeroed() -> bytes:
    data = saved("JPEG")
    return patched(data, data.index(b"\xff\xda") + 40, bytes(100))
