"""CIFAR-10's own pixels, known by a checksum of each picture: what is a copy, what is nearly one, and what is not.

``cifar10_pictures.bin`` holds a checksum of each of the 60,000 pictures in official order, and then the places of those
whose official pixels we do not know: theirs is the checksum of a lossy copy. ``tools/cifar10_checksums.py`` writes it.
"""

import functools
import hashlib
import zlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from reslab.core.errors import DataError
from reslab.data.parts import Part
from reslab.data.pictures import Pictures

FILE: Final = "cifar10_pictures.bin"
SHA256: Final = "848e3c25199075ef538e3f0c5a422323650d2cfe3a1e33db19363b54cd0b575d"  # of it
NAME: Final = "CIFAR-10"
WHERE: Final[dict[Part, slice]] = {"train": slice(0, 50_000), "val": slice(50_000, 60_000), "all": slice(0, 60_000)}
NEAR: Final = 0.01  # ours: of the pictures; a copy with some lossy pictures has less, another set has all
KEPT: Final = np.dtype("<u2")  # 16 bits: a changed picture passes for official once in 65,536


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a set's pictures, in their order.

    Args:
        checksums: of each picture, uint16 (N,).
        lossy: bool (N,), whether a checksum is that of a lossy copy, and the official one is not known.
    """

    checksums: NDArray[np.uint16]
    lossy: NDArray[np.bool]


def checksums(pixels: Tensor) -> NDArray[np.uint16]:
    """The low 16 bits of the CRC-32 of each picture's bytes: (N,) from uint8 (N, ...)."""
    rows = pixels.contiguous().numpy().reshape(len(pixels), -1)
    return np.fromiter((zlib.crc32(row.data) for row in rows), np.uint32, len(rows)).astype(KEPT)


def differing(pixels: Tensor, known: Known) -> int:
    """How many pictures are not the official ones; where those are not known, how many are the known lossy ones."""
    return int(np.count_nonzero((checksums(pixels) == known.checksums) == known.lossy))


def copy_note(pictures: Pictures) -> str | None:
    """What to say of a copy of CIFAR-10 that is not quite the official one; None of the official one.

    Of other sets, and of a part of CIFAR-10, nothing is said.

    Raises:
        DataError: more than one picture in a hundred is another; the line names the sha256 of what was found.
    """
    where = WHERE[pictures.split]
    if pictures.name != NAME or len(pictures) != where.stop - where.start:
        return None
    count = differing(pictures.pixels, official(pictures.split))
    found = (
        f"{NAME} {pictures.split}: {count:,} of {len(pictures):,} pictures are not the official ones"
        f" (sha256 of these pictures: {pictures.digest})"
    )
    if count > NEAR * len(pictures):
        raise DataError(f"{found}; another set of pictures belongs into class folders, below train/ and val/")
    return found if count else None


def official(part: Part) -> Known:
    """What is known of CIFAR-10's pictures of ``part``.

    Raises:
        DataError: the installed file is damaged.
    """
    known, where = _read(), WHERE[part]
    return Known(known.checksums[where], known.lossy[where])


@functools.cache
def _read() -> Known:
    file = resources.files(__package__).joinpath(FILE)
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise DataError(f"{file} is damaged: its sha256 differs; install reslab again")
    numbers, count = np.frombuffer(data, KEPT), WHERE["all"].stop
    lossy = np.zeros(count, np.bool)
    lossy[numbers[count:]] = True
    return Known(numbers[:count], lossy)
