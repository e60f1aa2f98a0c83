"""What a network is made of, as values to print and to draw; without torch."""

from dataclasses import dataclass
from typing import Literal

LayerKind = Literal["conv", "max pool", "avg pool", "fc"]
Carries = Literal["identity", "zeros", "projection"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that has weights or pools.

    Args:
        name: its module's.
        kind: what it does.
        kernel: places a side that it sees at once; the whole map's for the average pooling, 1 for the classifier.
        stride: 2 where it halves the map.
        inputs: channels that come in.
        outputs: channels that go out.
        side: places a side of the map that goes out.
        weights: without biases.
    """

    name: str
    kind: LayerKind
    kernel: int
    stride: int
    inputs: int
    outputs: int
    side: int
    weights: int


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What goes around a block (section 3.3).

    Args:
        carries: ``identity``, ``zeros`` (option A's identity with zero channels behind) or ``projection``.
        widens: whether dimensions increase: Figure 3 draws such a shortcut dotted.
        layer: the projection's convolution.
    """

    carries: Carries
    widens: bool
    layer: Layer | None = None


@dataclass(frozen=True, slots=True)
class BlockAnatomy:
    """A building block of Figure 5: the convolutions of F, and the shortcut; a plain network's has none."""

    name: str
    layers: tuple[Layer, ...]
    shortcut: Shortcut | None

    @property
    def convolutions(self) -> tuple[Layer, ...]:
        """F's, and behind them the shortcut's."""
        own = self.shortcut.layer if self.shortcut else None
        return self.layers if own is None else (*self.layers, own)


Part = Layer | BlockAnatomy


@dataclass(frozen=True, slots=True)
class StageAnatomy:
    """A row of Table 1: single layers and blocks in the order in which they act."""

    title: str
    parts: tuple[Part, ...]
