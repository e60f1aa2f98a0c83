"""Errors with the moving averages of batch normalisation and with true ones, the same network on the same pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reslab.core.intervals import Count
from reslab.core.rundir import Record
from reslab.core.units import counted
from reslab.report.finished import FinishedRun
from reslab.report.rendering import p_value
from reslab.report.table import with_interval

HEADINGS: Final = (
    *("network", "seed", "averaged over", "error before %", "error after %", "before - after, points", "McNemar's p"),
)
NOTE: Final = (
    "Before: the moving averages of training, with which the curves' tests were made. After: means and variances"
    " averaged over the groups of so many training pictures after the last step, with which the result was tested. The"
    " weights are the same. The difference has its 95 % bootstrap interval over the pictures that both tests share."
)


@dataclass(frozen=True)
class Averaged:
    """A row a run, as text."""

    rows: tuple[tuple[str, ...], ...]
    headings: tuple[str, ...] = HEADINGS
    note: str = NOTE


def averaged(runs: Sequence[FinishedRun]) -> Averaged | None:
    """The table of those runs whose statistics were recomputed; None where there are none."""
    rows = tuple(_row(run, run.averaged) for run in runs if run.averaged)
    return Averaged(rows) if rows else None


def _row(run: FinishedRun, found: Record) -> tuple[str, ...]:
    pair, (low, high) = found["paired"], found["paired"]["interval"]
    return (
        run.called,
        str(run.experiment.seed),
        counted(found["pictures"], "picture"),
        with_interval(Count(found["n"] - found["hits_before"], found["n"])),
        with_interval(run.test),
        f"{pair['difference']:+z.2f} [{low:+z.2f}, {high:+z.2f}]",
        p_value(pair["p_value"]),
    )
