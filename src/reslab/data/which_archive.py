"""Which of ImageNet's official files of 2012 a file is, by the first name in it: one given as another is named."""

import io
import re
import zlib
from typing import Final, NamedTuple

from reslab.core.errors import DataError
from reslab.data.archive import Tar

GZIP: Final = b"\x1f\x8b"
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
    """Refuse one official file in the place of another; of any other file nothing is said here.

    Args:
        tar: the whole file, packed by gzip or not.
        wanted: what it should be.

    Raises:
        DataError: it is another; the line says which.
    """
    name = _first_name(tar)
    for one in (TRAINING, VALIDATION, KIT):
        if one is not wanted and name is not None and one.first.fullmatch(name):
            raise DataError(f"{tar.title} is {one.what}, given as {wanted.flag}: give it as {one.flag}")


def _first_name(tar: Tar) -> str | None:
    try:
        tar.stream.seek(tar.begin)
        head = tar.stream.read(HEAD)
        if head.startswith(GZIP):
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
            return Tar(io.BytesIO(head), 0, len(head), tar.title).first_name()
    except (OSError, zlib.error):
        return None  # what is wrong with it is said when it is read
    return tar.first_name()
