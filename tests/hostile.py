"""Odd, damaged and hostile kinds of picture files, each with what becomes of it.

A test imports them with ``from tests.hostile import KINDS`` and writes the ones it wants into a folder of its own.
"""

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.picture_bytes import (
    HEIGHT,
    WIDTH,
    base,
    chunk,
    deep_grey,
    exif,
    flipped,
    gif_frame,
    gif_pages,
    grey_bytes,
    image,
    moving,
    odd_resolution,
    packed_zeros,
    patched,
    png,
    png_of,
    saved,
    scans,
    see_through,
    sized_jpeg,
    tall_sampling,
    tiff,
    tiled_tiff,
    turned,
    with_exif,
    ycck,
    zeroed,
)

NOBODY: Final = 65534
BOMB: Final = 13_000  # a square of this side is more than MAX_PIXELS and less than what Pillow itself refuses


@dataclass(frozen=True)
class Kind:
    """One kind of file: ``says`` is part of the error's message, or of the header's notes where it ``reads``."""

    name: str
    suffix: str
    write: Callable[[Path], None]
    reads: bool
    says: str

    def put(self, folder: Path) -> Path:
        """Write it into ``folder`` under its own name."""
        path = folder / f"{self.name}{self.suffix}"
        self.write(path)
        return path


@contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if before == 0:
            os.seteuid(before)


def good(name: str, suffix: str, make: Callable[[], bytes], note: str = "") -> Kind:
    return Kind(name, suffix, lambda path: _put(path, make()), reads=True, says=note)


def bad(name: str, suffix: str, make: Callable[[], bytes], says: str = "is damaged") -> Kind:
    return Kind(name, suffix, lambda path: _put(path, make()), reads=False, says=says)


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _lock(path: Path) -> None:
    path.write_bytes(saved("JPEG"))
    path.chmod(0)


def _part(kind: str, share: float = 0.5, **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        data = saved(kind, **options)
        return data[: int(len(data) * share)]

    return make


EXIF_6: Final = "EXIF orientation 6"
NO_PICTURE: Final = "is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture"
# root reads it all the same: see `nobody`
UNREADABLE: Final = Kind("unreadable", ".jpg", _lock, reads=False, says="cannot be read: Permission denied")
SPECIAL: Final = (
    Kind("folder", ".jpg", Path.mkdir, reads=False, says="is not a regular file"),
    Kind(
        "broken-link", ".jpg", lambda path: path.symlink_to("absent"), reads=False, says="cannot be read: No such file"
    ),
    Kind(
        "link-to-itself", ".jpg", lambda path: path.symlink_to(path.name), reads=False, says="cannot be read: Too many"
    ),
    Kind("fifo", ".jpg", os.mkfifo, reads=False, says="is not a regular file"),
)
JPEGS: Final = (
    *(
        good(f"jpeg-exif-{n}", ".jpg", partial(turned, n), f"EXIF orientation {n}" if n > 1 else "")
        for n in range(1, 9)
    ),
    good("jpeg", ".jpg", lambda: saved("JPEG")),
    good("jpeg-named-png", ".png", lambda: saved("JPEG")),
    good("jpeg-progressive", ".jpeg", lambda: saved("JPEG", progressive=True)),
    good("jpeg-rgb", ".jpg", lambda: saved("JPEG", keep_rgb=True)),
    good("jpeg-grey", ".jpg", lambda: saved("JPEG", image("L")), "grey"),
    good("jpeg-cmyk", ".jpg", lambda: saved("JPEG", image("CMYK")), "CMYK"),
    good("jpeg-cmyk-exif-6", ".jpg", lambda: saved("JPEG", image("CMYK"), exif=exif(6)), EXIF_6),
    good("jpeg-ycck", ".jpg", ycck, "YCCK"),
    good("jpeg-441", ".jpg", tall_sampling),
    good("jpeg-1x1", ".jpg", lambda: saved("JPEG", image().crop((0, 0, 1, 1)))),
    good("jpeg-1x4000", ".jpg", lambda: saved("JPEG", image().resize((1, 4000)))),
    good("jpeg-4000x1", ".jpg", lambda: saved("JPEG", image().resize((4000, 1)))),
    good("jpeg-exif-9", ".jpg", lambda: saved("JPEG", exif=exif(9))),
    good("jpeg-exif-empty", ".jpg", lambda: with_exif(b"")),
    good("jpeg-exif-damaged", ".jpg", lambda: with_exif(b"MM\0*\xff\xff\xff\xff" + b"\1\x12" * 20)),
    good("jpeg-exif-6-resolution-damaged", ".jpg", lambda: with_exif(odd_resolution()), EXIF_6),
    good("jpeg-and-garbage", ".jpg", lambda: saved("JPEG") + b"\0\xff\xd8garbage\xff\xd9" * 9),
    good("jpeg-and-video", ".jpg", lambda: saved("JPEG") + b"ftypmp42....\xff\xda" * 200),  # as telephones save motion
    bad("jpeg-cut-in-header", ".jpg", lambda: saved("JPEG")[:20]),
    bad("jpeg-cut-at-a-tenth", ".jpg", _part("JPEG", 0.1)),
    bad("jpeg-cut-at-half", ".jpg", lambda: (data := saved("JPEG", image().resize((200, 120))))[: len(data) // 2]),
    bad("jpeg-without-end", ".jpg", lambda: saved("JPEG")[:-2]),
    bad("jpeg-progressive-cut", ".jpg", _part("JPEG", 0.9, quality=100, progressive=True)),
    bad("jpeg-cmyk-cut", ".jpg", lambda: saved("JPEG", image("CMYK"))[:-40]),
    bad("jpeg-flipped", ".jpg", flipped),
    bad("jpeg-zeroed", ".jpg", zeroed),
    bad("jpeg-12-bit", ".jpg", lambda: saved("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")),
    bad("jpeg-5000-scans", ".jpg", lambda: scans(5000), "scans, more than"),
    bad("jpeg-65500", ".jpg", lambda: sized_jpeg(saved("JPEG"), 65500, 65500), "claims 65,500 x 65,500 pixels"),
    bad("jpeg-exif-65500", ".jpg", lambda: sized_jpeg(turned(6), 65500, 65500), "claims 65,500 x 65,500 pixels"),
    bad("empty", ".jpg", bytes, "is empty"),
    bad("text", ".jpg", lambda: b"no picture at all\n" * 20, NO_PICTURE),
    bad("random", ".jpg", lambda: np.random.default_rng(0).bytes(2000), NO_PICTURE),
)
PNGS: Final = (
    good("png", ".png", lambda: saved("PNG")),
    good("png-named-jpg", ".jpg", lambda: saved("PNG")),
    good("png-grey", ".png", lambda: saved("PNG", image("L")), "grey"),
    good("png-1-bit", ".png", lambda: saved("PNG", image("1")), "grey"),
    good("png-palette", ".png", lambda: saved("PNG", image("P")), "palette"),
    good("png-palette-alpha", ".png", lambda: saved("PNG", image("P"), transparency=3), "alpha"),
    good("png-rgba", ".png", lambda: saved("PNG", see_through()), "alpha"),
    good("png-grey-alpha", ".png", lambda: saved("PNG", image("LA")), "alpha"),
    good("png-16-bit-grey", ".png", lambda: png(deep_grey(), 16, 0), "16-bit"),
    good("png-16-bit-grey-alpha", ".png", lambda: png(deep_grey(), 16, 0, before=chunk(b"tRNS", b"\x80\x80")), "alpha"),
    good("png-16-bit-rgb", ".png", lambda: png(np.stack([deep_grey()] * 3, -1), 16, 2), "16-bit"),
    good("png-exif-6", ".png", lambda: saved("PNG", exif=exif(6)), EXIF_6),
    good("png-rgba-exif-6", ".png", lambda: saved("PNG", see_through(), exif=exif(6)), EXIF_6),
    good("png-late-exif-6", ".png", lambda: png(base(), 8, 2, after=chunk(b"eXIf", exif(6).tobytes()[6:])), EXIF_6),
    good(
        "png-16-bit-exif-6",
        ".png",
        lambda: png(deep_grey(), 16, 0, before=chunk(b"eXIf", exif(6).tobytes()[6:])),
        EXIF_6,
    ),
    good("png-moving", ".png", lambda: moving("PNG"), "several frames"),
    bad("png-cut", ".png", _part("PNG")),
    bad("png-wrong-crc", ".png", lambda: patched(data := saved("PNG"), data.index(b"IDAT") + 30, b"\0\0\0")),
    bad("png-30000", ".png", lambda: png_of(30000, 30000, 8, 2, b"tiny"), "claims"),
    bad("png-20000-full", ".png", lambda: png_of(20000, 20000, 8, 0, packed_zeros(382)), "claims"),
    bad("png-13000-full", ".png", lambda: png_of(BOMB, BOMB, 1, 0, packed_zeros(21)), "claims 13,000 x 13,000 pixels"),
    bad("png-text-bomb", ".png", lambda: png(base(), 8, 2, before=chunk(b"zTXt", b"a\0\0" + packed_zeros(100)))),
)
OTHERS: Final = (
    good("webp", ".webp", lambda: saved("WEBP")),
    good("webp-named-jpg", ".jpg", lambda: saved("WEBP")),
    good("webp-exif-6", ".webp", lambda: saved("WEBP", lossless=True, exif=exif(6)), EXIF_6),
    good("webp-alpha-exif-6", ".webp", lambda: saved("WEBP", see_through(), lossless=True, exif=exif(6)), EXIF_6),
    good("webp-moving", ".webp", lambda: moving("WEBP"), "several frames"),
    bad("webp-cut", ".webp", _part("WEBP")),
    bad(
        "webp-canvas",
        ".webp",
        lambda: patched(moving("WEBP"), 24, (BOMB - 1).to_bytes(3, "little") * 2),
        "claims 13,000",
    ),
    good("bmp", ".bmp", lambda: saved("BMP")),
    good("bmp-palette", ".bmp", lambda: saved("BMP", image("P")), "palette"),
    good("bmp-1-bit", ".bmp", lambda: saved("BMP", image("1")), "grey"),
    good("bmp-top-down", ".bmp", lambda: patched(saved("BMP"), 22, struct.pack("<i", -HEIGHT))),
    bad("bmp-cut", ".bmp", _part("BMP")),
    bad(
        "bmp-negative",
        ".bmp",
        lambda: patched(saved("BMP"), 18, struct.pack("<i", -WIDTH)),
        "claims",
    ),
    bad("bmp-endless", ".bmp", lambda: patched(saved("BMP"), 18, b"\xff\xff\xff\x7f" * 2), "claims"),
    bad("bmp-0x0", ".bmp", lambda: patched(saved("BMP"), 18, bytes(8))),
    good("gif", ".gif", lambda: saved("GIF")),
    good("gif-moving", ".gif", lambda: moving("GIF"), "several frames"),
    good("gif-100000-frames", ".gif", lambda: gif_pages(100_000), "several frames"),
    good("gif-small-screen", ".gif", lambda: patched(saved("GIF"), 6, b"\4\0\4\0")),
    bad("gif-cut", ".gif", _part("GIF", 0.8)),
    bad("gif-screen", ".gif", lambda: patched(saved("GIF"), 6, b"\xff" * 4), "claims"),
    bad(
        "gif-frame",
        ".gif",
        lambda: patched(saved("GIF"), gif_frame() + 5, b"\xff" * 4),
        "claims",
    ),
    good("tiff", ".tif", lambda: saved("TIFF")),
    good("tiff-lzw", ".tiff", lambda: saved("TIFF", compression="tiff_lzw")),
    good("tiff-exif-6", ".tif", lambda: saved("TIFF", exif=exif(6))),
    good("tiff-16-bit", ".tif", lambda: tiff(deep_grey().tobytes(), {258: 16}), "16-bit"),
    good(
        "tiff-16-bit-white-is-zero", ".tif", lambda: tiff((65535 - deep_grey()).tobytes(), {258: 16, 262: 0}), "16-bit"
    ),
    good("tiff-loop", ".tif", lambda: tiff(grey_bytes(), following=8 + WIDTH * HEIGHT)),
    good("tiff-4000-pages", ".tif", lambda: tiff(grey_bytes(), pages=4000), "several frames"),
    bad("tiff-12-bit", ".tif", lambda: tiff(b"\xff" * 60 * HEIGHT, {258: 12}), "12-bit"),
    bad("tiff-float", ".tif", lambda: saved("TIFF", image("F")), "32-bit pixels"),
    bad("tiff-cut", ".tif", _part("TIFF")),
    bad("tiff-cut-before-its-pages", ".tif", lambda: tiff(grey_bytes())[:300]),
    bad("tiff-65000", ".tif", lambda: tiff(bytes(100), {256: 65000, 257: 65000}), "claims"),
    bad("tiff-0x0", ".tif", lambda: tiff(bytes(100), {256: 0, 257: 0})),
    bad("tiff-empty-loop", ".tif", lambda: b"II*\0" + struct.pack("<IHI", 8, 0, 8)),
    bad("tiff-one-tile", ".tif", lambda: tiled_tiff(16384), ""),
)
KINDS: Final[tuple[Kind, ...]] = (*JPEGS, *PNGS, *OTHERS, *SPECIAL)
BOMBS: Final = tuple(
    kind
    for kind in KINDS
    if kind.says.startswith("claims") or kind.name in ("jpeg-5000-scans", "png-text-bomb", "tiff-one-tile")
)
