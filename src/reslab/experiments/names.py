"""The command line's names of networks, without torch: what exists, what a name means, what goes with what."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import ModelSpec, ShortcutKind

Family = Literal["imagenet", "cifar"]

IMAGENET_DEPTHS: Final = (18, 34, 50, 101, 152)  # Table 1
CIFAR_DEPTHS: Final = (20, 32, 44, 56, 110, 1202)  # Table 6 and section 4.2; any 6n+2 is accepted
NETWORKS: Final = (
    *(f"plain{depth}" for depth in IMAGENET_DEPTHS),
    *(f"resnet{depth}" for depth in IMAGENET_DEPTHS),
    *(f"cifar-plain{depth}" for depth in CIFAR_DEPTHS[:-1]),
    *(f"cifar-resnet{depth}" for depth in CIFAR_DEPTHS),
)
INPUT_SIZES: Final[dict[Family, int]] = {"imagenet": 224, "cifar": 32}  # Table 1, section 4.2
WIDTHS: Final[dict[Family, int]] = {"imagenet": 64, "cifar": 16}  # Table 1, section 4.2
CLASSES: Final[dict[Family, int]] = {"imagenet": 1000, "cifar": 10}  # section 4
DEFAULT_SHORTCUTS: Final[dict[Family, ShortcutKind]] = {"imagenet": "B", "cifar": "A"}  # sections 4.1 and 4.2


@dataclass(frozen=True, slots=True)
class Name:
    """What ``cifar-resnet20`` says: a family, whether there are shortcuts, and how many weighted layers."""

    family: Family
    residual: bool
    depth: int

    def shortcut(self, asked: ShortcutKind | None) -> ShortcutKind:
        """The shortcut that is meant; a plain network has none.

        Raises:
            SpecError: a shortcut was asked for on a plain network.
        """
        if self.residual:
            return asked or DEFAULT_SHORTCUTS[self.family]
        if asked not in (None, "none"):
            twin = f"{'cifar-' if self.family == 'cifar' else ''}resnet{self.depth}"
            raise SpecError(f"a plain network has no shortcuts: for shortcut {asked} use {twin}")
        return "none"


def parse_name(text: str) -> Name:
    """Read a network's name.

    Raises:
        SpecError: no such network; the line names those there are, or the depths that are possible.
    """
    match = re.fullmatch(r"(cifar-)?(plain|resnet)(\d+)", text)
    if match is None:
        raise SpecError(f"{unknown('model', text, NETWORKS)}; cifar- networks also in any other depth 6n+2")
    name = Name("cifar" if match[1] else "imagenet", match[2] == "resnet", int(match[3]))
    if name.family == "imagenet" and name.depth not in IMAGENET_DEPTHS:
        raise SpecError(unknown("model", text, [n for n in NETWORKS if not n.startswith("cifar-")]))
    return name


def describe(spec: ModelSpec) -> str:
    """The name with every choice that is not its default: ``cifar-resnet20, width 8``."""
    name = parse_name(spec.name)
    family = name.family
    choices = {
        "shortcut": name.shortcut(spec.shortcut) != name.shortcut(None) and spec.shortcut,
        "stride on": spec.stride_on != "1x1" and spec.stride_on,
        "pool": spec.pool != "pad1" and spec.pool,
        "width": spec.width not in (None, WIDTHS[family]) and spec.width,
    }
    return ", ".join([spec.name, *(f"{key} {value}" for key, value in choices.items() if value)])
