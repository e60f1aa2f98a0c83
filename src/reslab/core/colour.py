"""AlexNet's colour augmentation, which section 3.4 takes over: how strongly, and along which colours."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from reslab.core.errors import SpecError
from reslab.core.spec import Digest, Spec

ColourScale = Literal["eigenvalue", "sqrt"]
Size = Annotated[float, Field(ge=0)]
Row = tuple[float, float, float]
Matrix = tuple[Row, Row, Row]

# Of ImageNet's training pixels in [0, 1], RGB: fb.resnet.torch, datasets/imagenet.lua
PUBLISHED_VALUES: Final = (0.2175, 0.0188, 0.0045)
PUBLISHED_VECTORS: Final[Matrix] = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
SLACK: Final = 0.01  # ours: the published vectors, rounded to four digits, are orthonormal to 2e-4


class Colour(Spec):
    """To every pixel of a picture ``[p1 p2 p3] (a * l)`` is added: Krizhevsky et al. 2012, section 4.1.

    ``p`` and ``l`` are eigenvectors and eigenvalues of the covariance of RGB pixels in [0, 1]; ``a`` are three normal
    draws with standard deviation ``std``, made once a picture and epoch.
    """

    std: Annotated[float, Field(gt=0)] = 0.1  # Krizhevsky et al. 2012, section 4.1
    scale: ColourScale = "eigenvalue"  # l, as written and in fb.resnet.torch; cuda-convnet takes the root: 2.1 times it
    eigenvalues: tuple[Size, Size, Size] = PUBLISHED_VALUES
    eigenvectors: Matrix = PUBLISHED_VECTORS  # rows R, G, B; a column is a vector
    measured_on: Digest | None = None  # the pictures `reslab data stats` measured them on; None: it did not

    @model_validator(mode="after")
    def _vectors_are_orthonormal(self) -> "Colour":
        columns = list(zip(*self.eigenvectors, strict=True))
        gaps = [abs(_dot(p, q) - (i == j)) for i, p in enumerate(columns) for j, q in enumerate(columns)]
        if max(gaps) > SLACK:
            raise SpecError("eigenvectors must have columns of length 1 at right angles: rows are R, G, B")
        return self

    @property
    def published(self) -> bool:
        """Whether values and vectors are those of ImageNet that fb.resnet.torch gives."""
        return (self.eigenvalues, self.eigenvectors) == (PUBLISHED_VALUES, PUBLISHED_VECTORS)


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))
