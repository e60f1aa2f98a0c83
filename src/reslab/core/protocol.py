"""Testing protocols as data: which views of a picture are scored, and what is averaged (section 3.4)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import model_validator

from reslab.core.contract import Side
from reslab.core.errors import SpecError, unknown
from reslab.core.spec import Spec, overlay, read_toml

Places = Literal["center", "corners+center", "square-corners+center"]
Average = Literal["probabilities", "logits"]
Dense = Literal["pool-then-classify", "classify-then-average"]

SINGLE: Final = "single"  # section 4.2: the single view of the original picture
CENTRE: Final = "center"  # the central crop of a photograph; Figure 4 and the authors' release
SCALES: Final = (224, 256, 384, 480, 640)  # section 3.4: shorter sides in testing, for a crop of 224
CROP: Final = 224
SHORTER_SIDE: Final = 256  # the authors' release, for a crop of 224
PLACES: Final[dict[Places, int]] = {"center": 1, "corners+center": 5, "square-corners+center": 5}
WHERE: Final[dict[Places, str]] = {
    "center": "the centre",
    "corners+center": "four corners and the centre of the whole picture",
    "square-corners+center": "four corners and the centre of the central square",
}


class Protocol(Spec):
    """Which views of a picture a network scores, and how they become one score.

    Args:
        name: as a user writes it; a folder of scores is called by it.
        shorter_sides: the sizes that every picture is resized to, in pixels.
        crop: pixels a side of what is cut, and of what the network was trained on.
        places: where crops are cut: of the whole resized picture, or of its central square.
        mirror: whether the mirror image of every view is a view too.
        average: of what the mean over views is taken: softmax outputs, as the authors, or logits, as fb.resnet.torch.
        dense: where given, the whole resized picture is the view, and this is how the map of the last stage becomes
            one score: averaged over all places and then classified, or classified at each place with a window of the
            size that the network was trained with, and then averaged.
    """

    name: str
    shorter_sides: tuple[Side, ...]
    crop: Side
    places: Places = "center"
    mirror: bool = False
    average: Average = "probabilities"  # the authors' release: "averaging softmax scores"
    dense: Dense | None = None

    @model_validator(mode="after")
    def _holds(self) -> "Protocol":
        if not self.name.isprintable() or "/" in self.name or self.name.strip(" .") != self.name or not self.name:
            raise SpecError(f"name must be one that a folder can have, not {self.name!r}")
        if not self.shorter_sides or len(set(self.shorter_sides)) < len(self.shorter_sides):
            raise SpecError(f"shorter_sides must be one or more different sizes, not {list(self.shorter_sides)}")
        if min(self.shorter_sides) < self.crop:
            raise SpecError(f"a crop of {self.crop} does not fit a shorter side of {min(self.shorter_sides)}")
        if self.dense and self.places != "center":
            raise SpecError(f"places {self.places!r} has no effect in dense testing, which sees the whole picture")
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of views whose scores are kept apart: one a shorter side."""
        return tuple(map(str, self.shorter_sides))

    @property
    def views(self) -> int:
        """Views of a picture at each shorter side."""
        return (1 if self.dense else PLACES[self.places]) * (2 if self.mirror else 1)

    def require_sides(self, sides: Sequence[int]) -> None:
        """Find out whether there are views at each of these shorter sides.

        Raises:
            SpecError: there are none at one of them.
        """
        if unknown_sides := [side for side in sides if side not in self.shorter_sides]:
            known = ", ".join(self.groups)
            raise SpecError(f"no scores at shorter side {unknown_sides[0]}; there are some at {known}")

    @property
    def sentence(self) -> str:
        """All of it in words, to be printed beside a number."""
        sides = ", ".join(self.groups)
        windows = self.dense == "classify-then-average"
        if self.dense:
            views = f"dense at shorter side {sides} ({self.dense}{f', windows as in a crop of {self.crop}' * windows})"
        else:
            views = f"{WHERE[self.places]}, crops of {self.crop} at shorter side {sides}"
        total = len(self.shorter_sides) * self.views
        averaged = " of ".join(["all places"] * windows + [f"{total} views"] * (total > 1))
        over = f", {self.average} averaged over {averaged}" if averaged else ""
        return f"{views}{', with mirror images' if self.mirror else ''}{over}"


class Native(NamedTuple):
    """What a network is usually tested on: pixels of the shorter side and of the crop; ``usual`` names the protocol."""

    shorter_side: int
    crop: int
    usual: str


def _presets(native: Native) -> dict[str, dict[str, Any]]:
    """The settings of the protocols that have names, for a network's own sizes: ImageNet's for a crop of 224."""
    crop = native.crop
    at = {"shorter_sides": (native.shorter_side,), "crop": crop}
    whole = {"shorter_sides": (crop,), "crop": crop}
    scales = {
        "shorter_sides": tuple(scaled(side, crop) for side in SCALES),
        "crop": crop,
        "dense": "pool-then-classify",
    }
    return {
        SINGLE: whole,
        CENTRE: at,
        "flip": {**(whole if native.usual == SINGLE else at), "mirror": True},
        "ten-crop": {**at, "places": "corners+center", "mirror": True},
        "multi-scale": scales,
        "multi-scale-mirror": {**scales, "mirror": True},
    }


def preset(name: str, native: Native) -> Protocol | None:
    """The protocol of that name for a network's own sizes, if there is one.

    Raises:
        SpecError: a network of these sizes cannot be tested by it.
    """
    settings = _presets(native).get(name)
    return None if settings is None else Protocol.parse({"name": name, **settings}, f"protocol {name}")


def scaled(side: int, crop: int, usual: int = CROP) -> int:
    """``side`` of a crop of ``usual`` pixels, ImageNet's 224, for another crop: rounded to whole pixels."""
    return round(side * crop / usual)


def find_protocol(asked: str | None, native: Native) -> Protocol:
    """The protocol that ``asked`` names for a network of these sizes.

    Args:
        asked: a preset, or a TOML file whose settings lie over those of `CENTRE`; None: the usual one.
        native: the network's own sizes.

    Raises:
        SpecError: there is none of that name, or the file cannot hold.
    """
    name = native.usual if asked is None else asked
    if found := preset(name, native):
        return found
    if Path(name).suffix.lower() != ".toml":
        raise SpecError(f"{unknown('protocol', name, _presets(native))}; or give a TOML file")
    base = {**_presets(native)[CENTRE], "name": Path(name).stem}
    found = Protocol.parse(overlay(base, read_toml(Path(name))), name)
    if (known := preset(found.name, native)) and known != found:
        raise SpecError(f"{name} is not {found.name}, which it is called: give it another name")
    return found
