"""The reliability diagram: how often answers are right, by the probability that they were given with."""

from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reslab.core.intervals import wilson
from reslab.report.calibration import BINS, Calibration, edges
from reslab.report.figure import STYLE

PALE: Final = "#a9d3cd"
STRONG: Final = "#1d4e89"
GREY: Final = "#8a939c"


def reliability_figure(found: Calibration) -> Figure:
    """Bars of the share of right answers with 95 % Wilson intervals, the diagonal, and below the pictures of each bin.

    Args:
        found: what `reslab.report.calibration.calibrate` measured.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 5.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.1))
        _reliability(upper, found)
        _numbers(lower, found)
        upper.set_ylabel("right answers (%)")
        lower.set_ylabel("pictures")
        lower.set_xlabel("probability of the answer (%)")
        low, high = found.interval
        title = f"calibration error {found.ece:.1f} % [{low:.1f}, {high:.1f}], n={found.n:,}"
        upper.set_title(title, fontsize=10, fontweight="bold", loc="left")
    return figure


def _reliability(axes: Axes, found: Calibration) -> None:
    filled = found.counts > 0
    counts, hits = found.counts[filled], found.hits[filled]
    shares, means = 100 * hits / counts, 100 * found.sums[filled] / counts
    bounds = np.array([wilson(hit, n) for hit, n in zip(hits.tolist(), counts.tolist(), strict=True)]) * 100
    axes.bar(100 * edges()[:-1][filled], shares, 100 / BINS, align="edge", color=PALE, edgecolor="white", linewidth=1)
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(means, bounds[:, 0], bounds[:, 1], color=STRONG, linewidth=1.2)
    axes.plot(means, shares, "o", color=STRONG, markersize=5, markeredgecolor="white", clip_on=False, zorder=4)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_axisbelow(True)


def _numbers(axes: Axes, found: Calibration) -> None:
    axes.bar(100 * edges()[:-1], found.counts, 100 / BINS, align="edge", color="#cfd6dd", edgecolor="white")
    axes.set_ylim(0, 1.35 * int(found.counts.max()))
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    for left, count in zip((100 * edges()[:-1]).tolist(), found.counts.tolist(), strict=True):
        place = (left + 50 / BINS, count)
        axes.annotate(f"{count:,}", place, (0, 1.5), textcoords="offset points", ha="center", fontsize=6.5)
