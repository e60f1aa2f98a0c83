"""Chance without state: every draw is a function of (seed, epoch, sample index), the same on every machine.

A draw is a hash: the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over the numbers it depends on, one after
the other. No generator is advanced, so no worker, process or interruption can be one draw off.
"""

import functools
from collections.abc import Iterator
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
SCALE: Final = 5
REPLACEMENT: Final = 6
VALIDATION: Final = 7
COLOUR: Final = 8
AREA: Final = 9
ASPECT: Final = 10
STREAMS: Final = 8  # its multiples on top of REPLACEMENT, COLOUR, AREA and ASPECT make further streams; none ever meet

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_MASK = 2**64 - 1


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


def order(seed: int, epoch: int, count: int, stream: int = ORDER) -> Indices:
    """The order in which an epoch visits samples 0 to ``count - 1``: int64, a permutation."""
    return np.argsort(words(seed, stream, epoch, np.arange(count)), kind="stable")


def draw(bound: int, seed: int, stream: int, epoch: int, sample: int) -> int:
    """The integer in [0, bound) that `below` gives for one sample's `words`, without arrays: 4 microseconds, not 73."""
    return ((_word(seed, stream, epoch, sample) >> 32) * bound) >> 32


def uniform(seed: int, stream: int, epoch: int, sample: int) -> float:
    """A multiple of 2**-53 in [0, 1) from 53 bits of one sample's `words`."""
    return (_word(seed, stream, epoch, sample) >> 11) * 2.0**-53


def normal(seed: int, stream: int, epoch: int, samples: Indices, count: int) -> NDArray[np.float32]:
    """``count`` standard normal draws for each of ``samples``, by the method of Box and Muller (1958).

    Computed in float64 from 53 bits each of the words of ``stream`` and its further streams, then rounded to float32:
    logarithms and cosines of different builds of numpy differ in the last bit of 53, which 24 bits rarely show.

    Returns:
        float32, (N, count).
    """
    pairs = []
    for first in range(0, count + count % 2, 2):
        radius, angle = (_uniform(words(seed, stream + n * STREAMS, epoch, samples)) for n in (first, first + 1))
        length, turn = np.sqrt(-2 * np.log(1 - radius)), 2 * np.pi * angle
        pairs += [length * np.cos(turn), length * np.sin(turn)]
    return np.stack(pairs[:count], axis=-1).astype(np.float32)


class Stream:
    """The endless stream of shuffled epochs, each a permutation of ``count`` samples."""

    def __init__(self, seed: int, count: int) -> None:
        self.count = count
        self.order = functools.lru_cache(maxsize=2)(functools.partial(order, seed, count=count))

    def pieces(self, position: int, length: int) -> Iterator[tuple[int, Indices]]:
        """The ``length`` samples from ``position`` on, as (epoch, samples of that epoch)."""
        while length:
            epoch, start = divmod(position, self.count)
            samples = self.order(epoch)[start : start + length]
            yield epoch, samples
            position, length = position + len(samples), length - len(samples)


def _uniform(bits: Words) -> NDArray[np.float64]:
    """Multiples of 2**-53 in [0, 1)."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _word(seed: int, stream: int, epoch: int, sample: int) -> int:
    state = 0
    for number in (seed, stream, epoch, sample):
        state = _mix_one((state + int(_GAMMA) + number) & _MASK)
    return state


def _mix_one(state: int) -> int:
    state = ((state ^ (state >> 30)) * int(_FIRST)) & _MASK
    state = ((state ^ (state >> 27)) * int(_SECOND)) & _MASK
    return state ^ (state >> 31)


def _mix(state: Words) -> Words:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
