"""Small pictures on their way into a page."""

import base64
import binascii
from typing import Final

from reslab.core.errors import DataError
from reslab.core.text import printable

KINDS: Final = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}  # how such a file begins


def kind_of(thumbnail: str, picture: str) -> str:
    """``jpeg`` or ``png``, as the bytes of ``thumbnail``, in base64, say.

    Raises:
        DataError: it is neither; the line names ``picture``.
    """
    try:
        data = base64.b64decode(thumbnail, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"the thumbnail of {printable(picture)} is not base64: {error}") from None
    for magic, kind in KINDS.items():
        if data.startswith(magic):
            return kind
    raise DataError(f"the thumbnail of {printable(picture)} is neither JPEG nor PNG")
