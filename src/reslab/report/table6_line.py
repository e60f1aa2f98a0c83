"""A row of Table 6: the paper's number, ours, and whether the two are close."""

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from reslab.core.paper.printed import Printed
from reslab.core.paper.readings import ERROR_READING
from reslab.report.departures import SPLIT
from reslab.report.finished import FinishedRun
from reslab.report.table import with_interval

MANY: Final = 5  # runs from which a mean is judged; the paper's own number for ResNet-110
ON_ONE: Final = 0.5  # points, of one run or a few; ours: repetitions by different people lie 0.3 to 1.2 apart
ON_MANY: Final = 0.3  # points, of a mean of MANY; ours: published standard deviations are 0.14 to 0.20
CLEAN: Final = 9  # decimals that a difference of percentages has; beyond them is rounding


@dataclass(frozen=True)
class Line:
    """One row: a method of the paper, and the runs of it that count together.

    Args:
        method: its name.
        layers: weighted layers, where the paper gives them.
        printed: the paper's row; None: a plain network.
        reading: of a plain network's last test error in Figure 6, in percent.
        parameters: exact, of the paper's network; else of the runs'.
        runs: ours.
        departs: what in the runs is not the paper's; None: nothing is.
    """

    method: str
    layers: int | None
    printed: Printed | None
    reading: float | None
    parameters: int | None
    runs: tuple[FinishedRun, ...] = ()
    departs: str | None = None

    @property
    def errors(self) -> list[float]:
        """Of the last iteration of each run, in percent."""
        return [run.test.error for run in self.runs]

    @property
    def mean(self) -> float | None:
        """Of all runs, in percent."""
        return statistics.mean(self.errors) if self.runs else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation of several runs, in points."""
        return statistics.stdev(self.errors) if len(self.runs) > 1 else None

    @property
    def best(self) -> float | None:
        """The lowest of all runs' errors, in percent."""
        return min(self.errors, default=None)

    @property
    def published_way(self) -> bool:
        """Whether the runs may be held to the paper's number: nothing departs, or what the paper leaves open."""
        return self.departs is None or self.departs == SPLIT

    @property
    def repeated(self) -> list[int]:
        """Seeds of more than one run, in another precision, say: such runs are not independent."""
        return [seed for seed, count in Counter(run.experiment.seed for run in self.runs).items() if count > 1]

    @property
    def tolerance(self) -> float | None:
        """How far the mean may lie from the paper's number, in points; None: it is not judged."""
        if not self.runs or self.printed is None or self.repeated or not self.published_way:
            return None
        return ON_MANY if len(self.runs) >= MANY else ON_ONE

    @property
    def target(self) -> float | None:
        """What the mean is compared with: the paper's mean where its error is the best of several, else its error."""
        if self.printed is None:
            return None
        return self.printed.error if self.printed.mean is None else self.printed.mean

    @property
    def verdict(self) -> str:
        """In words; nothing is said of a rival."""
        if self.printed and self.printed.cited:
            return "cited"
        if self.mean is None:
            return "not run"
        if not self.published_way:
            return "not the paper's schedule"
        if self.repeated:
            return f"not judged: seed {self.repeated[0]} is there more than once"
        if self.target is None:
            return "no published number"
        assert self.tolerance is not None
        inside = round(abs(self.mean - self.target), CLEAN) <= self.tolerance
        return f"{'within' if inside else 'outside'} {self.tolerance:g} of {self.target:.2f}"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, for the headings of its table."""
        exact = None if self.parameters is None else f"{self.parameters:,}"
        printed = None if self.printed is None or self.departs else self.printed.parameters
        size = f"{printed} ({exact})" if printed and exact else printed or exact
        said = f"{self.verdict}: {self.departs}" if self.departs else self.verdict
        runs = str(len(self.runs) or "") if not (self.printed and self.printed.cited) else ""
        return (self.title, str(self.layers or "-"), size or "-", self._paper(), self._ours(), runs or "-", said)

    @property
    def title(self) -> str:
        """``Maxout``, ``ResNet-20``, ``plain-20``."""
        ours = self.printed is None or not self.printed.cited
        return f"{self.method}-{self.layers}" if ours else self.method

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        printed = self.printed
        return {
            "method": self.method,
            "layers": self.layers,
            "parameters": self.parameters,
            "parameters_printed": printed.parameters if printed else None,
            "paper_error": printed.error if printed else None,
            "paper_mean": printed.mean if printed else None,
            "paper_std": printed.std if printed else None,
            "figure6_reading": self.reading,
            "runs": len(self.runs),
            "n": sorted({run.test.n for run in self.runs}),
            "errors": self.errors,
            "mean": self.mean,
            "std": self.std,
            "best": self.best,
            "tolerance": self.tolerance,
            "verdict": self.verdict,
            "departs": self.departs,
        }

    def _paper(self) -> str:
        if self.printed is not None:
            return self.printed.text
        return f"{self.reading:.1f} ± {ERROR_READING:g}" if self.reading is not None else "above 60"

    def _ours(self) -> str:
        if len(self.runs) < 2:
            return with_interval(self.runs[0].test) if self.runs else "-"
        n = " and ".join(f"{n:,}" for n in sorted({run.test.n for run in self.runs}))
        return f"best {self.best:.2f} (mean {self.mean:.2f} ± {self.std:.2f}) n={n} each"
