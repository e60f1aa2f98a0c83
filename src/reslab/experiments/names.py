"""The command line's names of networks, without torch: what exists, what a name means, what goes with what."""

import re
from dataclasses import dataclass
from typing import Final

from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import ModelSpec, ShortcutKind
from reslab.models.architecture import BN_EPS, DEPTHS, Architecture, BlockKind, Family, cifar, imagenet

CIFAR_DEPTHS: Final = (20, 32, 44, 56, 110, 1202)  # Table 6 and section 4.2; any 6n+2 is accepted
CIFAR_BOTTLENECK_DEPTHS: Final = (29, 56, 110, 164)  # ours: any 9n+2 is accepted
NETWORKS: Final = (
    *(f"plain{depth}" for depth in DEPTHS),
    *(f"resnet{depth}" for depth in DEPTHS),
    *(f"cifar-plain{depth}" for depth in CIFAR_DEPTHS[:-1]),
    *(f"cifar-resnet{depth}" for depth in CIFAR_DEPTHS),
    *(f"cifar-plain-bottleneck{depth}" for depth in CIFAR_BOTTLENECK_DEPTHS),
    *(f"cifar-bottleneck{depth}" for depth in CIFAR_BOTTLENECK_DEPTHS),
)
INPUT_SIZES: Final[dict[Family, int]] = {"imagenet": 224, "cifar": 32}  # Table 1, section 4.2
WIDTHS: Final[dict[Family, int]] = {"imagenet": 64, "cifar": 16}  # Table 1, section 4.2
CLASSES: Final[dict[Family, int]] = {"imagenet": 1000, "cifar": 10}  # section 4


@dataclass(frozen=True, slots=True)
class Name:
    """What ``cifar-resnet20`` says: a family, whether there are shortcuts, how many weighted layers, in what blocks."""

    family: Family
    residual: bool
    depth: int
    bottleneck: bool

    def shortcut(self, asked: ShortcutKind | None) -> ShortcutKind:
        """The shortcut that is meant; a plain network has none, and B is the default but for CIFAR's basic blocks.

        Raises:
            SpecError: a shortcut was asked for on a plain network.
        """
        if self.residual:
            return asked or ("A" if self.family == "cifar" and not self.bottleneck else "B")  # sections 4.1, 4.2
        if asked not in (None, "none"):
            kind = "bottleneck" if self.family == "cifar" and self.bottleneck else "resnet"
            twin = f"{'cifar-' if self.family == 'cifar' else ''}{kind}{self.depth}"
            raise SpecError(f"a plain network has no shortcuts: for shortcut {asked} use {twin}")
        return "none"


def parse_name(text: str) -> Name:
    """Read a network's name.

    Raises:
        SpecError: no such network; the line names those there are, or the depths that are possible.
    """
    match = re.fullmatch(r"(cifar-)?(plain|resnet|(?:plain-)?bottleneck)(\d{1,6})", text)
    if match is None or (match[1] is None and match[2].endswith("bottleneck")):
        raise SpecError(
            f"{unknown('model', text, NETWORKS)}; cifar- networks also in any other depth 6n+2, of bottlenecks 9n+2"
        )
    depth, residual = int(match[3]), not match[2].startswith("plain")
    if match[1]:
        return Name("cifar", residual, depth, match[2].endswith("bottleneck"))
    if depth not in DEPTHS:
        raise SpecError(unknown("model", text, [n for n in NETWORKS if not n.startswith("cifar-")]))
    return Name("imagenet", residual, depth, DEPTHS[depth][0] == "bottleneck")


def architecture_of(spec: ModelSpec, classes: int | None = None) -> Architecture:
    """All that ``spec`` says, with every choice made.

    Args:
        spec: name and choices.
        classes: outputs; None: the paper's 1,000 or 10.

    Raises:
        SpecError: there is no such network, or a choice has no effect on it.
    """
    name = parse_name(spec.name)
    if spec.stride_on != "1x1" and not name.bottleneck:
        raise SpecError(f"stride_on has no effect on {spec.name}: basic blocks stride in their first 3x3")
    if spec.pool != "pad1" and name.family == "cifar":
        raise SpecError(f"pool has no effect on {spec.name}: networks for CIFAR do not pool")
    shortcut, width = name.shortcut(spec.shortcut), spec.width or WIDTHS[name.family]
    numbers = {"width": width, "classes": classes or CLASSES[name.family]}
    if name.family == "cifar":
        block: BlockKind = "bottleneck" if name.bottleneck else "basic"
        return cifar(
            name.depth, shortcut=shortcut, block=block, stride_on=spec.stride_on, bn_eps=spec.bn_eps, **numbers
        )
    return imagenet(
        name.depth, shortcut=shortcut, stride_on=spec.stride_on, pool=spec.pool, bn_eps=spec.bn_eps, **numbers
    )


def spec_of(architecture: Architecture) -> ModelSpec:
    """The spec that means ``architecture``, its number of classes aside; only what is no default is said."""
    name = parse_name(architecture.name)
    usual = architecture.shortcut == name.shortcut(None)
    return ModelSpec(
        name=architecture.name,
        shortcut=None if usual else architecture.shortcut,
        stride_on=architecture.stride_on or "1x1",
        pool=architecture.pool or "pad1",
        width=None if architecture.width == WIDTHS[name.family] else architecture.width,
        bn_eps=architecture.bn_eps,
    )


def describe(spec: ModelSpec) -> str:
    """The name with every choice that is not its default: ``cifar-resnet20, width 8``."""
    name = parse_name(spec.name)
    family = name.family
    choices = {
        "shortcut": name.shortcut(spec.shortcut) != name.shortcut(None) and spec.shortcut,
        "stride on": spec.stride_on != "1x1" and spec.stride_on,
        "pool": spec.pool != "pad1" and spec.pool,
        "width": spec.width not in (None, WIDTHS[family]) and spec.width,
        "BN eps": spec.bn_eps != BN_EPS and f"{spec.bn_eps:g}",
    }
    return ", ".join([spec.name, *(f"{key} {value}" for key, value in choices.items() if value)])
