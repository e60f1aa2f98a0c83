"""Rivals take turns, round after round: what slows one on a shared machine slows the other, and their ratio holds."""

import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

import torch

from reslab.data.draws import AHEAD as DRAWN_AHEAD

T = TypeVar("T")
Name = TypeVar("Name", bound=Hashable)
Turn = Callable[[], float]
"""One turn of a side: seconds a batch."""
Wait = Callable[[], None]
Consume = Callable[[Iterator[T]], object]

WARM_UP: Final = 1  # rounds that do not count: kernels are chosen and memory is taken in the first
AHEAD: Final = 2  # batches a worker that the pool reads ahead


@dataclass(frozen=True)
class Row:
    """Ours against a rival: ``rate`` and ``rival_rate`` in images/s, the median ``ratio`` and that of every round."""

    name: str
    model: str | None
    rate: float
    rival_rate: float
    ratio: float
    ratios: tuple[float, ...]


def waiting_for(device: torch.device) -> Wait:
    """A function that waits until ``device`` has done all it was told; a CPU always has."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return wait


def least_for(device: torch.device) -> int:
    """Batches to time in a row on ``device``: where draws are copied ahead, as many as are copied together."""
    return DRAWN_AHEAD if device.type == "cuda" else 1


def once(step: Callable[[], object], wait: Wait) -> Turn:
    """A turn of one batch."""

    def turn() -> float:
        begun = time.perf_counter()
        step()
        wait()
        return time.perf_counter() - begun

    return turn


def steady(batches: Iterator[T], workers: int, consume: Consume[T], wait: Wait, least: int = 1) -> float:
    """Seconds a batch in the steady state of ``workers`` that read and a loop that takes.

    As many batches as the workers may hold are taken before the clock starts: what they read ahead says nothing about
    how fast they are. As they tend to finish together, two of each are timed.

    Args:
        batches: begun for this turn, and left to the caller to close, so that no worker disturbs a rival's turn.
        workers: processes that read ahead; 0: none.
        consume: takes all it is given.
        wait: until the device is done.
        least: batches to time where the workers are few.
    """
    counted = max(least, AHEAD * workers)
    begun = 0.0

    def watched() -> Iterator[T]:
        nonlocal begun
        yield from islice(batches, 1 + AHEAD * workers)
        wait()
        begun = time.perf_counter()
        yield from islice(batches, counted)

    consume(watched())
    wait()
    return (time.perf_counter() - begun) / counted


def drain(batches: Iterator[Any]) -> None:
    """Take all and do nothing with it."""
    for _ in batches:
        pass


def interleave(sides: Mapping[Name, Turn], rounds: int, warm_up: int = WARM_UP) -> dict[Name, list[float]]:
    """Seconds a batch of each side in each round; every other round begins with the last side."""
    times: dict[Name, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            seconds = sides[name]()
            if number >= 0:
                times[name].append(seconds)
    return times


def rate(batch: int, seconds: Sequence[float]) -> float:
    """Images/s in the median round."""
    return batch / statistics.median(seconds)


def compare(name: str, model: str | None, batch: int, ours: Sequence[float], rival: Sequence[float]) -> Row:
    """Medians as rates, and the median of the ratios of each round."""
    ratios = [theirs / own for own, theirs in zip(ours, rival, strict=True)]
    return Row(
        name,
        model,
        round(rate(batch, ours), 1),
        round(rate(batch, rival), 1),
        round(statistics.median(ratios), 3),
        tuple(round(ratio, 3) for ratio in ratios),
    )
