"""The most certain mistakes of a test, with small pictures of them: what a report shows."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from reslab.core.errors import PictureError
from reslab.core.files import write_json
from reslab.core.text import printable
from reslab.data.decode import decode
from reslab.data.photographs import PhotoFolder
from reslab.data.picture_file import Header
from reslab.evaluation.scores import Scores

MISTAKES: Final = "mistakes.json"
SHOWN: Final = 24
THUMBNAIL: Final = 160  # pixels of the longer side
QUALITY: Final = 80  # of a thumbnail's JPEG; ours: 16 photographs take 117 KiB in base64


def keep_mistakes(scores: Scores, photos: PhotoFolder, classes: Sequence[str], folder: Path, most: int = SHOWN) -> None:
    """Write ``mistakes.json`` into ``folder``: the wrong answers given with the highest probability, in that order.

    Raises:
        PictureError: a picture has been damaged since it was tested.
        StorageError: it could not be written.
    """
    certainty, answers = scores.probabilities.max(dim=1)
    wrong = torch.nonzero(~scores.hits()).flatten()
    order = wrong[certainty[wrong].argsort(descending=True, stable=True)][:most]
    write_json(
        folder / MISTAKES,
        {"mistakes": [_mistake(scores, photos, classes, i, int(answers[i])) for i in order.tolist()]},
    )


def _mistake(scores: Scores, photos: PhotoFolder, classes: Sequence[str], number: int, answer: int) -> dict[str, Any]:
    label = int(scores.labels[number])
    return {
        "picture": printable(photos.index.path(number)),
        "label": classes[label],
        "answer": classes[answer],
        "probability": float(scores.probabilities[number, answer]),
        "label_probability": float(scores.probabilities[number, label]),
        "thumbnail": base64.b64encode(thumbnail_of(photos, number)).decode(),
    }


def thumbnail_of(photos: PhotoFolder, number: int) -> bytes:
    """A small JPEG of picture ``number``.

    Raises:
        PictureError: it cannot be used.
    """
    try:
        return thumbnail(*photos.open(number))
    except PictureError as error:
        raise photos.named(number, error) from None


def small_thumbnail(pixels: Tensor) -> bytes:
    """A PNG of a small picture, uint8 (C, H, W), pixel for pixel."""
    upright = pixels.permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(upright[:, :, 0] if upright.shape[2] == 1 else upright).save(stream, "PNG")
    return stream.getvalue()


def thumbnail(data: bytes, header: Header) -> bytes:
    """A small JPEG of a picture's file.

    Raises:
        PictureError: the picture is damaged.
    """
    image = Image.fromarray(decode(data, header, (THUMBNAIL, THUMBNAIL)))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()
