"""A network drawn as Figure 3 draws its columns: a box a layer, coloured by stage, shortcuts around the blocks."""

from collections.abc import Iterable, Sequence
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reslab.models.anatomy import BlockAnatomy, Carries, Shortcut, StageAnatomy
from reslab.report.figure import STYLE
from reslab.report.glyphs import width
from reslab.report.network_drawing import (
    ARCS,
    BOX,
    BOXES,
    GAP,
    INK,
    LABELS,
    PITCH,
    TEXT,
    Place,
    arrow,
    draw_column,
    shortcut_line,
    size_label,
)
from reslab.report.network_layout import columns_of

COLUMN: Final = LABELS + BOXES + ARCS
MARGIN: Final = 0.2  # inches, as all lengths here
LINE: Final = 0.15
TITLE: Final = 10.0  # points
LEAST: Final = 2.8  # so that "x 199" has room beside a column
SAMPLE: Final = 0.36  # of a line in the legend
MEANINGS: Final[dict[Carries, str]] = {
    "identity": "identity",
    "zeros": "identity and zeros for new channels (A)",
    "projection": "projection: 1x1 convolution",
}


def network_figure(title: str, notes: Sequence[str], stages: Sequence[StageAnatomy], input_size: int) -> Figure:
    """The network of ``stages`` on one page.

    Args:
        title: in bold.
        notes: lines below it.
        stages: what the network is made of.
        input_size: pixels a side of the picture that comes in.
    """
    columns, shortcuts = columns_of(stages), _kinds(stages)
    rows = max(sum(len(piece.layers) for piece in column) for column in columns)
    head = MARGIN + LINE * (len(notes) + 2.2)
    top = head + PITCH
    size = (_wide(title, notes, len(columns), shortcuts), top + rows * PITCH + LINE * len(shortcuts) + MARGIN)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size)
        axes = _page(figure)
        _write(axes, title, notes)
        place = Place(MARGIN, top, input_size)
        _picture(axes, place, head)
        for number, column in enumerate(columns):
            end = draw_column(axes, column, place)
            if number + 1 < len(columns):
                place = Place(place.left + COLUMN, top, None)
                _turn(axes, end, place)
        _explain(axes, shortcuts, top + rows * PITCH + LINE / 2)
    return figure


def _kinds(stages: Sequence[StageAnatomy]) -> list[Shortcut]:
    """One of each kind of shortcut that must be told apart, in the order in which they come."""
    found: dict[tuple[Carries, bool], Shortcut] = {}
    for part in (part for stage in stages for part in stage.parts):
        if isinstance(part, BlockAnatomy) and part.shortcut is not None:
            found.setdefault((part.shortcut.carries, part.shortcut.widens), part.shortcut)
    return [found[key] for key in sorted(found)]


def _wide(title: str, notes: Iterable[str], columns: int, shortcuts: Iterable[Shortcut]) -> float:
    texts = [1.15 * TITLE * width(title), *(TEXT * width(note) for note in notes)]  # bold letters are wider
    explained = [SAMPLE + TEXT / 72 * width(_meaning(shortcut)) for shortcut in shortcuts]
    return 2 * MARGIN + max(columns * COLUMN, LEAST, max(texts) / 72, *explained)


def _page(figure: Figure) -> Axes:
    """The whole page, measured in inches from its top left corner."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, figure.get_figwidth())
    axes.set_ylim(figure.get_figheight(), 0)
    axes.axis("off")
    return axes


def _write(axes: Axes, title: str, notes: Sequence[str]) -> None:
    axes.text(MARGIN, MARGIN + LINE, title, fontsize=TITLE, fontweight="bold", color=INK)
    for number, note in enumerate(notes, start=2):
        axes.text(MARGIN, MARGIN + (number + 0.2) * LINE, note, fontsize=TEXT, color=INK)


def _picture(axes: Axes, place: Place, top: float) -> None:
    middle = top + BOX / 2
    axes.text(place.middle, middle, "picture", fontsize=TEXT, ha="center", va="center", color=INK)
    assert place.side is not None
    size_label(axes, place.side, place.left, middle)
    arrow(axes, (place.middle, place.top - GAP), (place.middle, place.top))


def _turn(axes: Axes, end: Place, start: Place) -> None:
    """From below a column to the top of the next one, between shortcuts and sizes."""
    between, above = start.left - 0.07, start.top - GAP
    low = end.top + GAP
    corners = [(end.middle, end.top), (end.middle, low), (between, low), (between, above), (start.middle, above)]
    axes.plot(*zip(*corners, strict=True), color=INK, linewidth=0.7, solid_joinstyle="round")
    arrow(axes, (start.middle, above), (start.middle, start.top))


def _explain(axes: Axes, shortcuts: Sequence[Shortcut], top: float) -> None:
    for number, shortcut in enumerate(shortcuts):
        y = top + number * LINE
        axes.plot((MARGIN, MARGIN + SAMPLE - 0.08), (y, y), **shortcut_line(shortcut))
        axes.text(MARGIN + SAMPLE, y, _meaning(shortcut), fontsize=TEXT, va="center_baseline", color=INK)


def _meaning(shortcut: Shortcut) -> str:
    return MEANINGS[shortcut.carries] + (", dimensions increase" if shortcut.widens else "")
