"""The confusion matrix as a picture: rows are true classes, columns answers, colour the share of a row."""

import math
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from reslab.report.confusion import row_shares
from reslab.report.figure import STYLE
from reslab.report.glyphs import drawable, fitted

COUNTED: Final = 25  # classes up to which each cell has its number
NAMED: Final = 60  # classes up to which each row and column has its name
DRAWN: Final = 5_000  # classes up to which there is a figure; the matrix of so many takes 200 MB
DOTS: Final = 400  # a side, so that one can be seen
EMS: Final = 15  # the longest name, in multiples of the font's size
CELL: Final = 0.44  # inches, where there is room
SIDES: Final = (2.2, 7.4)  # inches of the matrix: the least and the most
SHADES: Final = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#cfe0ee", "#6ea3cc", "#1d4e89", "#0d2747"])
RIGHT: Final = "#1d4e89"  # the frame around right answers
DARK: Final = 58.0  # percent above which a number is written in white


def confusion_figure(matrix: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Counts in the cells and names beside them as far as there is room; colour is the share of the row in percent.

    Args:
        matrix: pictures (classes, classes), as `reslab.report.confusion.confusion` counts them; at most `DRAWN`.
        classes: their names.
    """
    side = min(max(CELL * len(classes), SIDES[0]), SIDES[1])
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(side + 2.7, side + (1.3 if len(classes) <= NAMED else 0.6)), layout="constrained")
        axes = figure.add_subplot()
        many = len(classes) > NAMED
        _colour(figure, axes, row_shares(matrix), many=many)
        if many:
            axes.set_xlabel(f"answer, by number ({len(classes):,} classes)")
            axes.set_ylabel("true class, by number")
        else:
            _name(axes, matrix, classes, 72 * side / len(classes))
        if len(classes) <= COUNTED:
            _count(axes, matrix, 72 * side / len(classes))
    return figure


def names_drawn(classes: Sequence[str]) -> list[str]:
    """Each class as the figure calls it: its name, shortened, or its number where the font lacks a letter of it."""
    return [fitted(name, EMS) if drawable(name) else f"class {number}" for number, name in enumerate(classes)]


def _colour(figure: Figure, axes: Axes, shares: NDArray[np.float64], *, many: bool) -> None:
    if many:
        extent = (0, len(shares), len(shares), 0)
        norm = PowerNorm(0.3, 0, 100)  # so that single pictures can be seen
        mesh: Any = axes.imshow(_pooled(shares), cmap=SHADES, norm=norm, interpolation="none", extent=extent)
    else:
        mesh = axes.pcolormesh(shares, cmap=SHADES, vmin=0, vmax=100, edgecolor="#e3e8ed", linewidth=0.5)
        for number in range(len(shares)):
            axes.add_patch(Rectangle((number, number), 1, 1, fill=False, edgecolor=RIGHT, linewidth=1.1, zorder=3))
        axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0 if not many else 3)
    bar = figure.colorbar(
        mesh, ax=axes, shrink=0.8, aspect=24, pad=0.03, ticks=[0, 1, 5, 20, 50, 100] if many else None
    )
    bar.set_label("share of the row (%)")
    bar.outline.set_visible(False)


def dots_of(classes: int) -> int:
    """How many classes a side share a dot of the figure; 1 while each cell has its own."""
    return math.ceil(classes / DOTS)


def _pooled(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest cell of each dot: a mean would hide what is rare."""
    block, size = dots_of(len(shares)), len(shares)
    side = math.ceil(size / block)
    padded = np.zeros((side * block, side * block))
    padded[:size, :size] = shares
    pooled: NDArray[np.float64] = padded.reshape(side, block, side, block).max(axis=(1, 3))
    return pooled


def _name(axes: Axes, matrix: NDArray[np.int64], classes: Sequence[str], cell: float) -> None:
    names = names_drawn(classes)
    rows = [f"{name} ({n:,})" for name, n in zip(names, matrix.sum(axis=1).tolist(), strict=True)]
    middles = np.arange(len(names)) + 0.5
    size = min(8.5, 0.72 * cell)
    slant: dict[str, Any] = {"rotation": 45 if len(names) <= COUNTED else 90, "rotation_mode": "anchor"}
    axes.set_xticks(middles, names, fontsize=size, ha="right", va="center", parse_math=False, **slant)
    axes.set_yticks(middles, rows, fontsize=size, parse_math=False)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class (pictures)")


def _count(axes: Axes, matrix: NDArray[np.int64], cell: float) -> None:
    shares = row_shares(matrix)
    size = min(8.5, cell / (0.7 * len(f"{matrix.max():,}")))
    for row, column in np.argwhere(matrix).tolist():
        colour = "white" if shares[row, column] > DARK else "#1b1f24"
        text = f"{matrix[row, column]:,}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=size, color=colour)
