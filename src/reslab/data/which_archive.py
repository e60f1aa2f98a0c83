"""Which of ImageNet's official files of 2012 a file is, by the first name in it: one given as another is named."""

import io
import re
import zlib
from typing import Final, NamedTuple

from reslab.core.errors import DataError
from reslab.data.archive import Tar

GZIP: Final = b"\x1f\x8b"
COMPRESSED: Final = (GZIP, b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")  # gzip, bzip2, xz, zstd, zip
HEAD: Final = 2**16  # bytes that are looked at, packed and unpacked; ours: the first header is in the first 512
ROOT: Final = "ILSVRC2012_devkit_t12"
CLASS_ARCHIVE: Final = re.compile(r"n[0-9]{8}\.tar")
VAL_PICTURE: Final = re.compile(r"ILSVRC2012_val_[0-9]{8}\.JPEG")


class Official(NamedTuple):
    """An official file: ``what`` it is, the ``flag`` that takes it, and what its ``first`` member is called."""

    what: str
    flag: str
    first: re.Pattern[str]


TRAINING: Final = Official("the archive of training pictures", "--train-archive", CLASS_ARCHIVE)
VALIDATION: Final = Official("the archive of validation pictures", "--val-archive", VAL_PICTURE)
KIT: Final = Official("the development kit", "--devkit", re.compile(rf"{ROOT}(/.*)?"))


def refuse_another(tar: Tar, wanted: Official) -> None:
    """Refuse one official file in the place of another, and an archive of pictures that was compressed.

    Args:
        tar: the whole file, packed by gzip or not.
        wanted: what it should be.

    Raises:
        DataError: it is another, the line says which; or compressed, where it is to be read in place.
    """
    head = _head(tar)
    name = _first_name(tar, head)
    for one in (TRAINING, VALIDATION, KIT):
        if one is not wanted and name is not None and one.first.fullmatch(name):
            raise DataError(f"{tar.title} is {one.what}, given as {wanted.flag}: give it as {one.flag}")
    if wanted is not KIT and head.startswith(COMPRESSED):
        raise DataError(f"{tar.title} is compressed: unpack it to a plain tar, which is read in place")


def _head(tar: Tar) -> bytes:
    try:
        tar.stream.seek(tar.begin)
        return tar.stream.read(HEAD)
    except OSError:
        return b""  # what is wrong with it is said when it is read


def _first_name(tar: Tar, head: bytes) -> str | None:
    if not head.startswith(GZIP):
        return tar.first_name()
    try:
        plain = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error:
        return None
    return Tar(io.BytesIO(plain), 0, len(plain), tar.title).first_name()
