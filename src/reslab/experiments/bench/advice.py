"""What limits here and which settings are best: pure functions of measured rates, in images/s."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from reslab.training.precision import Resolved

Limit = Literal["step", "loader"]
Rates = Mapping[Resolved, float]

AHEAD: Final = 1.2  # ours: a loader this many times as fast as the step never keeps it waiting
BETTER: Final = 1.05  # ours: rounds differ by less on a quiet machine, and another batch is another recipe
ASIDE: Final = 0.05  # ours: of a step's time; reading in the training process may cost so much


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Settings that are best here; None where the measurement does not say. ``because`` has a sentence for each."""

    limit: Limit
    precision: Resolved | None = None
    workers: int | None = None
    batch: int | None = None
    because: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Step:
    """Steps as they were measured.

    Args:
        precisions: the rate of each precision that was tried, at ``batch``.
        batches: the rate of each batch that was tried.
        batch: the batch that was asked for.
        native: whether the device computes in bf16 natively.
    """

    precisions: Rates
    batches: Mapping[int, float]
    batch: int
    native: bool

    @property
    def rate(self) -> float:
        """In the best precision."""
        return self.precisions[best_precision(self.precisions)]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A loader as it was measured.

    Args:
        rate: with ``workers``, nothing else going on.
        core: in one process.
        workers: processes; 0: read in the training process.
        cores: of this machine.
        in_memory: whether the pictures lie in memory; photographs are never read in the training process, because a
            decoder may crash or hang.
    """

    rate: float
    core: float
    workers: int
    cores: int
    in_memory: bool


def best_precision(rates: Rates) -> Resolved:
    """The fastest."""
    return max(rates, key=lambda precision: rates[precision])


def best_batch(rates: Mapping[int, float], asked: int) -> int:
    """The fastest, but ``asked`` unless that is 5 % slower."""
    fastest = max(rates, key=lambda batch: rates[batch])
    return fastest if rates[fastest] >= BETTER * rates[asked] else asked


def fewest_workers(step: float, reading: Reading) -> int:
    """The smallest number whose rate is 20 % above the step's, at most one a core; 0 where that costs next to nothing.

    Args:
        step: its rate.
        reading: the rate of one core, and how many there are.
    """
    if reading.in_memory and step <= ASIDE * reading.core:
        return 0
    return min(math.ceil(AHEAD * step / reading.core), reading.cores)


def train_advice(step: Step, reading: Reading) -> Advice:
    """What limits training, and settings for it."""
    limit: Limit = "step" if reading.rate >= step.rate else "loader"
    workers = fewest_workers(step.rate, reading)
    return Advice(
        limit=limit,
        precision=best_precision(step.precisions),
        workers=workers,
        batch=best_batch(step.batches, step.batch),
        because=(
            f"The {limit} limits: the step takes {_text(step.rate)} images/s,"
            f" the loader gives {_text(reading.rate)} with --workers {reading.workers}.",
            _about_precision(step),
            _about_workers(workers, step.rate, reading),
            _about_batch(step),
        ),
    )


def infer_advice(step: Step) -> Advice:
    """Settings for inference on pictures that lie ready."""
    return Advice(
        limit="step",
        precision=best_precision(step.precisions),
        batch=best_batch(step.batches, step.batch),
        because=(
            f"The forward pass takes {_text(step.rate)} images/s; no loader was measured.",
            _about_precision(step),
            _about_batch(step),
        ),
    )


def loader_advice(rates: Mapping[int, float]) -> Advice:
    """From the rates of numbers of workers: the smallest number that is within 5 % of the fastest."""
    fastest = max(rates.values())
    workers = min(count for count, rate in rates.items() if BETTER * rate > fastest)
    measured = ", ".join(f"{_text(rate)} with --workers {count}" for count, rate in sorted(rates.items()))
    return Advice(
        limit="loader",
        workers=workers,
        because=(
            f"The loader gives {measured}, in images/s.",
            f"--workers {workers}: a step of up to {_text(rates[workers] / AHEAD)} images/s never waits for it.",
        ),
    )


def _about_precision(step: Step) -> str:
    best = best_precision(step.precisions)
    others = [f"{_text(rate)} in {name}" for name, rate in step.precisions.items() if name != best]
    if others:
        return f"--precision {best}: {_text(step.rate)} images/s, against {', '.join(others)}."
    why = "no other was tried" if step.native or best == "bf16" else "bf16 is not native to this device"
    return f"--precision {best}: {why}."


def _about_workers(workers: int, step: float, reading: Reading) -> str:
    if not workers:
        return f"--workers 0: reading {_text(reading.core)} images/s takes less than 5 % of the step's time."
    behind = AHEAD * step > workers * reading.core
    why = "every core there is, and still not 20 % ahead of the step" if behind else "the fewest that are 20 % ahead"
    return f"--workers {workers}: one core gives {_text(reading.core)} images/s; {why}."


def _about_batch(step: Step) -> str:
    best = best_batch(step.batches, step.batch)
    rates = ", ".join(f"{_text(rate)} with {batch}" for batch, rate in sorted(step.batches.items()))
    return f"--batch {best}: {rates}, in images/s."


def _text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
