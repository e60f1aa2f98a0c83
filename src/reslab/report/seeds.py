"""Several runs of one network as one curve and the band that they fill."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from reslab.core.rundir import Record
from reslab.report.finished import FinishedRun, train_count

POINTS: Final = 64  # of a curve of training errors: Figure 6 has one every 1k of 64k iterations


def seeds_of(runs: Iterable[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """The runs of each network that were trained alike, by title; where there is a choice, as published."""
    networks: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: run.rank):  # stable: still by depth and seed
        networks.setdefault(run.title, []).append(run)
    by_depth = sorted(networks.items(), key=lambda found: found[1][0].name.depth)
    return {title: [run for run in group if _alike(run, group[0])] for title, group in by_depth}


def _alike(run: FinishedRun, first: FinishedRun) -> bool:
    return run.experiment.but({"seed": first.experiment.seed}) == first.experiment


@dataclass(frozen=True)
class Band:
    """Errors in percent at ``steps``: those of the first run, and the lowest and highest of all."""

    steps: list[int]
    first: list[float]
    lowest: list[float]
    highest: list[float]

    @classmethod
    def of_tests(cls, runs: Sequence[FinishedRun]) -> Self:
        """Of the tests on the way."""
        return cls._of(
            [{line["step"]: line["test_error"] for line in run.metrics if "test_error" in line} for run in runs]
        )

    @classmethod
    def of_training(cls, runs: Sequence[FinishedRun]) -> Self:
        """Of training, each the mean of what was logged in one of `POINTS` parts of all steps."""
        return cls._of([_training(run) for run in runs])

    @classmethod
    def _of(cls, curves: Sequence[dict[int, float]]) -> Self:
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        values = [[curve[step] for curve in curves] for step in steps]
        return cls(steps, [v[0] for v in values], [min(v) for v in values], [max(v) for v in values])


def _training(run: FinishedRun) -> dict[int, float]:
    groups: dict[int, list[Record]] = {}
    for line in run.metrics:
        groups.setdefault(math.ceil(POINTS * line["step"] / run.experiment.recipe.steps), []).append(line)
    return {lines[-1]["step"]: _error(lines) for lines in groups.values()}


def _error(lines: Sequence[Record]) -> float:
    counts = [train_count(line) for line in lines]
    return 100 * sum(count.errors for count in counts) / sum(count.n for count in counts)
