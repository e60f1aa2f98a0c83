"""The two building blocks beside each other, as Figure 5 draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.path import Path

from reslab.models.anatomy import BlockAnatomy, Layer
from reslab.report.figure import STYLE

PANEL, HEIGHT = 2.75, 3.6  # of one block, in inches, as all lengths here
BOX, PLUS = (1.0, 0.27), 0.085  # a layer's box; the radius of the addition's circle
CENTRE, AROUND = 0.8, 2.0  # how far right F and the shortcut are
TITLE, ENTERS, SPLITS, FIRST, LAST, ADDS, LEAVES, COUNTS = 0.25, 0.58, 0.78, 1.06, 2.3, 2.74, 3.14, 3.38  # how far down
TEXT: Final = 9.0  # points


@dataclass(frozen=True, slots=True)
class Panel:
    """One block; those ``asked`` for stand out, the others are there to compare."""

    title: str
    block: BlockAnatomy
    asked: bool


@dataclass(frozen=True, slots=True)
class _Pen:
    axes: Axes
    ink: str
    fill: str
    projected: str

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        self.axes.text(x, y, text, **{"fontsize": TEXT, "color": self.ink, "va": "center_baseline", **style})

    def box(self, layer: Layer, x: float, y: float, fill: str) -> None:
        corner = (x - BOX[0] / 2, y - BOX[1] / 2)
        self.axes.add_patch(Rectangle(corner, *BOX, facecolor=fill, edgecolor=self.ink, linewidth=0.9, zorder=3))
        self.text(x, y, f"{layer.kernel}x{layer.kernel}, {layer.outputs}", ha="center", zorder=4)

    def arrow(self, *points: tuple[float, float]) -> None:
        style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8, "linewidth": 1.0, "color": self.ink}
        self.axes.add_patch(FancyArrowPatch(path=Path(points), **style))


STRONG: Final = ("#1b1f24", "#f6d9a3", "#e9b7cb")
PALE: Final = ("#868d94", "#f7f7f7", "#f7f7f7")


def block_figure(panels: Sequence[Panel]) -> Figure:
    """Each block with its map, and its weights for one position of it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL * len(panels), HEIGHT))
        for number, panel in enumerate(panels):
            axes = figure.add_axes((number / len(panels), 0, 1 / len(panels), 1))
            axes.set_xlim(0, PANEL)
            axes.set_ylim(HEIGHT, 0)
            axes.axis("off")
            pen = _Pen(axes, *(STRONG if panel.asked else PALE))
            _name(pen, panel)
            _branch(pen, panel.block)
            _shortcut(pen, panel.block)
    return figure


def _name(pen: _Pen, panel: Panel) -> None:
    layers = panel.block.layers
    side, weights = layers[-1].side, sum(layer.weights for layer in panel.block.convolutions)
    pen.text(CENTRE - BOX[0] / 2, TITLE, panel.title, fontweight="bold")
    pen.text(CENTRE + 0.09, ENTERS + 0.06, f"{layers[0].inputs}-d, {side}x{side}")
    pen.text(CENTRE - BOX[0] / 2, COUNTS, f"{weights:,} weights a position", fontsize=TEXT - 0.5)


def _branch(pen: _Pen, block: BlockAnatomy) -> None:
    """F: boxes from top to bottom with a ReLU between each two, the addition, and the last ReLU."""
    apart = (LAST - FIRST) / (len(block.layers) - 1)
    above = ENTERS
    for number, layer in enumerate(block.layers):
        middle = FIRST + number * apart
        pen.arrow((CENTRE, above), (CENTRE, middle - BOX[1] / 2))
        if number:
            pen.text(CENTRE + 0.09, middle - apart / 2, "relu")
        pen.box(layer, CENTRE, middle, pen.fill)
        above = middle + BOX[1] / 2
    if block.shortcut is not None:
        pen.arrow((CENTRE, above), (CENTRE, ADDS - PLUS))
        pen.axes.add_patch(Circle((CENTRE, ADDS), PLUS, facecolor="white", edgecolor=pen.ink, linewidth=1.0))
        for x, y in ((PLUS, 0.0), (0.0, PLUS)):
            pen.axes.plot((CENTRE - x, CENTRE + x), (ADDS - y, ADDS + y), color=pen.ink, linewidth=1.0, zorder=3)
        above = ADDS + PLUS
    pen.arrow((CENTRE, above), (CENTRE, LEAVES))
    pen.text(CENTRE + 0.09, (ADDS + PLUS + LEAVES) / 2, "relu")


def _shortcut(pen: _Pen, block: BlockAnatomy) -> None:
    if block.shortcut is None:
        return
    pen.arrow((CENTRE, SPLITS), (AROUND, SPLITS), (AROUND, ADDS), (CENTRE + PLUS, ADDS))
    middle = (FIRST + LAST) / 2
    if block.shortcut.layer is None:
        pen.text(AROUND + 0.07, middle, block.shortcut.carries)
    else:
        pen.box(block.shortcut.layer, AROUND, middle, pen.projected)
