"""The file of a mean image."""

from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch

from reslab.core.errors import DataError
from reslab.core.files import canonical_json, write_bytes
from reslab.core.statistics import Statistics
from reslab.transforms.mean_image import MeanImage

NAME: Final = "mean"  # of the tensor, as in a checkpoint
HEADER: Final = "reslab"


def write_mean_image(file: Path, image: MeanImage, of: Statistics) -> None:
    """Keep ``image`` in ``file``, with what it is the mean of.

    Raises:
        StorageError: it could not be written.
    """
    said = of.model_dump(mode="json", include={"data", "split", "data_digest", "contract", "pictures"})
    write_bytes(file, safetensors.torch.save({NAME: image.pixels.contiguous()}, {HEADER: canonical_json(said)}))


def read_mean_image(file: Path) -> MeanImage:
    """What `write_mean_image` kept.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    try:
        tensors = safetensors.torch.load(file.read_bytes())
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no safetensors file of float32 ({error})"
        raise DataError(f"cannot read the mean image in {file}: {why}") from None
    if set(tensors) != {NAME}:
        raise DataError(f"{file} holds no mean image: `reslab data stats --out` writes one")
    try:
        return MeanImage(tensors[NAME])
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
