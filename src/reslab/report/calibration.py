"""Whether a network's probabilities can be believed: reliability by bins and the expected calibration error."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15  # Guo et al. 2017, On Calibration of Modern Neural Networks
RESAMPLES: Final = 1_000
SEED: Final = 0
CENTRAL: Final = (0.025, 0.975)
CHANCE: Final = 0.95

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pictures by the probability of their answers.

    Args:
        counts: pictures of each bin (BINS,).
        hits: right answers among them (BINS,).
        sums: their probabilities, added up (BINS,).
        ece: the expected calibration error in percent.
        interval: its 95 % bootstrap interval in percent.
        chance: in percent; 95 % of perfectly calibrated networks with these probabilities would stay below it.
    """

    counts: Integers
    hits: Integers
    sums: Floats
    ece: float
    interval: tuple[float, float]
    chance: float

    @property
    def n(self) -> int:
        """All pictures."""
        return int(self.counts.sum())


def edges() -> Floats:
    """The bins' bounds (BINS + 1,), from 0 to 1."""
    return np.arange(BINS + 1) / BINS


def bins_of(certainty: Floats) -> Integers:
    """The bin of each probability: above its lower edge, up to and with its upper one; 0 is in the first."""
    return np.maximum(np.searchsorted(edges(), certainty, side="left") - 1, 0)


def calibrate(certainty: NDArray[np.floating], right: NDArray[np.bool]) -> Calibration:
    """Sort pictures into bins and measure how far probability and share of right answers are apart.

    Args:
        certainty: the probability of each answer (N,), in [0, 1]; N is at least 1.
        right: whether the answer was right (N,).
    """
    certain: Floats = certainty.astype(np.float64)
    cells = 2 * bins_of(certain) + right  # each bin's wrong answers, then its right ones
    counts = np.bincount(cells, minlength=2 * BINS)
    sums: Floats = np.bincount(cells, weights=certain, minlength=2 * BINS).astype(np.float64)
    of_bins, hits, of_sums = counts.reshape(BINS, 2).sum(axis=1), counts[1::2], sums.reshape(BINS, 2).sum(axis=1)
    ece = float(_ece(hits, of_sums, len(certain)))
    random = np.random.default_rng(SEED)
    low, high = np.quantile(_resampled(counts, sums, random), CENTRAL)
    chance = float(np.quantile(_by_chance(of_bins, of_sums, random), CHANCE))
    return Calibration(of_bins, hits, of_sums, ece, (min(float(low), ece), max(float(high), ece)), chance)


def _ece(hits: NDArray[np.int64], sums: Floats, n: int) -> Floats:
    """Percent, over the last axis: the mean over pictures of the gap of their bin."""
    errors: Floats = np.minimum(100 * np.abs(hits - sums).sum(axis=-1) / n, 100.0)
    return errors


def _resampled(counts: Integers, sums: Floats, random: np.random.Generator) -> Floats:
    """The error (RESAMPLES,) of samples drawn with replacement.

    Drawn are counts of wrong and right answers in each bin. Each then has the mean probability of its kind in its bin:
    within a fifteenth probabilities differ too little to matter, and the cost does not grow with N.
    """
    some = counts > 0
    n, means = int(counts.sum()), sums[some] / counts[some]
    drawn = np.zeros((RESAMPLES, 2 * BINS), np.int64)
    drawn[:, some] = random.multinomial(n, counts[some] / n, RESAMPLES)
    weighted = np.zeros(drawn.shape)
    weighted[:, some] = drawn[:, some] * means
    return _ece(drawn[:, 1::2], weighted.reshape(RESAMPLES, BINS, 2).sum(axis=2), n)


def _by_chance(counts: Integers, sums: Floats, random: np.random.Generator) -> Floats:
    """The error (RESAMPLES,) where each answer is right as often as its bin's mean probability says."""
    means = np.minimum(sums / np.maximum(counts, 1), 1.0)
    return _ece(random.binomial(counts, means, (RESAMPLES, BINS)), sums, int(counts.sum()))
