"""What one comparison found: its numbers, what they decide, and the same in words for every page and terminal."""

from dataclasses import dataclass
from typing import Any, Literal

from reslab.core.intervals import Count, difference

Answer = Literal["holds", "fails", "not separable", "not tested"]


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Args:
        text: what was compared.
        answer: what came out.
        measured: the numbers in words: ``30.00 and 22.00 %``.
        decided: what the answer rests on in words: ``difference +8.00 [+5.30, +10.69]``.
        n: of how many pictures.
        numbers: the same as plain values.
    """

    text: str
    answer: Answer
    measured: str
    decided: str
    n: str
    numbers: dict[str, Any]

    @property
    def sentence(self) -> str:
        """All of it on one line."""
        return f"{self.text}: {self.measured}, {self.decided}, n={self.n}: {self.answer}"


def compare(text: str, larger: Count, smaller: Count) -> Finding:
    """Whether one error is larger than another; not separable while the interval of the difference covers zero."""
    low, high = difference(larger, smaller)
    answer: Answer = "holds" if low > 0 else "fails" if high < 0 else "not separable"
    return _of_two(text, answer, larger, smaller)


def close(text: str, first: Count, second: Count, margin: float) -> Finding:
    """Whether two errors differ by at most ``margin`` points, by the interval of their difference."""
    low, high = difference(first, second)
    inside, outside = -margin <= low and high <= margin, low > margin or high < -margin
    answer: Answer = "holds" if inside else "fails" if outside else "not separable"
    return _of_two(text, answer, first, second, margin)


def above(text: str, count: Count, threshold: float) -> Finding:
    """Whether an error is above ``threshold`` percent, by its interval."""
    low, high = count.interval
    answer: Answer = "holds" if low > threshold else "fails" if high < threshold else "not separable"
    return _of_one(text, answer, count, threshold)


def below(text: str, count: Count, threshold: float) -> Finding:
    """Whether an error is below ``threshold`` percent, by its interval."""
    low, high = count.interval
    answer: Answer = "holds" if high < threshold else "fails" if low > threshold else "not separable"
    return _of_one(text, answer, count, threshold)


def _of_one(text: str, answer: Answer, count: Count, threshold: float) -> Finding:
    low, high = count.interval
    numbers = {"errors": [count.error], "n": [count.n], "interval": [low, high], "threshold": threshold}
    decided = f"interval [{low:.2f}, {high:.2f}] against {threshold:g}"
    return Finding(text, answer, f"{count.error:.2f} %", decided, f"{count.n:,}", numbers)


def _of_two(text: str, answer: Answer, first: Count, second: Count, margin: float | None = None) -> Finding:
    gap, (low, high) = first.error - second.error, difference(first, second)
    within = "" if margin is None else f" against {margin:g} either way"
    return Finding(
        text,
        answer,
        measured=f"{first.error:.2f} and {second.error:.2f} %",
        decided=f"difference {gap:+.2f} [{low:+.2f}, {high:+.2f}]{within}",
        n=" and ".join(dict.fromkeys(f"{count.n:,}" for count in (first, second))),
        numbers={
            "errors": [first.error, second.error],
            "n": [first.n, second.n],
            "difference": gap,
            "interval": [low, high],
            **({} if margin is None else {"margin": margin}),
        },
    )
