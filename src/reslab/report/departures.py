"""What in a run is not section 4.2's, in a few words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from reslab.core.contract import DIGITS
from reslab.core.experiment import Experiment
from reslab.experiments.catalog import TABLE6, as_published
from reslab.experiments.names import describe

HELD_OUT: Final = 5_000  # pictures of the 45k/5k split of section 4.2, which does not say what Table 6's networks saw
DIGEST: Final = re.compile("[0-9a-f]{64}")  # a sha256
SPLIT: Final = f"validation {HELD_OUT:,}"  # the one departure that the paper leaves room for


def departures(experiment: Experiment) -> str | None:
    """``steps 500, width 8`` for a run of one of Table 6's or Figure 6's networks; None: it is as published."""
    if as_published(experiment):
        return None
    name = experiment.model.name
    _, *choices = describe(experiment.model).split(", ")
    start = ["from trained weights"] if experiment.start else []
    theirs, ours = (recipe.model_dump(mode="json") for recipe in (TABLE6.how(name), experiment.recipe))
    changed = _changes(theirs | {"precision": ours["precision"]}, ours)
    return ", ".join([*changed, *choices, *start])


def _changes(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for key, value in ours.items():
        if isinstance(value, Mapping) and isinstance(theirs[key], Mapping):
            yield from _changes(theirs[key], value)
        elif value != theirs[key]:
            yield f"{key.replace('_', ' ')} {word(value)}"


def word(value: Any) -> str:
    """A setting's value: ``none``, ``64,000``, ``0.5 and 0.75``; of a digest enough to tell it from others."""
    if isinstance(value, list):
        return " and ".join(map(word, value))
    if isinstance(value, Mapping):
        return "set"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value[:DIGITS] if DIGEST.fullmatch(value) else value
    return "none" if value is None else f"{value:,}" if type(value) is int else str(value)
