"""A contact sheet: pictures with a network's answers, on one sheet."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from reslab.core.files import write_bytes
from reslab.report.figure import STYLE
from reslab.report.glyphs import drawn, fitted

MOST: Final = 96  # pictures on a sheet
ACROSS: Final = 8  # at most
ANSWERS: Final = 5  # of a picture, at most
REASON: Final = 6  # lines of what is wrong with a picture, at most
DPI: Final = 144  # two dots to the point

# in points
CELL: Final = 136  # the width of a cell's picture and text
GAP: Final = 14
MARGIN: Final = 16
NAME: Final = 15  # the line of a picture's name
LINE: Final = 12  # one answer
TITLE: Final = 20
SIZE: Final = 7.5  # of the letters
SHARE: Final = 27  # room for a percentage

INK, SOFT, PALE, BAR, BEST, BAD = "#1b1f24", "#5b6470", "#eef1f4", "#dbe3ea", "#a9d3cd", "#a3261c"


@dataclass(frozen=True)
class Shown:
    """One picture of a sheet.

    Args:
        picture: its name.
        thumbnail: a small JPEG; None: the picture could not be read.
        answers: classes and their probabilities, the most probable first; the first five are drawn.
        error: why there are no answers.
    """

    picture: str
    thumbnail: bytes | None
    answers: tuple[tuple[str, float], ...]
    error: str | None


def contact_sheet(entries: Sequence[Shown], out: Path, total: int | None = None) -> None:
    """Draw the first `MOST` of ``entries`` in a grid and save it as PNG: equal entries make equal files.

    Args:
        entries: at least one.
        out: the file.
        total: how many pictures there are, where more than are given; the sheet says when it shows fewer.

    Raises:
        StorageError: it could not be written.
    """
    shown = entries[:MOST]
    across = min(ACROSS, math.ceil(math.sqrt(len(shown))))
    lines = max(min(len(entry.answers), ANSWERS) for entry in shown)
    down = CELL + NAME + lines * LINE
    head = _head(len(shown), max(total or 0, len(entries)))
    width = 2 * MARGIN + across * (CELL + GAP) - GAP
    top = MARGIN + (TITLE if head else 0)
    height = top + math.ceil(len(shown) / across) * (down + GAP) - GAP + MARGIN
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=DPI)
        axes = _points(figure, width, height)
        axes.text(MARGIN, MARGIN, head, fontsize=9, color=SOFT, va="top")
        for number, entry in enumerate(shown):
            row, column = divmod(number, across)
            _draw(axes, entry, MARGIN + column * (CELL + GAP), top + row * (down + GAP))
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    write_bytes(out, stream.getvalue())


def _head(shown: int, total: int) -> str:
    return f"the first {shown:,} of {total:,} pictures" if total > shown else ""


def _points(figure: Figure, width: int, height: int) -> Axes:
    """Axes over the whole figure whose unit is the point, from the top left."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return axes


def _draw(axes: Axes, entry: Shown, left: float, top: float) -> None:
    axes.add_patch(Rectangle((left, top), CELL, CELL, color=PALE, linewidth=0))
    picture = None if entry.error else _opened(entry.thumbnail)
    if picture is None:
        _refuse(axes, entry.error or "cannot be shown", left, top)
    else:
        _place(axes, picture, left, top)
    name = PurePath(entry.picture).name
    _write(axes, name, left, top + CELL + NAME / 2 + 1, CELL - 2, color=SOFT if entry.error else INK)
    for number, (label, probability) in enumerate(entry.answers[:ANSWERS]):
        _answer(axes, label, probability, left, top + CELL + NAME + number * LINE, BAR if number else BEST)


def _answer(axes: Axes, name: str, probability: float, left: float, top: float, colour: str) -> None:
    axes.add_patch(Rectangle((left, top + 1), CELL * min(max(probability, 0), 1), LINE - 2, color=colour, linewidth=0))
    middle = top + LINE / 2
    _write(axes, name, left + 3, middle, CELL - SHARE - 6)
    _write(axes, f"{100 * probability:.1f} %", left + CELL - 2, middle, SHARE + 6, ha="right")


def _refuse(axes: Axes, reason: str, left: float, top: float) -> None:
    """The reason, in the middle of the cell."""
    lines = _wrapped(drawn(reason), (CELL - 20) / SIZE)[:REASON]
    first = top + CELL / 2 - (len(lines) - 1) * LINE / 2
    for number, line in enumerate(lines):
        _write(axes, line, left + CELL / 2, first + number * LINE, CELL - 16, color=BAD, ha="center")


def _wrapped(text: str, ems: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and fitted(longer, ems) != longer:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _write(axes: Axes, text: str, x: float, y: float, room: float, **style: Any) -> None:
    """``text`` from ``x``, around ``y``, shortened to ``room`` points."""
    short = fitted(drawn(text), room / SIZE)
    axes.text(x, y, short, **{"fontsize": SIZE, "color": INK, "va": "center", "parse_math": False, **style})


def _place(axes: Axes, picture: Image.Image, left: float, top: float) -> None:
    """``picture`` in the middle of its cell, as large as fits, dot by dot."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    dots = round(CELL * DPI / 72)
    width, height = (max(1, round(dots * side / max(picture.size))) for side in picture.size)
    fitting = picture.resize((width, height), Image.Resampling.LANCZOS)
    x = round(left * DPI / 72) + (dots - width) // 2
    y = round((axes.get_ylim()[0] - top) * DPI / 72) - (dots + height) // 2
    figure.figimage(np.asarray(fitting), x, y, origin="upper", zorder=1)


def _opened(thumbnail: bytes | None) -> Image.Image | None:
    """A thumbnail in RGB, or None where it cannot be decoded."""
    try:
        return Image.open(io.BytesIO(thumbnail)).convert("RGB") if thumbnail else None
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
