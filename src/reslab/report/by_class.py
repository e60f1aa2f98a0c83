"""Errors class by class, as a table that can be read with two classes and with a thousand."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reslab.core.imagenet import title_of
from reslab.core.units import counted
from reslab.report.finished import FinishedRun
from reslab.report.labels import shortened, shown

ACROSS, LETTERS = 10, 80  # classes, and letters of all their names, up to which each is a column
ALL: Final = 40  # classes up to which each is a row
WORST: Final = 20  # rows where there are more
NAME: Final = 60  # characters of a class


@dataclass(frozen=True)
class ByClass:
    """Errors in percent; ``note`` says of how many pictures, and which classes are shown."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def by_class(runs: Sequence[FinishedRun]) -> ByClass:
    """The table of comparable runs: a row a network while the classes fit beside each other, else a row a class."""
    names = runs[0].result["by_class"]
    beside = len(names) <= ACROSS and sum(map(len, names)) <= LETTERS
    return _networks_down(runs) if beside else _classes_down(runs)


def _networks_down(runs: Sequence[FinishedRun]) -> ByClass:
    classes = list(runs[0].result["by_class"])
    sizes = [_n(runs, name) for name in classes]
    rows = [(run.called, str(run.experiment.seed), *(_error(run, name) for name in classes)) for run in runs]
    equal = len(set(sizes)) == 1
    if not equal:
        rows.append(("n", "", *(f"{n:,}" for n in sizes)))
    note = f"n = {counted(sizes[0], 'picture')} a class." if equal else "n: pictures of the class."
    return ByClass(("network", "seed", *(_title(name) for name in classes)), tuple(rows), note)


def _classes_down(runs: Sequence[FinishedRun]) -> ByClass:
    classes, note = list(runs[0].result["by_class"]), "n: pictures of the class."
    if len(classes) > ALL:
        mean = " by the mean of the networks" if len(runs) > 1 else ""
        note = f"Shown are the {WORST} classes with the largest errors{mean}, of {len(classes):,}. {note}"
        classes = sorted(classes, key=lambda name: -_mean_error(runs, name))[:WORST]
    rows = [(_title(name), f"{_n(runs, name):,}", *(_with_interval(run, name) for run in runs)) for name in classes]
    columns = (f"{run.called}, seed {run.experiment.seed}" for run in runs)
    return ByClass(("class", "n", *columns), tuple(rows), note)


def _n(runs: Sequence[FinishedRun], name: str) -> int:
    return int(runs[0].result["by_class"][name]["n"])


def _error(run: FinishedRun, name: str) -> str:
    found = run.result["by_class"].get(name)
    return f"{found['error']:.1f}" if found else "-"


def _with_interval(run: FinishedRun, name: str) -> str:
    found = run.result["by_class"].get(name)
    return "{:.1f} [{:.1f}, {:.1f}]".format(found["error"], *found["interval"]) if found else "-"


def _mean_error(runs: Sequence[FinishedRun], name: str) -> float:
    found = [run.result["by_class"].get(name) for run in runs]
    return statistics.mean(float(one["error"]) for one in found if one)


def _title(name: str) -> str:
    return shortened(shown(title_of(name)), NAME)
