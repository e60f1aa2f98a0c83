"""Numbers as people read them: always with their interval or spread, and with n."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reslab.core.intervals import Count
from reslab.core.units import duration_text
from reslab.report.finished import FinishedRun
from reslab.report.provenance import Source, of_mean, of_test, of_training

HEADINGS = ("network", "seed", "parameters", "multiply-adds", "training error %", "test error %", "paper %", "time")
TRAINING, TEST = HEADINGS.index("training error %"), HEADINGS.index("test error %")


@dataclass(frozen=True)
class Row:
    """One line of the result table; ``sources`` says of some of its cells, by their place, where they come from."""

    cells: tuple[str, ...]
    summary: bool = False
    sources: Mapping[int, Source] = field(default_factory=dict)


def rows_of(runs: Sequence[FinishedRun]) -> list[Row]:
    """A row a run and, where a network has several seeds, a row with mean and spread."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault(run.called, []).append(run)
    rows = []
    for title, group in groups.items():
        rows += [_row(run) for run in group]
        if len(group) > 1:
            rows.append(_mean(title, group))
    return rows


def _row(run: FinishedRun) -> Row:
    return Row(
        (
            run.called,
            str(run.experiment.seed),
            f"{run.result['parameters']:,}",
            multiply_adds(run),
            with_interval(run.train),
            with_interval(run.test),
            _paper(run),
            duration_text(run.result["seconds"]),
        ),
        sources={TRAINING: of_training(run), TEST: of_test(run)},
    )


def _mean(title: str, runs: Sequence[FinishedRun]) -> Row:
    train, test = ([count.error for count in counts] for counts in zip(*((r.train, r.test) for r in runs), strict=True))
    seconds = duration_text(sum(run.result["seconds"] for run in runs))
    cells = (title, f"{len(runs)} seeds", "", "", _spread(train), _spread(test), _paper(runs[0]), seconds)
    sources = {TRAINING: of_mean("training error", runs), TEST: of_mean("test error", runs)}
    return Row(cells, summary=True, sources=sources)


def with_interval(count: Count) -> str:
    """``9.15 [8.60, 9.73] n=10,000``: percent, 95 % Wilson interval, pictures."""
    low, high = count.interval
    return f"{count.error:.2f} [{low:.2f}, {high:.2f}] n={count.n:,}"


def multiply_adds(run: FinishedRun) -> str:
    """``7.8 M at 28x28``."""
    size = run.result["input_size"]
    return f"{run.result['multiply_adds'] / 1e6:,.1f} M at {size}x{size}"


def _spread(errors: list[float]) -> str:
    return f"{statistics.mean(errors):.2f} ± {statistics.stdev(errors):.2f} ({len(errors)} seeds)"


def _paper(run: FinishedRun) -> str:
    return "-" if run.paper_test_error is None else f"{run.paper_test_error:.2f}"
