"""What `reslab data stats` found out about the pixels of a data set, as a document."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from reslab.core.colour import Colour, Matrix, Row
from reslab.core.contract import Positive, Side
from reslab.core.errors import DataError
from reslab.core.spec import Digest, Spec


class Prepared(Spec):
    """From a photograph's file to the pixels that are counted: the testing view, before anything is subtracted."""

    shorter_side: Side
    crop: Side
    view: Literal["central crop"] = "central crop"
    order: Literal["RGB"] = "RGB"
    decode: Literal["exact"] = "exact"
    resample: Literal["bilinear, antialiased", "bicubic, antialiased"] = "bilinear, antialiased"
    exif: Literal["applied"] = "applied"


class MeanImageFile(Spec):
    """The mean image: (H, W, 3) in RGB, the sha256 of its float32 pixels, and its file's name where it was kept."""

    shape: tuple[Positive, Positive, Literal[3]]
    sha256: Digest
    file: str | None = None


class Statistics(Spec):
    """Statistics of the pixels of ``data``, each number over all ``pixels``; grey pictures have three equal channels.

    Args:
        data: the data set's name.
        split: which part of it.
        data_digest: that of the data set: the same pictures in the same order.
        contract: how photographs were prepared; None: small pictures, as they are.
        pictures: how many.
        enlarged: those of them that are smaller than the crop.
        pixels: of all pictures together.
        units: what the numbers are of.
        mean: of each channel.
        std: of each channel, divided by ``pixels``.
        covariance: of the channels, divided by ``pixels``.
        eigenvalues: of the covariance, the largest first.
        eigenvectors: rows are R, G, B; a column is a vector of length 1, its largest component positive.
        mean_image: the mean of each pixel.
    """

    data: str
    split: Literal["train", "val", "all"]
    data_digest: Digest
    contract: Prepared | None
    pictures: Positive
    enlarged: Annotated[int, Field(ge=0)] = 0
    pixels: Positive
    units: Literal["mean, std and mean image: [0, 255]; covariance: of pixels in [0, 1]"] = (
        "mean, std and mean image: [0, 255]; covariance: of pixels in [0, 1]"
    )
    mean: Row
    std: Row
    covariance: Matrix
    eigenvalues: Row
    eigenvectors: Matrix
    mean_image: MeanImageFile

    def colour(self, source: str = "the statistics") -> Colour:
        """AlexNet's colour augmentation along these eigenvectors.

        Raises:
            SpecError: they are none; the line begins with ``source``.
        """
        found = {"eigenvalues": self.eigenvalues, "eigenvectors": self.eigenvectors, "measured_on": self.data_digest}
        return Colour.parse(found, source)


def read_statistics(file: Path) -> Statistics:
    """What `reslab data stats --out` wrote.

    Raises:
        DataError: the file cannot be read.
        SpecError: it holds something else.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise DataError(f"cannot read the statistics in {file}: {why}") from None
    return Statistics.parse(found, str(file))
