"""Table 6 as printed, our runs beside it, and the plain networks that the table leaves out below it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from reslab.core.paper import published
from reslab.core.paper.printed import OURS, Printed, table6
from reslab.core.paper.readings import ERROR_READING, final_test_error
from reslab.report.departures import departures
from reslab.report.finished import FinishedRun
from reslab.report.table6_line import MANY, ON_MANY, ON_ONE, Line

PLAIN: Final = (20, 32, 44, 56, 110)  # Figure 6, left, and its caption
TITLE: Final = "Table 6: test error on CIFAR-10"
PLAIN_TITLE: Final = "Plain networks, which Table 6 leaves out"
HEADINGS: Final = ("method", "layers", "parameters", "paper %", "ours %", "runs", "verdict")
PLAIN_HEADINGS: Final = ("network", "layers", "parameters", "Figure 6, read off %", "ours %", "runs", "verdict")
NOTE: Final = (
    f"Suggested tolerance: ±{ON_ONE:g} on a single run or a mean of fewer than {MANY}, ±{ON_MANY:g} on a mean of {MANY}"
    " or more. It is ours, not the paper's: repetitions by different people lie 0.3 to 1.2 points apart, and published"
    " standard deviations are 0.14 to 0.20. Every error is that of a run's last iteration. Of several runs: the best"
    " (mean ± standard deviation), as the paper prints it; the mean is judged, against the paper's mean where there is"
    " one. Brackets hold 95 % Wilson intervals over n test pictures. Parameters: the paper's, and the exact number."
    " Which pictures the paper's networks saw is not said: runs on 45,000 of the 50,000 have a row of their own."
)
PLAIN_NOTE: Final = (
    f"Read off Figure 6, ±{ERROR_READING:g}: no published numbers, so there is nothing to judge. Of plain-110 the"
    " caption says that the error is above 60 %."
)


@dataclass(frozen=True)
class Printable:
    """A table as text, with what must be said below it."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class Table6:
    """The table's rows in the paper's order, and those of the plain networks."""

    rows: tuple[Line, ...]
    plain: tuple[Line, ...]

    @property
    def tables(self) -> tuple[Printable, Printable]:
        """The table and the one below it, as pages and terminals show them."""
        return (
            Printable(TITLE, HEADINGS, tuple(line.cells for line in self.rows), NOTE),
            Printable(PLAIN_TITLE, PLAIN_HEADINGS, tuple(line.cells for line in self.plain), PLAIN_NOTE),
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``: the lists ``rows`` and ``plain``."""
        return {"rows": [line.as_json() for line in self.rows], "plain": [line.as_json() for line in self.plain]}


def table6_of(runs: Sequence[FinishedRun]) -> Table6 | None:
    """Table 6 with every run that is on CIFAR-10; None where there is none."""
    if all(run.experiment.data != "cifar10" for run in runs):
        return None
    ours = [run for run in runs if run.experiment.data == "cifar10" and run.basic_cifar]
    rows = [line for printed in table6() for line in _printed_lines(printed, ours)]
    return Table6(tuple(rows), tuple(line for depth in PLAIN for line in _plain_lines(depth, ours)))


def _printed_lines(printed: Printed, runs: Sequence[FinishedRun]) -> Iterator[Line]:
    if printed.cited or printed.layers is None:
        yield Line(printed.method, printed.layers, printed, None, None)
        return
    line = Line(OURS, printed.layers, printed, None, _parameters(printed.layers))
    yield from _with_runs(line, [run for run in runs if run.residual and run.name.depth == printed.layers])


def _plain_lines(depth: int, runs: Sequence[FinishedRun]) -> Iterator[Line]:
    line = Line("plain", depth, None, final_test_error(f"plain-{depth}"), _parameters(depth))
    yield from _with_runs(line, [run for run in runs if not run.residual and run.name.depth == depth])


def _with_runs(line: Line, runs: Sequence[FinishedRun]) -> Iterator[Line]:
    """A row of the runs that are as published, then one for every other way in which the network was trained."""
    ways: dict[str | None, list[FinishedRun]] = {}
    for run in runs:
        ways.setdefault(departures(run.experiment), []).append(run)
    if not ways:
        yield line
    for departs in sorted(ways, key=lambda departs: departs or ""):
        same = tuple(ways[departs])
        parameters = line.parameters if departs is None else same[0].result["parameters"]
        yield replace(line, runs=same, departs=departs, parameters=parameters)


def _parameters(depth: int) -> int:
    return int(published("sizes")[f"cifar-{depth}-A"]["params"])
