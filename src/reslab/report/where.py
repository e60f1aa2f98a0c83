"""Where runs took place and on which copy of the pictures, in sentences."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from reslab.report.finished import FinishedRun

SHOWN: Final = ("reslab", "revision", "torch", "python", "device", "processor", "threads", "precision")


def where(runs: Sequence[FinishedRun]) -> list[str]:
    """Versions and machines; what else they were when a run went on; what was said of the pictures' copy."""
    begun: dict[str, list[str]] = {}
    for run in runs:
        if place := _place(run):
            begun.setdefault(place, []).append(_named(run))
    places = [f"{place}." if len(begun) == 1 else f"{', '.join(names)}: {place}." for place, names in begun.items()]
    return [*places, *dict.fromkeys(line for run in runs for line in _notes(run))]


def _place(run: FinishedRun) -> str:
    """The device is named where it is not the processor."""
    noted = {key: run.environment.get(key) for key in SHOWN}
    return "; ".join(f"{key} {value}" for key, value in noted.items() if value not in (None, "cpu"))


def _named(run: FinishedRun) -> str:
    return f"{run.called}, seed {run.experiment.seed}"


def _notes(run: FinishedRun) -> Iterator[str]:
    for entry in _listed(run.environment.get("resumed")):
        match entry:
            case {"step": int(step), "changed": [_, *_] as changed}:
                yield f"{_named(run)}, went on after step {step:,}: {'; '.join(map(str, changed))}."
    for warning in _listed(run.data_noted.get("warnings")):
        yield f"{warning}."


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
