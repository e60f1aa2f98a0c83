"""One column of a network's figure: boxes, the arrows between them, shortcuts around them. Lengths are in inches."""

from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path

from reslab.models.anatomy import Layer, Shortcut
from reslab.report.network_layout import Column, Piece

INK: Final = "#1b1f24"
PROJECTED: Final = "#a3195b"
POOLS: Final = "#ffffff"
FILLS: Final = ("#dcdcdc", "#f6d9a3", "#a9dcd4", "#e9b7cb", "#b1c9e6")  # the stem and four stages
BOX, GAP = 0.15, 0.105  # a layer's box, and the room for arrows below it
PITCH: Final = BOX + GAP
LABELS, BOXES, ARCS = 0.66, 1.26, 0.5  # of a column, beside each other: sizes of maps, boxes, shortcuts
TEXT: Final = 6.6  # points
LEAVES, RETURNS = 0.7, 0.3  # of the gap: where a shortcut begins above its block and ends below it


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column begins: ``left`` of the sizes, ``top`` of the first box, and the map's ``side`` before it."""

    left: float
    top: float
    side: int | None

    @property
    def middle(self) -> float:
        """Of the boxes."""
        return self.left + LABELS + BOXES / 2

    def row(self, number: int) -> float:
        """The top of a box."""
        return self.top + number * PITCH


def draw_column(axes: Axes, column: Column, place: Place) -> Place:
    """Draw ``column``; returns where its last arrow begins."""
    row, side = 0, place.side
    for piece in column:
        for number, layer in enumerate(piece.layers, start=row):
            _box(axes, layer, piece.stage, place, place.row(number))
            if number:
                arrow(axes, (place.middle, place.row(number) - GAP), (place.middle, place.row(number)))
            if layer.side != side and layer.kind != "fc":
                size_label(axes, layer.side, place.left, place.row(number) + BOX / 2)
            side = layer.side
        _around(axes, piece, place, row)
        row += len(piece.layers)
    return Place(place.left, place.row(row) - GAP, side)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A short straight arrow."""
    line: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 4.5, "linewidth": 0.7, "color": INK}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **line))


def size_label(axes: Axes, side: int, left: float, middle: float) -> None:
    """The map's size, as Figure 3 has it."""
    axes.text(left, middle, f"output\nsize: {side}", fontsize=TEXT - 0.6, va="center", color=INK, linespacing=1.05)


def shortcut_line(shortcut: Shortcut) -> dict[str, Any]:
    """Dotted where dimensions increase, coloured where it has weights."""
    colour = PROJECTED if shortcut.carries == "projection" else INK
    return {"linestyle": (0, (1, 1.4)) if shortcut.widens else "-", "color": colour, "linewidth": 1.0}


def caption(layer: Layer) -> str:
    """What is written in a layer's box."""
    if layer.kind == "fc":
        return f"fc {layer.outputs}"
    if layer.kind == "avg pool":
        return "avg pool"
    strides = ", /2" if layer.stride > 1 else ""
    what = f"conv, {layer.outputs}" if layer.kind == "conv" else layer.kind
    return f"{layer.kernel}x{layer.kernel} {what}{strides}"


def _box(axes: Axes, layer: Layer, stage: int, place: Place, top: float) -> None:
    fill = POOLS if "pool" in layer.kind else FILLS[0 if layer.kind == "fc" else stage % len(FILLS)]
    corner = (place.middle - BOXES / 2, top)
    axes.add_patch(Rectangle(corner, BOXES, BOX, facecolor=fill, edgecolor=INK, linewidth=0.6, zorder=3))
    place_text: dict[str, Any] = {"ha": "center", "va": "center_baseline", "zorder": 4}
    axes.text(place.middle, top + BOX / 2, caption(layer), fontsize=TEXT, color=INK, **place_text)


def _around(axes: Axes, piece: Piece, place: Place, row: int) -> None:
    """The shortcut on the right, and how many such blocks there are."""
    start = place.row(row) - GAP * (1 - LEAVES)
    end = place.row(row + len(piece.layers)) - GAP * (1 - RETURNS)
    right = place.middle + BOXES / 2
    beyond = right + (0.2 + 0.05 * len(piece.layers) if piece.shortcut else 0.1)
    if piece.shortcut is not None:
        bulge = right + (beyond - right) / 0.75  # a cubic curve goes three quarters of the way to its control points
        corners = [(right, start), (bulge, start), (bulge, end), (right, end)]
        points = [(place.middle, start), *corners, (place.middle, end)]
        path = Path(points, [Path.MOVETO, Path.LINETO, *[Path.CURVE4] * 3, Path.LINETO])
        line = shortcut_line(piece.shortcut)
        axes.add_patch(FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=4.5, **line))
    elif piece.times > 1:
        inner = beyond - 0.05
        axes.plot((inner, beyond, beyond, inner), (start, start, end, end), color=INK, linewidth=0.7)
    if piece.times > 1:
        style: dict[str, Any] = {"fontsize": TEXT + 1.4, "fontweight": "bold", "va": "center", "color": INK}
        axes.text(beyond + 0.06, (start + end) / 2, f"x {piece.times}", **style)
