"""What was asked of a measurement, and what came out of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reslab.core.errors import SpecError
from reslab.core.experiment import Precision, Recipe
from reslab.experiments.bench.advice import Advice
from reslab.experiments.bench.timing import Row
from reslab.experiments.names import parse_name
from reslab.experiments.recipes import cifar_paper, named_recipe

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
        bn_group: pictures that share batch statistics; None: see `group_for`.
        recipe: of training: the name of the one whose settings decide the speed; None: see `recipe_for`.
    """

    model: str = ""
    batch: int
    rounds: int
    precision: Precision = "auto"
    data: str | None = None
    workers: int | None = None
    device: str = "auto"
    bn_group: int | None = None
    recipe: str | None = None

    def __post_init__(self) -> None:
        leasts = {"rounds": 1, "batch": 1, "workers": 0, "bn-group": 1}
        for name, least in leasts.items():
            value: int | None = getattr(self, name.replace("-", "_"))
            if value is not None and value < least:
                raise SpecError(f"--{name} must be at least {least}, not {value}")
        if self.bn_group is not None and self.batch % self.bn_group:
            raise SpecError(f"--bn-group {self.bn_group} does not divide --batch {self.batch}")

    @property
    def named(self) -> Recipe | None:
        """The recipe that was named.

        Raises:
            SpecError: there is no such recipe.
        """
        return None if self.recipe is None else named_recipe(self.recipe)

    def again(self) -> Record:
        """What a command needs to measure the same again, whatever was measured; None where nothing was asked for."""
        precision = None if self.precision == "auto" else self.precision
        return {"batch": self.batch, "precision": precision, "device": None if self.device == "auto" else self.device}


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


def group_for(asked: Asked, batch: int) -> int:
    """Pictures of ``batch`` with common statistics: as asked, else the recipe's, else 64 for CIFAR's (section 4.2).

    Where that does not divide ``batch``, and for all other networks, it is the whole batch.

    Raises:
        SpecError: there is no such network.
    """
    usual = cifar_paper().bn_group if parse_name(asked.model).family == "cifar" else batch
    group = asked.bn_group or (asked.named.bn_group if asked.named else usual)
    return batch if batch % group else group


def fewer(rounds: int) -> int:
    """Rounds of what only advice depends on: a third, at least one."""
    return max(1, rounds // 3)
