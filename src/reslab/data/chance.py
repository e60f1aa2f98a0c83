"""Chance without state: every draw is a function of (seed, epoch, sample index), the same on every machine.

A draw is a hash: the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over the numbers it depends on, one after
the other. No generator is advanced, so no worker, process or interruption can be one draw off.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Indices = NDArray[np.int64]

ORDER: Final = 0  # what a draw is for; each has a stream of its own
ROW: Final = 1
COLUMN: Final = 2
MIRROR: Final = 3
INITIAL_WEIGHTS: Final = 4

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def words(seed: int, stream: int, epoch: int, samples: Indices) -> Words:
    """64 random bits for each of ``samples``; uint64, the shape of ``samples``."""
    with np.errstate(over="ignore"):
        state = np.zeros(1, np.uint64)
        for number in (seed, stream, epoch):
            state = _mix(state + _GAMMA + np.uint64(number))
        return _mix(state + _GAMMA + samples.astype(np.uint64))


def below(bound: int, bits: Words) -> Indices:
    """Integers in [0, bound) from 64 random bits each; ``bound`` below 2**32, whose bias is below 2**-32 * bound."""
    return (((bits >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def order(seed: int, epoch: int, count: int) -> Indices:
    """The order in which an epoch visits samples 0 to ``count - 1``: int64, a permutation."""
    return np.argsort(words(seed, ORDER, epoch, np.arange(count)), kind="stable")


def _mix(state: Words) -> Words:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
