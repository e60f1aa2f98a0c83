"""The figures of one setting on the page, with their captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reslab.core.units import counted
from reslab.experiments.recipes import cifar_paper
from reslab.report.drawing import Drawing, draw
from reslab.report.figure import ends_apart, training_curves
from reslab.report.figure6 import draw_figure6, has_readings
from reslab.report.figure7 import draw_figure7
from reslab.report.finished import FinishedRun
from reslab.report.seeds import POINTS

DIVIDED: Final = "Dotted lines: the learning rate is divided. "
CURVES: Final = (
    "Training error is measured on augmented pictures while the network still learns, so it may lie above the test"
    " error."
)
AVERAGED: Final = " Hollow: the final test error, with batch statistics averaged after the last step."
PARTS: Final = {"train": "training", "val": "test"}
POOLED: Final = f" Each of its points is the mean of what was logged in a {POINTS}th of all steps."
BAND: Final = " Of several seeds the first is drawn, in a band from the lowest to the highest test error of all."
ELSEWHERE: Final = f" The paper's points are left out: they belong to {cifar_paper().steps:,} steps on CIFAR-10."


@dataclass(frozen=True)
class Captioned:
    """A figure with its caption, what stands in its place where it cannot be seen, and its CSS style."""

    drawing: Drawing
    caption: str
    instead: str
    style: str = ""


def section_figures(
    runs: Sequence[FinishedRun], beside: Path, mark: str, *, paper_points: bool = False
) -> list[Captioned]:
    """Figure 6 where the runs are on CIFAR-10, else training curves; and Figure 7 where responses were measured.

    Args:
        runs: of one setting.
        beside: the page's folder.
        mark: what sets the names of this setting's figures apart from those of others.
        paper_points: whether the paper's own points are drawn too.

    Raises:
        StorageError: a figure could not be written.
    """
    cifar10 = runs[0].experiment.data == "cifar10"
    figures = [_figure6(runs, beside, mark, paper_points=paper_points) if cifar10 else _curves(runs, beside, mark)]
    if any(run.responses for run in runs):
        figures.append(_figure7(runs, beside, mark, paper_points=paper_points))
    return figures


def _curves(runs: Sequence[FinishedRun], beside: Path, mark: str) -> Captioned:
    drawing = draw(training_curves(runs), beside, f"training-curves{mark}")
    averaged = AVERAGED if any(map(ends_apart, runs)) else ""
    return Captioned(drawing, f"{_divided(runs)}{CURVES}{averaged}", "error against steps")


def _figure6(runs: Sequence[FinishedRun], beside: Path, mark: str, *, paper_points: bool) -> Captioned:
    drawing = draw(draw_figure6(runs, paper_points=paper_points), beside, f"figure6{mark}")
    band = BAND if _several_seeds(runs) else ""
    caption = f"Figure 6. {_divided(runs)}{CURVES}{POOLED}{band}{_left_out(runs, paper_points=paper_points)}"
    return Captioned(drawing, caption, "Figure 6: error against iterations", _style(drawing))


def _figure7(runs: Sequence[FinishedRun], beside: Path, mark: str, *, paper_points: bool) -> Captioned:
    drawing = draw(draw_figure7(runs, paper_points=paper_points), beside, f"figure7{mark}")
    measured = [run.measured for run in runs if run.measured]
    ways = dict.fromkeys(
        f"{counted(m.pictures, f'{PARTS.get(m.part, m.part)} picture')}, {m.statistics} statistics" for m in measured
    )
    one = " Of several seeds the first is drawn." if _several_seeds(runs) else ""
    caption = (
        "Figure 7. Standard deviation of the output of every 3x3 layer, after batch normalisation and before ReLU or"
        f" addition ({'; '.join(ways)}).{one}{_left_out(runs, paper_points=paper_points)}"
    )
    return Captioned(drawing, caption, "Figure 7: layer responses", _style(drawing))


def _divided(runs: Sequence[FinishedRun]) -> str:
    return DIVIDED if any(run.divisions for run in runs) else ""


def _several_seeds(runs: Sequence[FinishedRun]) -> bool:
    return len({run.experiment.seed for run in runs}) > 1


def _left_out(runs: Sequence[FinishedRun], *, paper_points: bool) -> str:
    return ELSEWHERE if paper_points and not has_readings(runs) else ""


def _style(drawing: Drawing) -> str:
    return f"max-width: {drawing.width:.1f}rem"
