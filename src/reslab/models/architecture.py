"""What a network is beside its weights, as a value; without torch."""

from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

from reslab.core.errors import SpecError, unknown

Family = Literal["imagenet", "cifar"]
BlockKind = Literal["basic", "bottleneck"]
Kind = Literal["none", "A", "B", "C"]
StrideOn = Literal["1x1", "3x3"]
Pool = Literal["pad1", "caffe"]

CHOICES: Final = {
    "family": get_args(Family),
    "block": get_args(BlockKind),
    "shortcut": get_args(Kind),
    "stride_on": (*get_args(StrideOn), None),
    "pool": (*get_args(Pool), None),
}
MOST: Final = {"depth": 10_000, "width": 8_192, "classes": 10**6, "bn_eps": 1}  # ours: beyond any use, within memory
BN_EPS: Final = 1e-5  # Caffe's and torch's default; the authors' released networks state none
DEPTHS: Final[dict[int, tuple[BlockKind, tuple[int, ...]]]] = {  # Table 1
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
LAYERS: Final[dict[BlockKind, int]] = {"basic": 2, "bottleneck": 3}  # weighted layers of a block, Figure 5


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that decides what a network computes from given weights.

    Of two networks that differ here, names and shapes of all parameters may still agree: `stride_on`, `pool` and
    `bn_eps` leave no trace in them, nor does option A against none.

    Args:
        family: ``imagenet`` (Table 1) or ``cifar`` (section 4.2).
        depth: weighted layers, projections not counted.
        block: ``basic`` or ``bottleneck`` (Figure 5).
        shortcut: ``none`` makes the plain network.
        stride_on: a bottleneck's convolution that strides; None for basic blocks, which leave no choice.
        pool: the rule of the first pooling; None for CIFAR, where there is none.
        width: filters of the first stage.
        bn_eps: what batch normalisation adds to the variance.
        classes: outputs of the classifier.

    Raises:
        SpecError: there is no such network.
    """

    family: Family
    depth: int
    block: BlockKind
    shortcut: Kind
    stride_on: StrideOn | None = None
    pool: Pool | None = None
    width: int
    bn_eps: float = BN_EPS
    classes: int

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if (given := getattr(self, name)) not in choices:
                raise SpecError(unknown(name, str(given), [choice for choice in choices if choice]))
        _check_depth(self.family, self.depth, self.block)
        for name, most in MOST.items():
            value = getattr(self, name)
            if not 0 < value <= most or (isinstance(value, float) and name != "bn_eps"):
                raise SpecError(f"{name} must be positive and at most {most:,}, not {value}")
        if self.family == "imagenet" and self.block != DEPTHS[self.depth][0]:
            raise SpecError(
                f"the {self.depth} layers of Table 1 are of {DEPTHS[self.depth][0]} blocks, not {self.block}"
            )
        if (self.stride_on is None) != (self.block == "basic") or (self.pool is None) != (self.family == "cifar"):
            raise SpecError("stride_on is for bottlenecks, and only for them, as pool is for ImageNet's networks")

    @property
    def repeats(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        if self.family == "imagenet":
            return DEPTHS[self.depth][1]
        return (blocks_a_stage(self.depth, self.block),) * 3

    @property
    def name(self) -> str:
        """The command line's name: ``resnet50``, ``cifar-plain20``, ``cifar-bottleneck29``."""
        prefix = "cifar-" if self.family == "cifar" else ""
        if self.family == "cifar" and self.block == "bottleneck":
            return f"{prefix}{'plain-' if self.shortcut == 'none' else ''}bottleneck{self.depth}"
        return f"{prefix}{'plain' if self.shortcut == 'none' else 'resnet'}{self.depth}"

    def against(self, other: "Architecture") -> str:
        """The name with what ``other`` has differently: ``resnet50 (stride on 1x1)``."""
        mine, theirs = asdict(self), asdict(other)
        said = [
            f"{key.replace('_', ' ')} {mine[key]}"
            for key in ("shortcut", "stride_on", "pool", "width", "bn_eps", "classes")
            if mine[key] != theirs[key] and mine[key] is not None
        ]
        return f"{self.name} ({', '.join(said)})" if said else self.name


def blocks_a_stage(depth: int, block: BlockKind) -> int:
    """The n of a CIFAR network's 6n+2 weighted layers (section 4.2), of 9n+2 with bottlenecks."""
    return (depth - 2) // (3 * LAYERS[block])


def imagenet(
    depth: int,
    *,
    shortcut: Kind,
    stride_on: StrideOn,
    pool: Pool,
    width: int,
    classes: int,
    bn_eps: float,
) -> Architecture:
    """A network of Table 1; `stride_on` is for those of bottlenecks.

    Raises:
        SpecError: there is no such network.
    """
    _check_depth("imagenet", depth, "basic")
    block = DEPTHS[depth][0]
    return Architecture(
        family="imagenet",
        depth=depth,
        block=block,
        shortcut=shortcut,
        stride_on=stride_on if block == "bottleneck" else None,
        pool=pool,
        width=width,
        bn_eps=bn_eps,
        classes=classes,
    )


def cifar(
    depth: int,
    *,
    shortcut: Kind,
    block: BlockKind,
    stride_on: StrideOn,
    width: int,
    classes: int,
    bn_eps: float,
) -> Architecture:
    """A network of section 4.2; the paper's have basic blocks.

    Raises:
        SpecError: there is no such network.
    """
    return Architecture(
        family="cifar",
        depth=depth,
        block=block,
        shortcut=shortcut,
        stride_on=stride_on if block == "bottleneck" else None,
        width=width,
        bn_eps=bn_eps,
        classes=classes,
    )


def _check_depth(family: Family, depth: int, block: BlockKind) -> None:
    if family == "imagenet":
        if depth not in DEPTHS:
            known = ", ".join(map(str, DEPTHS))
            raise SpecError(f"no ImageNet network of {depth} layers in Table 1 (choose from: {known})")
        return
    period = 3 * LAYERS[block]
    if depth < period + 2 or (depth - 2) % period:
        near = period * max(1, round((depth - 2) / period)) + 2
        kind = "CIFAR network" if block == "basic" else "CIFAR network of bottlenecks"
        known = ", ".join(str(period * n + 2) for n in (1, 2, 3))
        raise SpecError(f"a {kind} has {period}n+2 layers ({known}, ...), not {depth}; the nearest is {near}")
