"""A run's errors to look at: what is taken for what, which mistakes are certain, whether certainty can be believed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reslab.core.units import counted
from reslab.report.calibration import BINS, CHANCE, RESAMPLES, Calibration, calibrate
from reslab.report.calibration_figure import reliability_figure
from reslab.report.confusion import MOST_PAIRS, confusion, most_confused
from reslab.report.confusion_figure import COUNTED, DRAWN, NAMED, confusion_figure, dots_of, names_drawn
from reslab.report.drawing import Drawing, draw
from reslab.report.finished import FinishedRun
from reslab.report.glyphs import drawable
from reslab.report.labels import shortened
from reslab.report.scored import Mistake, Scored
from reslab.report.table import with_interval

LONGEST: Final = 60  # characters of a class in a table
PAIR_HEADINGS: Final = ("true class", "answer", "pictures", "% of the true class")
DEFINITION: Final = (
    f"Pictures are sorted into {BINS} equal bins by the probability of their answer. The expected calibration error is"
    " the mean over all pictures of the distance between their bin's mean probability and its share of right answers."
    f" In brackets: its 95 % bootstrap interval from {RESAMPLES:,} resamples. The fewer pictures, the more of it is"
    " chance. Dots stand at a bin's mean probability,"
    " with the 95 % Wilson interval of its share; on the dashed line certainty would be right."
)


@dataclass(frozen=True)
class Confusion:
    """The matrix as a figure (None: too many classes), its caption, and the most confused pairs as rows of text."""

    drawing: Drawing | None
    caption: str
    pairs: tuple[tuple[str, ...], ...]
    pairs_caption: str
    counted: bool
    pair_headings: tuple[str, ...] = PAIR_HEADINGS


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram, what was measured, and what it means."""

    drawing: Drawing
    summary: str
    definition: str = DEFINITION


@dataclass(frozen=True)
class Errors:
    """Everything a report shows of one run's errors; ``mistakes`` is None where none were kept."""

    title: str
    confusion: Confusion
    mistakes: tuple[Mistake, ...] | None
    mistakes_caption: str
    reliability: Reliability

    @property
    def files(self) -> tuple[Path, ...]:
        """The figures' files."""
        drawings = (self.confusion.drawing, self.reliability.drawing)
        return tuple(file for drawing in drawings if drawing for file in drawing.files)


def errors_of(run: FinishedRun, scored: Scored, beside: Path, mark: str) -> Errors:
    """Count, measure and draw.

    Args:
        run: whose errors.
        scored: its test.
        beside: the page's folder.
        mark: what sets the names of this run's figures apart from those of others.

    Raises:
        StorageError: a figure could not be written.
    """
    calibration = calibrate(scored.certainty, scored.right)
    diagram = draw(reliability_figure(calibration), beside, f"calibration{mark}")
    return Errors(
        title=f"{run.called}, seed {run.experiment.seed}",
        confusion=_confusion(scored, beside, mark),
        mistakes=scored.mistakes,
        mistakes_caption=_mistakes_caption(scored),
        reliability=Reliability(diagram, _summary(calibration)),
    )


def _confusion(scored: Scored, beside: Path, mark: str) -> Confusion:
    size = len(scored.classes)
    drawing = None
    if size <= DRAWN:
        matrix = confusion(scored.labels, scored.answers, size)
        drawing = draw(confusion_figure(matrix, scored.classes), beside, f"confusion{mark}")
    found = most_confused(scored.labels, scored.answers, size)
    names = [shortened(name, LONGEST) for name in scored.classes]
    rows = tuple(
        (names[pair.label], names[pair.answer], f"{pair.count.errors:,}", with_interval(pair.count)) for pair in found
    )
    most = f"The {MOST_PAIRS} most frequent confusions" if len(rows) == MOST_PAIRS else "Every confusion"
    caption = f"{most} of one class with another, n={len(scored.labels):,}." if rows else "No class was confused."
    return Confusion(drawing, _matrix_caption(scored), rows, caption, size <= COUNTED)


def _matrix_caption(scored: Scored) -> str:
    size, n = len(scored.classes), len(scored.labels)
    what = "Numbers are pictures; colour" if size <= COUNTED else "Colour"
    text = f"Rows: true classes. Columns: answers. {what} is the share of a row; n={n:,}, {counted(size, 'class')}."
    if (block := dots_of(size)) > 1:
        text += f" A dot shows the largest of {block}x{block} cells."
    if size > NAMED:
        return text
    numbered = [
        f"{short} is {name}"
        for short, name in zip(names_drawn(scored.classes), scored.classes, strict=True)
        if not drawable(name)
    ]
    return f"{text} {'; '.join(numbered)}." if numbered else text


def _mistakes_caption(scored: Scored) -> str:
    n, wrong = len(scored.labels), int((~scored.right).sum())
    of = counted(n, "picture")
    if not wrong:
        return f"No mistake on {of}."
    shown = len(scored.mistakes or ())
    if shown < wrong:
        return f"The {shown:,} most certain of {wrong:,} mistakes on {of}, the most certain first."
    return f"Every mistake on {of}, the most certain first: {wrong:,}."


def _summary(found: Calibration) -> str:
    low, high = found.interval
    chance = f"below {found.chance:.2f} % in {100 * CHANCE:.0f} % of such tests"
    return (
        f"Expected calibration error {found.ece:.2f} % [{low:.2f}, {high:.2f}]; a perfectly calibrated network with"
        f" these probabilities would stay {chance}; n={found.n:,}."
    )
