"""Table 6 as printed, row by row."""

import functools
from dataclasses import dataclass
from typing import Final

from reslab.core.paper import published

OURS: Final = "ResNet"  # the method that the paper proposes; the others are cited


@dataclass(frozen=True)
class Printed:
    """A row of Table 6.

    Args:
        method: its name.
        layers: weighted layers; None: the table says none.
        millions: of parameters; None: likewise.
        error: test error in percent; of several runs the best.
        mean: of the runs, in percent; None: the table has one number.
        std: their standard deviation.
        runs: how many; None: the table does not say.
    """

    method: str
    layers: int | None
    millions: float | None
    error: float
    mean: float | None
    std: float | None
    runs: int | None

    @property
    def cited(self) -> bool:
        """Whether it is a rival's row."""
        return self.method != OURS

    @property
    def parameters(self) -> str | None:
        """``0.27M``."""
        return None if self.millions is None else f"{self.millions:g}M"

    @property
    def text(self) -> str:
        """The error: ``8.75``, or ``6.43 (6.61±0.16)``."""
        spread = "" if self.mean is None else f" ({self.mean:.2f}±{self.std:.2f})"
        return f"{self.error:.2f}{spread}"


@functools.cache
def table6() -> tuple[Printed, ...]:
    """All rows, in the paper's order."""
    rows = published("results")["table6_cifar10_test"]
    return tuple(_printed(name, row) for name, row in rows.items())


def _printed(name: str, row: dict[str, float]) -> Printed:
    method, _, layers = name.partition("-")
    runs = row.get("runs")
    return Printed(
        method=method,
        layers=int(layers) if layers else None,
        millions=row.get("params_M"),
        error=row["err"],
        mean=row.get("mean"),
        std=row.get("std"),
        runs=None if runs is None else int(runs),
    )
