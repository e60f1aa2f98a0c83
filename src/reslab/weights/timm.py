"""timm's ResNets: torchvision's layout, and ``config.json`` beside the weights says how pictures are prepared."""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import pydantic

from reslab.core.contract import CONTRACTS, Channels, Contract, Resample
from reslab.core.errors import DataError
from reslab.core.text import printable
from reslab.models.architecture import Architecture
from reslab.weights.foreign import first_fault, read_json, read_tensors
from reslab.weights.imported import Imported
from reslab.weights.layout import fitted, identify

PREFIXES: Final = ("tv_", "gluon_", "ssl_", "swsl_")  # of timm's older names for weights of the same networks
CONFIG: Final = "config.json"
WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm looks for them
RESAMPLES: Final[dict[str, Resample]] = {name: name for name in get_args(Resample)}
DIGITS: Final = 9  # behind the point: 255 times 0.224 is then 57.12, as torchvision's contract has it
UNSAID: Final = "there is no config.json beside it: taken are torchvision's mean and std, and a shorter side of 256"


class _Preparation(pydantic.BaseModel):
    """What of timm's ``pretrained_cfg`` decides how a picture is prepared; pixels there are in [0, 1]."""

    input_size: tuple[Literal[3], Annotated[int, pydantic.Field(gt=0)], Annotated[int, pydantic.Field(gt=0)]]
    crop_pct: Annotated[float, pydantic.Field(ge=0.01, le=1)] = 0.875
    interpolation: str = "bilinear"
    crop_mode: str = "center"
    mean: Channels
    std: Channels

    @pydantic.field_validator("input_size")
    @classmethod
    def _is_square(cls, size: tuple[int, int, int]) -> tuple[int, int, int]:
        if size[1] != size[2]:
            raise ValueError(f"{size[1]}x{size[2]} pixels are not square")
        return size


def from_timm(place: Path) -> Imported:
    """Weights of ``timm.create_model("resnet50")`` and its like.

    Args:
        place: a folder with ``config.json`` and the weights, as timm publishes them, or a file of weights.

    Raises:
        DataError: it cannot be read, or is of no network of the paper.
    """
    file = weights_in(place) if place.is_dir() else place
    tensors = read_tensors(file)
    architecture = identify(tensors, place, stride_on="3x3")
    form, classes, notes = _prepared(file.parent / CONFIG, architecture)
    return Imported(architecture, fitted(tensors, architecture, place), form, classes, notes)


def timm_config(architecture: Architecture, contract: Contract, classes: tuple[str, ...]) -> dict[str, Any]:
    """What `timm.create_model` reads from a local folder.

    Args:
        architecture: of Table 1.
        contract: how pictures are prepared; timm has pixels in [0, 1].
        classes: their names.
    """
    features = architecture.width * 8 * (4 if architecture.block == "bottleneck" else 1)
    prepared = {
        "input_size": [3, contract.crop, contract.crop],
        "pool_size": [contract.crop // 32, contract.crop // 32],
        "crop_pct": _crop_pct(contract),
        "crop_mode": "center",
        "interpolation": contract.resample,
        "mean": [value / 255 for value in contract.mean],
        "std": [value / 255 for value in contract.std],
        "fixed_input_size": False,
        "num_classes": architecture.classes,
        "first_conv": "conv1",
        "classifier": "fc",
        "custom_load": False,
    }
    return {
        "architecture": architecture.name,
        "num_classes": architecture.classes,
        "num_features": features,
        "global_pool": "avg",
        "pretrained_cfg": prepared,
        "label_names": list(classes),
    }


def weights_in(folder: Path) -> Path:
    """The file of weights that timm takes of a folder.

    Raises:
        DataError: there is none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds no {' or '.join(WEIGHTS)}")


def _prepared(config: Path, architecture: Architecture) -> tuple[Contract, tuple[str, ...] | None, tuple[str, ...]]:
    if not config.exists():
        return CONTRACTS["torchvision"], None, (UNSAID,)
    found = read_json(config)
    name = printable(str(found.get("architecture", architecture.name)))
    if not re.fullmatch(rf"({'|'.join(PREFIXES)})?{architecture.name}(\..*)?", name):
        raise DataError(f"{config} says that it is of {name}, which computes something else than {architecture.name}")
    try:
        said = _Preparation.model_validate(found.get("pretrained_cfg"))
        names = pydantic.TypeAdapter(tuple[str, ...] | None).validate_python(found.get("label_names"))
        contract = _contract(said)
    except pydantic.ValidationError as error:
        raise DataError(f"{config}: {first_fault(error, 'pretrained_cfg')}") from None
    notes = {
        f"timm resizes with {said.interpolation} interpolation, reslab with antialiased bilinear": (
            said.interpolation not in RESAMPLES
        ),
        f"timm crops by the mode {said.crop_mode}, reslab takes the centre": said.crop_mode != "center",
    }
    return contract, names, tuple(printable(note) for note, holds in notes.items() if holds)


def _contract(said: _Preparation) -> Contract:
    crop = said.input_size[-1]
    side = math.floor(crop / said.crop_pct)  # as timm has it
    resample = RESAMPLES.get(said.interpolation, "bilinear")
    mean, std = _scaled(said.mean), _scaled(said.std)
    return Contract(mean=mean, std=std, resample=resample, crop=crop, shorter_side=side)


def _crop_pct(contract: Contract) -> float:
    """The part of the shorter side that is cropped, so that timm's division and floor give that side again."""
    part = contract.crop / contract.shorter_side
    exact = math.floor(contract.crop / part) == contract.shorter_side
    return part if exact else math.nextafter(part, 0)


def _scaled(values: Channels) -> Channels:
    red, green, blue = (round(255 * value, DIGITS) for value in values)
    return red, green, blue
