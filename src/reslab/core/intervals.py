"""How sure a measured error is: score intervals for one proportion and for the difference of two."""

import math
from dataclasses import dataclass

from reslab.core.units import percent

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True, slots=True)
class Count:
    """``errors`` wrong among ``n`` pictures; both are integers, so nothing is lost on the way."""

    errors: int
    n: int

    def __post_init__(self) -> None:
        assert self.n > 0
        assert 0 <= self.errors <= self.n

    @property
    def hits(self) -> int:
        """The right answers."""
        return self.n - self.errors

    @property
    def error(self) -> float:
        """The error in percent."""
        return percent(self.errors, self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of the error, in percent (Wilson 1927)."""
        low, high = wilson(self.errors, self.n)
        return 100 * low, 100 * high


def wilson(errors: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for ``errors`` of ``n``, as proportions in [0, 1]."""
    p = errors / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if errors == 0 else (centre - half) / scale
    high = 1.0 if errors == n else (centre + half) / scale
    return low, high


def difference(first: Count, second: Count) -> tuple[float, float]:
    """The 95 % interval of ``first`` minus ``second`` in percentage points (Newcombe 1998, method 10).

    The two are taken as independent. For two networks tested on the same pictures that is cautious: the interval
    comes out wider than a paired one would.
    """
    (l1, u1), (l2, u2) = wilson(first.errors, first.n), wilson(second.errors, second.n)
    p1, p2 = first.errors / first.n, second.errors / second.n
    gap = p1 - p2
    return 100 * (gap - math.hypot(p1 - l1, u2 - p2)), 100 * (gap + math.hypot(u1 - p1, p2 - l2))
