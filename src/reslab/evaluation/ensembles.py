"""Several networks' probabilities together: their average, what every pair gains, and a greedy choice.

A member is a network's probabilities (N, C), finite and in any floating format; it may be memory-mapped, for only a
block of rows is read at a time. All members are about the same pictures in the same order.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import SpecError
from reslab.core.intervals import Count
from reslab.core.units import counted, percent

VALUES: Final = 2**17  # of a block; 1 MiB in float64, which a processor's cache holds

Member = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two members by number, ``first < second``.

    Args:
        first: the earlier member.
        second: the later one.
        agreement: percent of the pictures to which both give the same answer.
        error: the error of their average in percent.
        gain: points by which that is below the better member's error; negative where averaging harms.
        n: pictures.
    """

    first: int
    second: int
    agreement: float
    error: float
    gain: float
    n: int


@dataclass(frozen=True, slots=True)
class Greedy:
    """Members chosen on one half of the pictures and judged on the other.

    Args:
        chosen: their numbers in the order of choice.
        chosen_on: errors of their average on the half they were chosen on, which flatters them.
        judged_on: on the other half.
        all_members: errors of the plain average of all members, on the other half.
        best_single: errors of the member that is best on the first half, on the other half.
    """

    chosen: tuple[int, ...]
    chosen_on: Count
    judged_on: Count
    all_members: Count
    best_single: Count


def average(members: Sequence[Member], weights: Sequence[float] | None = None) -> NDArray[np.float32]:
    """The weighted mean of the members' probabilities, float32 (N, C), computed in float64.

    Args:
        members: at least one.
        weights: a number for each member, of which only the ratios matter; all are equal where there are none.

    Raises:
        SpecError: the members or the weights cannot be averaged.
    """
    n, classes = _shape(members)
    shares = shares_of(len(members), weights)
    mean = np.empty((n, classes), np.float32)
    for rows in _blocks(np.arange(n), classes):
        mean[rows] = _mean(members, rows, shares)
    return mean


def pair_matrix(members: Sequence[Member], labels: Integers) -> list[Pair]:
    """Every two members and their plain average, in the order (0, 1), (0, 2), ..., (1, 2), ...

    Args:
        members: at least one.
        labels: the right classes (N,).

    Raises:
        SpecError: the members do not fit each other or ``labels``, or there are no pictures.
    """
    n, _ = _shape(members, labels, least=1)
    every = np.arange(n)
    answers = [_answers([member], every) for member in members]
    wrong = [int((answer != labels).sum()) for answer in answers]
    pairs = []
    for i, j in itertools.combinations(range(len(members)), 2):
        errors = _count([members[i], members[j]], labels, every).errors
        same = int((answers[i] == answers[j]).sum())
        gain = percent(min(wrong[i], wrong[j]) - errors, n)
        pairs.append(Pair(i, j, percent(same, n), percent(errors, n), gain, n))
    return pairs


def greedy(members: Sequence[Member], labels: Integers, seed: int = 0) -> Greedy:
    """Forward selection without replacement (Caruana et al. 2004, section 2), on one half of the pictures.

    Time after time the member is added whose average with the chosen ones errs least, the earlier one of equals, until
    no member lowers the errors.

    Args:
        members: at least one.
        labels: the right classes (N,); N is at least 2.
        seed: of the permutation that splits the pictures; the choosing half has floor(N / 2) of them.

    Raises:
        SpecError: the members do not fit each other or ``labels``, or there are too few pictures.
    """
    n, _ = _shape(members, labels, least=2)
    order = np.random.default_rng(seed).permutation(n)
    choosing, judging = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    chosen, best = _select(members, labels, choosing)
    judged = [_count(group, labels, judging) for group in ([members[i] for i in chosen], members, [members[chosen[0]]])]
    return Greedy(tuple(chosen), best, *judged)


def _select(members: Sequence[Member], labels: Integers, places: Integers) -> tuple[list[int], Count]:
    """The choice on the pictures at ``places``, and its errors there."""
    chosen: list[int] = []
    best: Count | None = None
    while rest := [i for i in range(len(members)) if i not in chosen]:
        found = {i: _count([members[k] for k in (*chosen, i)], labels, places) for i in rest}
        nearest = min(rest, key=lambda i: found[i].errors)
        if best is not None and found[nearest].errors >= best.errors:
            break
        chosen, best = [*chosen, nearest], found[nearest]
    assert best is not None
    return chosen, best


def _count(members: Sequence[Member], labels: Integers, places: Integers) -> Count:
    """Errors of the members' plain average on the pictures at ``places``."""
    return Count(int((_answers(members, places) != labels[places]).sum()), len(places))


def _answers(members: Sequence[Member], places: Integers) -> Integers:
    """The most probable class under the members' plain average, the lower one of equals, at ``places``."""
    shares = shares_of(len(members), None)
    blocks = _blocks(places, members[0].shape[1])
    return np.concatenate([_mean(members, rows, shares).argmax(axis=1) for rows in blocks])


def _mean(members: Sequence[Member], rows: Integers, shares: NDArray[np.float64]) -> NDArray[np.float32]:
    total = np.zeros((len(rows), members[0].shape[1]))
    for member, share in zip(members, shares, strict=True):
        total += np.multiply(member[rows], share, dtype=np.float64)
    return total.astype(np.float32)


def _blocks(places: Integers, classes: int) -> Iterator[Integers]:
    rows = max(1, VALUES // classes)
    return (places[start : start + rows] for start in range(0, len(places), rows))


def shares_of(members: int, weights: Sequence[float] | None) -> NDArray[np.float64]:
    """The weights of so many members, scaled to add up to one.

    Raises:
        SpecError: they cannot be weights.
    """
    given = np.ones(members) if weights is None else np.asarray(weights, np.float64)
    if len(given) != members:
        raise SpecError(f"{counted(len(given), 'weight')} for {counted(members, 'member')}")
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise SpecError(f"weights must be finite, none negative and not all zero, not {given.tolist()}")
    scaled = given / given.max()
    shares: NDArray[np.float64] = scaled / scaled.sum()
    return shares


def _shape(members: Sequence[Member], labels: Integers | None = None, least: int = 0) -> tuple[int, int]:
    """Pictures and classes, the same for every member; ``labels`` must be of as many pictures, and of ``least``."""
    shapes = [member.shape for member in members]
    if not shapes:
        raise SpecError("an ensemble needs at least one member")
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise SpecError(f"member {number} has probabilities of shape {shape}, member 0 of {shapes[0]}")
    n, classes = shapes[0]
    if labels is not None and len(labels) != n:
        raise SpecError(f"the members are about {counted(n, 'picture')}, the labels about {len(labels):,}")
    if n < least:
        raise SpecError(f"{counted(n, 'picture')} cannot be split or counted; at least {least} are needed")
    return n, classes
