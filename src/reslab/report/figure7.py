"""Figure 7: how strongly each layer responds, in order and sorted."""

from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reslab.core.paper.readings import STD_READING, figure7
from reslab.report.curves import HOLLOW, colour_of, hollow
from reslab.report.figure import STYLE
from reslab.report.figure6 import has_readings
from reslab.report.finished import FinishedRun
from reslab.report.seeds import seeds_of

LIMITS: Final = (0.5, 3.5)  # the paper's axis
ROOM: Final = 0.05  # of the axis, around what leaves the paper's
LINES: Final[dict[bool, dict[str, Any]]] = {
    False: {"linestyle": (0, (4, 2)), "linewidth": 1.2},
    True: {"linestyle": "solid", "linewidth": 1.5},
}


def draw_figure7(runs: Sequence[FinishedRun], *, paper_points: bool = False) -> Figure:
    """Standard deviations of layer responses: above in the layers' order, below from the largest to the smallest.

    Args:
        runs: of one setting; those without responses are left out, and of several seeds the first is drawn.
        paper_points: whether the readings of the paper's figure are drawn too; only over runs of its length.
    """
    networks = seeds_of(run for run in runs if run.responses)
    paper_points = paper_points and has_readings(runs)
    stds = {title: list(same[0].responses or ()) for title, same in networks.items()}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 5.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, sharey=True)
        for title, (first, *_) in networks.items():
            style = {"color": colour_of(first.name.depth), "label": title, **LINES[first.residual]}
            above.plot(range(1, len(stds[title]) + 1), stds[title], **style)
            below.plot(range(1, len(stds[title]) + 1), sorted(stds[title], reverse=True), **style)
            if paper_points:
                hollow(below, figure7(title), colour_of(first.name.depth))
        _dress(above, below, stds)
        above.legend(handles=_legend(above, paper_points=paper_points), frameon=False, fontsize=8.5, loc="upper right")
    return figure


def _dress(above: Axes, below: Axes, stds: dict[str, list[float]]) -> None:
    for axes, order in ((above, "original"), (below, "sorted by magnitude")):
        axes.set_xlabel(f"layer index ({order})")
        axes.set_ylabel("std")
        axes.set_axisbelow(True)
    above.tick_params(labelbottom=True)
    values = [std for curve in stds.values() for std in curve]
    room = ROOM * (LIMITS[1] - LIMITS[0])
    low = LIMITS[0] if min(values) >= LIMITS[0] else max(0.0, min(values) - room)
    above.set_ylim(low, LIMITS[1] if max(values) <= LIMITS[1] else max(values) + room)
    above.set_xlim(0, max(map(len, stds.values())) + 1)
    above.xaxis.set_major_locator(MaxNLocator(integer=True))


def _legend(axes: Axes, *, paper_points: bool) -> list[Line2D]:
    handles = list(axes.lines)
    if paper_points:
        label = f"the paper, read off its figure, ±{STD_READING:g}"
        handles.append(Line2D([], [], marker="o", markeredgecolor="#333333", label=label, **HOLLOW))
    return handles
