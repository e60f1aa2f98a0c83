import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.data import chance
from reslab.data.photographs import SUBSTITUTES

CALM = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
MASK = 2**64 - 1
SEEDS = st.integers(0, 2**63 - 1)


def mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def word(seed: int, stream: int, epoch: int, sample: int) -> int:
    state = 0
    for number in (seed, stream, epoch, sample):
        state = mixed((state + 0x9E3779B97F4A7C15 + number) & MASK)
    return state


@pytest.mark.parametrize(
    ("seed", "stream", "epoch", "samples", "expected"),
    [
        (0, 0, 0, [0, 1, 2, 3], [2391539541053276776, 7606012053026511699, 5729490520049822839, 17120577451097648298]),
        (7, 3, 2, [0, 1, 49999], [980013829546072281, 11718577319753390185, 13745755122146559835]),
        (2**63 - 1, 4, 0, [0], [16747824110014319896]),
    ],
)
def test_the_hash_never_changes(seed: int, stream: int, epoch: int, samples: list[int], expected: list[int]) -> None:
    assert chance.words(seed, stream, epoch, np.array(samples)).tolist() == expected


@pytest.mark.parametrize(
    ("seed", "epoch", "expected"),
    [
        (0, 0, [0, 11, 7, 4, 9, 2, 1, 6, 8, 5, 10, 3]),
        (0, 1, [10, 6, 8, 0, 7, 3, 4, 9, 11, 2, 1, 5]),
        (1, 0, [6, 10, 7, 2, 4, 1, 8, 9, 5, 0, 11, 3]),
    ],
)
def test_the_order_never_changes(seed: int, epoch: int, expected: list[int]) -> None:
    assert chance.order(seed, epoch, 12).tolist() == expected


def test_the_crops_and_mirror_images_never_change() -> None:
    samples = np.arange(10)
    assert chance.below(9, chance.words(3, chance.ROW, 5, samples)).tolist() == [4, 8, 2, 0, 0, 5, 3, 7, 5, 1]
    assert chance.below(2, chance.words(3, chance.MIRROR, 5, samples)).tolist() == [0, 0, 0, 0, 1, 0, 1, 0, 1, 0]


def test_every_purpose_has_a_stream_of_its_own() -> None:
    streams = (chance.ORDER, chance.ROW, chance.COLUMN, chance.MIRROR, chance.INITIAL_WEIGHTS)
    assert streams == (0, 1, 2, 3, 4)
    assert len({chance.words(0, stream, 0, np.zeros(1, np.int64)).item() for stream in streams}) == 5


@CALM
@given(SEEDS, st.integers(0, 4), st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=5))
def test_the_hash_is_splitmix_over_the_numbers_one_by_one(
    seed: int, stream: int, epoch: int, samples: list[int]
) -> None:
    expected = [word(seed, stream, epoch, sample) for sample in samples]
    assert chance.words(seed, stream, epoch, np.array(samples, np.int64)).tolist() == expected


@CALM
@given(SEEDS, st.integers(0, 1000), st.integers(1, 300))
def test_an_order_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    order = chance.order(seed, epoch, count)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


@CALM
@given(SEEDS, st.integers(0, 1000))
def test_orders_differ_by_seed_and_by_epoch(seed: int, epoch: int) -> None:
    order = chance.order(seed, epoch, 100).tolist()
    assert order != chance.order(seed, epoch + 1, 100).tolist()
    assert order != chance.order(seed ^ 1, epoch, 100).tolist()


@CALM
@given(st.integers(1, 2**32 - 1), SEEDS)
def test_draws_below_a_bound_stay_below_it_and_are_its_share_of_the_high_bits(bound: int, seed: int) -> None:
    bits = chance.words(seed, chance.ROW, 0, np.arange(20))
    assert chance.below(bound, bits).tolist() == [((bit >> 32) * bound) >> 32 for bit in bits.tolist()]


@pytest.mark.parametrize("bound", [2, 9, 10])
def test_the_extremes_of_the_bits_reach_the_first_and_the_last_number(bound: int) -> None:
    assert chance.below(bound, np.array([0, MASK], np.uint64)).tolist() == [0, bound - 1]


@pytest.mark.parametrize("stream", [chance.ROW, chance.COLUMN])
def test_draws_are_uniform(stream: int) -> None:
    counts = np.bincount(chance.below(9, chance.words(11, stream, 3, np.arange(90_000))), minlength=9)
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert 1.0 < chi_square < 26.1  # 8 degrees of freedom: below 26.1 with probability 0.999


def test_rows_columns_and_mirror_images_are_independent() -> None:
    samples = np.arange(90_000)
    rows, columns = (chance.below(9, chance.words(5, stream, 0, samples)) for stream in (chance.ROW, chance.COLUMN))
    mirrored = chance.below(2, chance.words(5, chance.MIRROR, 0, samples))
    assert abs(np.corrcoef([rows, columns, mirrored])[np.triu_indices(3, 1)]).max() < 0.015


@pytest.mark.parametrize(
    ("seed", "epoch", "samples", "expected"),
    [
        (0, 0, [0, 1], [[0.0321243, 1.0914408, 0.0726305], [-0.8563754, -0.4865107, 0.1061443]]),
        (7, 2, [49999, 0], [[2.0661867, 0.8584118, -1.4685393], [0.4315202, -0.0299957, 0.671329]]),
    ],
)
def test_normal_draws_never_change(seed: int, epoch: int, samples: list[int], expected: list[list[float]]) -> None:
    drawn = chance.normal(seed, chance.COLOUR, epoch, np.array(samples), 3)
    assert (drawn.dtype, drawn.shape) == (np.float32, (2, 3))
    assert drawn.tolist() == [pytest.approx(row, abs=1e-7) for row in expected]


@CALM
@given(SEEDS, st.integers(0, 10**6), st.lists(st.integers(0, 10**6), min_size=1, max_size=5), st.integers(1, 5))
def test_normal_draws_are_box_and_mullers_from_words_of_their_own(
    seed: int, epoch: int, samples: list[int], count: int
) -> None:
    drawn = chance.normal(seed, chance.COLOUR, epoch, np.array(samples), count)
    for row, sample in zip(drawn.tolist(), samples, strict=True):
        uniform = [(word(seed, 8 + 8 * n, epoch, sample) >> 11) / 2**53 for n in range(count + 1)]
        for place, value in enumerate(row):
            first = place - place % 2
            turn = math.cos if place % 2 == 0 else math.sin
            length = math.sqrt(-2 * math.log(1 - uniform[first]))
            assert value == pytest.approx(length * turn(2 * math.pi * uniform[first + 1]), rel=1e-6, abs=1e-12)


def test_normal_draws_are_standard_normal_and_independent() -> None:
    """Moments within four of their standard errors, and Kolmogorov's distance within its bound at 0.999."""
    n = 100_000
    drawn = chance.normal(5, chance.COLOUR, 1, np.arange(n), 3).astype(np.float64)
    assert abs(drawn.mean(axis=0)).max() < 4 / math.sqrt(n)
    assert abs(drawn.var(axis=0) - 1).max() < 4 * math.sqrt(2 / n)
    assert abs((drawn**4).mean(axis=0) - 3).max() < 4 * math.sqrt(96 / n)
    for column in drawn.T:
        below = np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in np.sort(column)])
        assert abs(below - (np.arange(n) + 0.5) / n).max() < 1.95 / math.sqrt(n)
    other = chance.normal(5, chance.COLOUR, 2, np.arange(n), 3).astype(np.float64)
    squares = np.concatenate([drawn, drawn**2, other], axis=1)
    assert abs(np.corrcoef(squares, rowvar=False)[np.triu_indices(9, 1)]).max() < 4 / math.sqrt(n)


def test_no_two_purposes_ever_share_a_stream() -> None:
    repeated = (chance.REPLACEMENT, chance.COLOUR, chance.AREA, chance.ASPECT)
    further = [first + n * chance.STREAMS for first in repeated for n in range(SUBSTITUTES)]
    single = [chance.ORDER, chance.ROW, chance.COLUMN, chance.MIRROR, chance.INITIAL_WEIGHTS, chance.SCALE]
    streams = [*single, chance.VALIDATION, *further]
    assert len(set(streams)) == len(streams)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((0, 9, 0, 0), 0.6495327418720725),
        ((7, 10, 2, 49999), 0.1333356023040576),
        ((2**63 - 1, 81, 5, 3), 0.22447172634844892),
    ],
)
def test_even_draws_never_change(place: tuple[int, int, int, int], expected: float) -> None:
    assert chance.uniform(*place) == expected


@CALM
@given(SEEDS, st.integers(0, 900), st.integers(0, 10**6), st.integers(0, 10**6))
def test_an_even_draw_is_53_bits_of_its_word(seed: int, stream: int, epoch: int, sample: int) -> None:
    drawn = chance.uniform(seed, stream, epoch, sample)
    assert drawn * 2**53 == word(seed, stream, epoch, sample) >> 11
    assert 0 <= drawn < 1


def test_no_global_generator_is_touched() -> None:
    numpy_before = np.random.get_state()[1].tolist()
    torch_before = torch.get_rng_state()
    chance.order(0, 0, 100)
    chance.below(9, chance.words(0, 1, 0, np.arange(9)))
    chance.normal(0, chance.COLOUR, 0, np.arange(9), 3)
    assert np.random.get_state()[1].tolist() == numpy_before
    assert torch.equal(torch.get_rng_state(), torch_before)
