"""Figure 6: error against iterations, in the paper's three panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from reslab.core.paper.readings import ERROR_READING, STEP, figure6
from reslab.experiments.recipes import cifar_paper
from reslab.report.curves import HOLLOW, colour_of, hollow, name_ends
from reslab.report.figure import STYLE
from reslab.report.finished import FinishedRun
from reslab.report.seeds import Band, seeds_of

TOP: Final = 20.0  # percent, the paper's axis
ROOM: Final = 1.08  # above the highest final error, where that does not fit
HIDDEN: Final = 60.0  # percent; Figure 6's caption: an error above is not displayed
DEEPEST_PLAIN, DEEPEST_RESIDUAL = 56, 110  # of the first two panels
CLOSING: Final = 3.6e4 / 6.4e4  # where the right panel begins, as a part of all iterations
PANEL: Final = (4.6, 3.9)  # inches
ALL: Final = 3  # panels
MOST_TICKS: Final = 6
FEW: Final = 16  # points up to which each is marked
BOLD: Final[dict[str, Any]] = {"linewidth": 2.0, "markersize": 4}
DASHED: Final[dict[str, Any]] = {"linewidth": 1.0, "linestyle": (0, (4, 2)), "markersize": 2.5}


@dataclass(frozen=True)
class Panel:
    """One panel: its networks, each with its seeds, and whether it shows the end alone."""

    title: str
    networks: dict[str, list[FinishedRun]]
    closing: bool = False


def draw_figure6(runs: Sequence[FinishedRun], *, paper_points: bool = False) -> Figure:
    """The panels that have a run: plain networks, residual ones, the end of the two deepest.

    Args:
        runs: of one setting. Of several seeds the first is drawn, in a band from the lowest to the highest of all.
        paper_points: whether the readings of the paper's figure are drawn too; only over runs of its length.
    """
    panels, paper_points = _panels(runs), paper_points and has_readings(runs)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(PANEL[0] * len(panels), PANEL[1]), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel, paper_points=paper_points)
        figure.axes[0].set_ylabel("error (%)")
        handles = _legend(paper_points=paper_points)
        side_by_side = not paper_points or len(panels) == ALL
        columns = len(handles) if side_by_side else len(panels)
        figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=8.5)
    return figure


def has_readings(runs: Sequence[FinishedRun]) -> bool:
    """Whether the paper's readings belong over these runs: they are on its pictures, for its number of steps."""
    first = runs[0].experiment
    return first.data == "cifar10" and first.recipe.steps == cifar_paper().steps


def _panels(runs: Sequence[FinishedRun]) -> list[Panel]:
    deepest = [run for run in runs if run.residual and run.name.depth >= DEEPEST_RESIDUAL]
    closing = deepest if any(run.name.depth > DEEPEST_RESIDUAL for run in deepest) else []
    parts = (
        Panel("plain networks", seeds_of(run for run in runs if not run.residual)),
        Panel(
            "residual networks",
            seeds_of(run for run in runs if run.residual and run.name.depth <= DEEPEST_RESIDUAL),
        ),
        Panel("the end of the deepest", seeds_of(closing), closing=True),
    )
    return [panel for panel in parts if panel.networks]


def _draw(axes: Axes, panel: Panel, *, paper_points: bool) -> None:
    drawn = {title: runs for title, runs in panel.networks.items() if not _hidden(runs)}
    _dress(axes, panel, _top(drawn))
    for title, runs in drawn.items():
        colour = colour_of(runs[0].name.depth)
        _curve(axes, runs, colour)
        if paper_points:
            read = figure6(title, closing=panel.closing)
            hollow(axes, read.test, colour)
            hollow(axes, read.train, colour, marker="D")
    ends = {_named(title, runs): runs[0].test.error for title, runs in drawn.items()}
    name_ends(axes, ends, {_named(title, runs): colour_of(runs[0].name.depth) for title, runs in drawn.items()})
    hidden = [f"{t}: {runs[0].test.error:.1f} %,\nnot displayed" for t, runs in panel.networks.items() if _hidden(runs)]
    axes.text(0.98, 0.97, "\n".join(hidden), transform=axes.transAxes, ha="right", va="top", fontsize=8)


def _curve(axes: Axes, runs: list[FinishedRun], colour: str) -> None:
    train, test = Band.of_training(runs), Band.of_tests(runs)
    for band, style in ((train, DASHED), (test, BOLD)):
        axes.plot(band.steps, band.first, color=colour, marker="o" if len(band.steps) <= FEW else "", **style)
    if len(runs) > 1:
        axes.fill_between(test.steps, test.lowest, test.highest, color=colour, alpha=0.2, linewidth=0)


def _dress(axes: Axes, panel: Panel, top: float) -> None:
    first = next(iter(panel.networks.values()))[0]
    recipe = first.experiment.recipe
    axes.set_title(panel.title, fontsize=10, fontweight="bold", loc="left")
    axes.set_ylim(0, top)
    axes.set_xlim(CLOSING * recipe.steps if panel.closing else 0, recipe.steps)
    axes.set_axisbelow(True)
    scaled = recipe.steps >= STEP
    axes.set_xlabel("iterations (1e4)" if scaled else "iterations")
    if scaled:
        axes.xaxis.set_major_locator(MultipleLocator(max(1, recipe.steps // STEP // MOST_TICKS) * STEP))
        axes.xaxis.set_major_formatter(lambda step, _: f"{step / STEP:g}")
    if top == TOP:
        axes.yaxis.set_major_locator(MultipleLocator(TOP / 4))
    for drop in first.divisions:
        axes.axvline(drop, color="#999999", linewidth=0.8, linestyle=(0, (1, 2)))


def _hidden(runs: list[FinishedRun]) -> bool:
    """Whether the caption's rule for plain-110 takes a network out of the figure."""
    first = runs[0]
    return not first.residual and first.name.depth > DEEPEST_PLAIN and first.test.error > HIDDEN


def _top(networks: dict[str, list[FinishedRun]]) -> float:
    highest = max((run.test.error for runs in networks.values() for run in runs), default=0.0)
    return max(TOP, min(100.0, ROOM * highest))


def _named(title: str, runs: list[FinishedRun]) -> str:
    return title if len(runs) == 1 else f"{title} ({len(runs)} seeds)"


def _legend(*, paper_points: bool) -> list[Line2D]:
    kinds = [Line2D([], [], color="#333333", label="training error", **DASHED)]
    kinds.append(Line2D([], [], color="#333333", label="test error", **BOLD))
    if paper_points:
        for marker, what in (("o", "test"), ("D", "training")):
            label = f"the paper's {what} error, read off its figure, ±{ERROR_READING:g}"
            kinds.append(Line2D([], [], marker=marker, markeredgecolor="#333333", label=label, **HOLLOW))
    return kinds
