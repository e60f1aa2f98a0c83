"""What was asked of a measurement, and what came out of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reslab.core.errors import SpecError
from reslab.core.experiment import Precision
from reslab.experiments.bench.advice import Advice
from reslab.experiments.bench.timing import Row

Note = Callable[[str], None]
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Settings of one measurement; each kind uses those that concern it.

    Args:
        model: a network's name.
        batch: pictures a step.
        rounds: that count.
        precision: ``auto`` tries bf16 beside fp32 where it is native.
        data: what ``--data`` says; None: random pictures in memory.
        workers: processes that read ahead; None: as many as training would take.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    model: str = ""
    batch: int
    rounds: int
    precision: Precision = "auto"
    data: str | None = None
    workers: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, value, least in (("rounds", self.rounds, 1), ("batch", self.batch, 1), ("workers", self.workers, 0)):
            if value is not None and value < least:
                raise SpecError(f"--{name} must be at least {least}, not {value}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """One measurement: its ``rows``, ``advice``, where it took place, and of what it was."""

    rows: Sequence[Row]
    advice: Advice
    rounds: int
    environment: Record
    settings: Record
    differences: Record | None = None

    def as_json(self) -> Record:
        """One JSON document; ``differences`` where they were measured."""
        found = asdict(self)
        return {key: value for key, value in found.items() if value is not None}


def fewer(rounds: int) -> int:
    """Rounds of what only advice depends on: a third, at least one."""
    return max(1, rounds // 3)
