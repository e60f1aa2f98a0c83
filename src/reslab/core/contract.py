"""The preprocessing contract of photographs: what a network was fed, kept with its weights, checked when they load."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from reslab.core.errors import SpecError, unknown
from reslab.core.spec import Digest, Spec

Positive = Annotated[int, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=2**14)]  # pixels; ours: a view of that size takes 3 GB
Channels = tuple[float, float, float]
Resample = Literal["bilinear", "bicubic"]  # Pillow's filters, which widen where a picture shrinks: antialiased
DIGITS: Final = 12  # of a digest: enough to tell files apart


class Contract(Spec):
    """How a photograph becomes a network's input in testing.

    The picture is decoded whole and put upright as its EXIF orientation says, its shorter side is resized to
    ``shorter_side`` by ``resample`` (antialiased), the central ``crop`` is taken, ``mean`` is subtracted and ``std``
    divides. Where there is a mean image, it is subtracted instead from what has its size: in training, every crop.
    Training resizes by the same ``resample``.
    """

    order: Literal["RGB", "BGR"] = "RGB"
    mean: Channels = (123.68, 116.779, 103.939)  # of ImageNet's training pixels in [0, 255], in this order of channels
    std: Channels = (1.0, 1.0, 1.0)  # section 3.4 subtracts the mean and divides by nothing
    mean_image: Digest | None = None  # sha256 of its float32 pixels, RGB; ``mean`` is then its average
    resample: Resample = "bilinear"  # section 3.4 does not say; fb.resnet.torch bicubic, torchvision bilinear
    shorter_side: Side = 256  # the authors' release: 256 for a crop of 224
    crop: Side = 224  # section 3.4

    @model_validator(mode="after")
    def _holds(self) -> "Contract":
        if self.crop > self.shorter_side:
            raise SpecError(f"a crop of {self.crop} does not fit a shorter side of {self.shorter_side}")
        if min(self.std) <= 0:
            raise SpecError(f"std must be positive, not {list(self.std)}")
        return self

    def preparation(self) -> dict[str, Any]:
        """What a name stands for: mean, scale and order of channels, resampling; sides and crops are settings apart."""
        return self.model_dump(mode="json", include={"order", "mean", "std", "mean_image", "resample"})

    @property
    def resampling(self) -> str:
        """How pictures are resized, in words."""
        return f"{self.resample}, antialiased"


CONTRACTS: Final[dict[str, Contract]] = {
    "paper": Contract(),
    "torchvision": Contract(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    "caffe": Contract(order="BGR", mean=(103.939, 116.779, 123.68)),  # the authors' released networks
}


def named_contract(name: str) -> Contract:
    """The contract called ``name``.

    Raises:
        SpecError: there is none; the line names those there are.
    """
    if name not in CONTRACTS:
        raise SpecError(unknown("preprocessing", name, CONTRACTS))
    return CONTRACTS[name]


def other_preprocessing(theirs: Contract, ours: Contract) -> list[str]:
    """In which respects weights are of pictures prepared otherwise than ``ours`` says, sides and crops aside."""
    known, asked = theirs.preparation(), ours.preparation()
    differing = [key for key in known if known[key] != asked[key]]
    if not differing:
        return []
    sides = [
        ", ".join(f"{key.replace('_', ' ')} {value_text(side[key])}" for key in differing) for side in (known, asked)
    ]
    return [f"weights for pictures with {sides[0]}, not with {sides[1]}"]


def value_text(value: Any) -> str:
    """A value of a contract, as people read it."""
    if value is None or isinstance(value, str):
        return "none" if value is None else value[:DIGITS]
    return "(" + ", ".join(f"{number:g}" for number in value) + ")"
