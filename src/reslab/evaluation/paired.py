"""Two networks tested on the same pictures: their difference, its interval, and whether chance explains it."""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import EvaluationError
from reslab.core.units import counted, percent

SIGNIFICANT: Final = 0.05  # the same certainty as a 95 % interval
RESAMPLES: Final = 10_000
SEED: Final = 0
CENTRAL: Final = (0.025, 0.975)

Verdict = Literal["holds", "fails", "not separable"]


@dataclass(frozen=True)
class Paired:
    """Pictures by who has them right; the networks' errors differ only where exactly one of them has."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @property
    def n(self) -> int:
        """All pictures."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """The first's error minus the second's in percentage points; positive where the second is better."""
        return percent(self.only_second - self.only_first, self.n)

    @property
    def p_value(self) -> float:
        """McNemar's exact two-sided test (McNemar 1947): the chance of a split as uneven, were both equally good.

        It is twice the smaller tail of a binomial with probability 1/2, summed from its largest term downward.
        """
        fewer, discordant = min(self.only_first, self.only_second), self.only_first + self.only_second
        largest: float = math.comb(discordant, fewer) / 2**discordant
        below = np.arange(fewer, 0, -1)
        ratios = np.cumprod(below / (discordant - below + 1))
        return min(1.0, 2 * largest * (1 + float(ratios.sum())))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap percentile interval of `difference` in points (Efron 1979), the same at every call.

        Pictures drawn with replacement fall into the cells as a multinomial, so the cost does not grow with n.
        """
        cells = np.array([self.only_first, self.only_second, self.both + self.neither])
        drawn = np.random.default_rng(SEED).multinomial(self.n, cells / self.n, RESAMPLES)
        low, high = np.quantile(100 * (drawn[:, 1] - drawn[:, 0]) / self.n, CENTRAL)
        return float(low), float(high)

    @property
    def answer(self) -> Verdict:
        """The answer to "the second has the smaller error", at a significance of 5 %."""
        if self.p_value >= SIGNIFICANT:
            return "not separable"
        return "holds" if self.only_second > self.only_first else "fails"

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "n": self.n,
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "neither": self.neither,
            "difference": self.difference,
            "interval": list(self.interval),
            "p_value": self.p_value,
            "verdict": self.answer,
        }


def paired(first: NDArray[np.bool], second: NDArray[np.bool]) -> Paired:
    """Count who has which pictures right.

    Args:
        first: whether the first network's answers are right (N,).
        second: the second's (N,), on the same pictures in the same order.

    Raises:
        EvaluationError: they are of different lengths, or of no pictures.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise EvaluationError(f"cannot pair answers to {counted(first.size, 'picture')} with answers to {second.size}")
    neither, only_second, only_first, both = np.bincount(2 * first + second, minlength=4).tolist()
    return Paired(both=both, only_first=only_first, only_second=only_second, neither=neither)
