"""A run's layer responses, as Figure 7 needs them: read from its ``responses.json``."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reslab.core.errors import RunError
from reslab.core.rundir import Record, read_record
from reslab.core.units import counted

FILE: Final = "responses.json"


@dataclass(frozen=True)
class Responses:
    """Standard deviations of every 3x3 layer's output after BN, before ReLU or addition (section 4.2, Figure 7).

    Args:
        stds: one a layer, in order, the first convolution included.
        pictures: on how many they were measured.
        part: of the data set.
        statistics: those that batch normalisation used.
    """

    stds: tuple[float, ...]
    pictures: int
    part: str
    statistics: str


def read_responses(folder: Path, layers: int | None, step: int) -> Responses | None:
    """The responses in ``folder``; None where there are none.

    Args:
        folder: the run's directory.
        layers: how many 3x3 layers the network has; None: any number.
        step: the one after which they must have been measured.

    Raises:
        RunError: the file is damaged, or is of another network or step.
    """
    path = folder / FILE
    if not path.exists():
        return None
    facts = read_record(path)
    if wrong := _fault(facts, layers, step):
        raise RunError(f"{path} is damaged: {wrong}")
    stds = tuple(float(layer["std"]) for layer in facts["layers"])
    return Responses(stds, facts["pictures"], facts["part"], facts["statistics"])


def _fault(facts: Record, layers: int | None, step: int) -> str | None:
    kinds = {"pictures": int, "part": str, "statistics": str, "layers": list}
    if wrong := [key for key, kind in kinds.items() if not isinstance(facts.get(key), kind)]:
        return f"{wrong[0]} is {facts.get(wrong[0])!r}"
    if facts["pictures"] < 1:
        return f"pictures is {facts['pictures']}"
    if facts.get("step") != step:
        return f"it is of step {facts.get('step')!r}, not of the last, {step}"
    found = facts["layers"]
    if not found or len(found) != (layers or len(found)):
        return f"it holds {counted(len(found), 'layer')}, not {layers or 'at least 1'}"
    wrong_std = [number for number, layer in enumerate(found, start=1) if not _is_std(layer)]
    return f"layer {wrong_std[0]} is {found[wrong_std[0] - 1]!r}" if wrong_std else None


def _is_std(layer: Any) -> bool:
    std = layer.get("std") if isinstance(layer, dict) else None
    return isinstance(std, int | float) and not isinstance(std, bool) and math.isfinite(std) and std >= 0
