"""Error against steps in the paper's manner, plain networks left, residual ones right; and how figures are saved."""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reslab.report.finished import FinishedRun

SHADES: Final = ("#e69f00", "#2a9d8f", "#b5386f", "#1d4e89", "#111111")  # from light to dark: told apart in grey too
MARKERS: Final = ("o", "^", "D", "s", "v")
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "svg.hashsalt": "reslab",
    "svg.fonttype": "path",
}
KEY: Final = "thin: training error over the last 50 batches      bold: test error"
HOLLOW: Final = "      hollow: test error once batch statistics were averaged"
TITLES: Final = {False: "plain networks", True: "residual networks"}
Curve = tuple[list[float], list[float]]


def training_curves(runs: Sequence[FinishedRun]) -> Figure:
    """Two panels with shared axes, as in Figure 6, or one where there is one kind: thin training, bold test error.

    Args:
        runs: of one setting; several seeds of a network are drawn as several curves.
    """
    kinds = sorted({run.residual for run in runs})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.9), layout="constrained")
        panels = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
        marks = sorted({_mark(run) for run in runs})
        for axes, kind in zip(panels, kinds, strict=True):
            of_kind = [run for run in runs if run.residual == kind]
            for run in of_kind:
                _draw(axes, run, _shade(run, marks))
            _dress(axes, TITLES[kind], runs[0])
            _name_curves(axes, of_kind, marks)
        panels[0].set_ylabel("error (%)")
        panels[0].set_ylim(0, _ceiling(runs))
        figure.suptitle(KEY + (HOLLOW if any(map(ends_apart, runs)) else ""), fontsize=9)
    return figure


def ends_apart(run: FinishedRun) -> bool:
    """Whether its final test error is not its curve's last: batch statistics were averaged between the two."""
    return run.averaged is not None and run.averaged["hits_before"] != run.result["hits"]


def as_svg(figure: Figure) -> str:
    """The figure as SVG text, the same for the same runs."""
    stream = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def as_png(figure: Figure) -> bytes:
    """The figure as PNG bytes, 160 dots an inch."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(stream, format="png", dpi=160, metadata={"Software": None})
    return stream.getvalue()


def _curve(run: FinishedRun, key: str) -> Curve:
    lines = [line for line in run.metrics if key in line]
    return [line["step"] for line in lines], [line[key] for line in lines]


def _draw(axes: Axes, run: FinishedRun, shade: int) -> None:
    axes.plot(*_curve(run, "train_error"), color=SHADES[shade], linewidth=0.9)
    bold: dict[str, Any] = {"linewidth": 2.4, "marker": MARKERS[shade], "markersize": 5, "markeredgecolor": "white"}
    axes.plot(*_curve(run, "test_error"), color=SHADES[shade], **bold)
    if ends_apart(run):
        hollow: dict[str, Any] = {"markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.4, "zorder": 4}
        axes.plot(run.experiment.recipe.steps, run.test.error, MARKERS[shade], color=SHADES[shade], **hollow)


def _mark(run: FinishedRun) -> tuple[int, str]:
    """What curves have a colour of their own for: a plain and a residual network of one depth share it."""
    return run.name.depth, run.title_apart


def _shade(run: FinishedRun, marks: list[tuple[int, str]]) -> int:
    """The deeper the darker, over as much of the scale as the number of marks needs."""
    spread = max(len(marks), len(SHADES) - 1) - 1
    return round(marks.index(_mark(run)) * spread / max(len(marks) - 1, 1)) % len(SHADES)


def _dress(axes: Axes, title: str, run: FinishedRun) -> None:
    axes.set_title(title, fontsize=10, fontweight="bold", loc="left")
    axes.set_xlabel("steps")
    axes.set_xlim(0, run.experiment.recipe.steps * 1.17)
    axes.set_axisbelow(True)
    for drop in run.divisions:
        axes.axvline(drop, color="#999999", linewidth=0.8, linestyle=(0, (2, 3)))


def _name_curves(axes: Axes, runs: Sequence[FinishedRun], marks: list[tuple[int, str]]) -> None:
    ends: dict[str, list[FinishedRun]] = {}
    for run in runs:
        ends.setdefault(run.called, []).append(run)
    lowest = 0.0
    for title, group in sorted(ends.items(), key=lambda end: _end(end[1])):
        lowest = max(_end(group), lowest)
        colour = SHADES[_shade(group[0], marks)]
        place = (group[0].experiment.recipe.steps * 1.02, lowest)
        axes.annotate(title, place, color=colour, fontweight="bold", fontsize=8.5, va="center", annotation_clip=False)
        lowest += 4.5  # points of error, so that names do not lie on each other


def _end(runs: Sequence[FinishedRun]) -> float:
    return sum(run.test.error for run in runs) / len(runs)


def _ceiling(runs: Sequence[FinishedRun]) -> float:
    """Room for every curve once the first tenth of the steps is over."""
    begun = runs[0].experiment.recipe.steps / 10
    errors = [
        line[key]
        for run in runs
        for line in run.metrics
        for key in ("train_error", "test_error")
        if key in line and line["step"] >= begun
    ]
    return min(100.0, 1.05 * max(errors + [run.test.error for run in runs], default=100.0))
