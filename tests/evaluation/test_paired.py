import json
import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reslab.core.errors import EvaluationError
from reslab.core.intervals import Z95
from reslab.evaluation.paired import Paired, paired

cells = st.integers(0, 60)
tables = st.builds(Paired, cells, cells, cells, cells).filter(lambda table: table.n > 0)


def discordant(only_first: int, only_second: int) -> Paired:
    return Paired(both=1, only_first=only_first, only_second=only_second, neither=0)


def exact_p(only_first: int, only_second: int) -> Fraction:
    """Every split of the discordant pictures that is at least as uneven, in exact fractions."""
    m, gap = only_first + only_second, abs(only_first - only_second)
    ways = sum(math.comb(m, k) for k in range(m + 1) if abs(m - 2 * k) >= gap)
    return Fraction(ways, 2**m)


@pytest.mark.parametrize("only_first", range(13))
@pytest.mark.parametrize("only_second", range(13))
def test_the_p_value_is_the_exact_sum_over_a_grid(only_first: int, only_second: int) -> None:
    found = discordant(only_first, only_second).p_value
    assert found == pytest.approx(float(exact_p(only_first, only_second)), rel=1e-14)


@settings(deadline=None)
@given(st.integers(0, 900), st.integers(0, 900))
def test_the_p_value_is_the_exact_sum(only_first: int, only_second: int) -> None:
    found = discordant(only_first, only_second).p_value
    assert found == pytest.approx(float(exact_p(only_first, only_second)), rel=1e-12)
    assert 0 <= found <= 1


def test_tens_of_thousands_of_discordant_pictures_are_counted_exactly() -> None:
    ways, below = 1, 0
    for k in range(19_700):
        below += ways
        ways = ways * (40_000 - k) // (k + 1)
    wanted = float(Fraction(2 * (below + ways), 2**40_000))
    assert discordant(19_700, 20_300).p_value == pytest.approx(wanted, rel=1e-12)
    assert wanted == pytest.approx(math.erfc((300 - 0.5) / math.sqrt(40_000 / 4) / math.sqrt(2)), rel=1e-3)
    assert discordant(25_000, 25_000).p_value == 1
    assert discordant(0, 50_000).p_value == 0


@given(tables)
def test_the_p_value_does_not_ask_who_is_first(table: Paired) -> None:
    assert table.p_value == Paired(table.both, table.only_second, table.only_first, table.neither).p_value


def test_a_case_counted_by_hand() -> None:
    first = np.array([1, 1, 0, 0, 0, 0, 0, 1, 0, 0], bool)
    second = np.array([1, 0, 1, 1, 1, 1, 1, 1, 0, 1], bool)
    found = paired(first, second)
    assert found == Paired(both=2, only_first=1, only_second=6, neither=1)
    assert found.n == 10
    assert found.difference == 50  # 7 and 2 of 10 are wrong
    assert found.p_value == 2 * (1 + 7) / 128


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_the_cells_are_those_of_a_plain_count(answers: list[tuple[bool, bool]]) -> None:
    found = paired(np.array([a for a, _ in answers]), np.array([b for _, b in answers]))
    cells = [(True, True), (True, False), (False, True), (False, False)]
    assert found == Paired(*(answers.count(cell) for cell in cells))
    errors = [sum(not pair[k] for pair in answers) for k in (0, 1)]
    assert found.difference == pytest.approx(100 * (errors[0] - errors[1]) / len(answers))


@given(tables)
def test_the_cells_that_both_share_matter_only_through_their_number(table: Paired) -> None:
    other = Paired(table.neither, table.only_first, table.only_second, table.both)
    assert (other.difference, other.p_value, other.interval) == (table.difference, table.p_value, table.interval)


@pytest.mark.parametrize("right", [np.ones(7, bool), np.zeros(7, bool), np.arange(7) % 2 == 0])
def test_a_network_is_not_separable_from_itself(right: NDArray[np.bool]) -> None:
    found = paired(right, right)
    assert (found.p_value, found.difference, found.interval) == (1, 0, (0, 0))
    assert found.answer == "not separable"


@settings(deadline=None, max_examples=30)
@given(tables)
def test_the_interval_holds_the_difference_and_is_the_same_at_every_call(table: Paired) -> None:
    low, high = table.interval
    assert -100 <= low <= table.difference <= high <= 100
    assert table.interval == (low, high)


def test_the_interval_is_that_of_pictures_drawn_with_replacement() -> None:
    table = Paired(both=230, only_first=25, only_second=55, neither=90)
    steps = np.repeat([0, -1, 1, 0], [table.both, table.only_first, table.only_second, table.neither])
    random = np.random.default_rng(1)
    means = [100 * random.choice(steps, table.n).mean() for _ in range(10_000)]
    assert table.interval == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.3)


@pytest.mark.parametrize(("only_first", "only_second"), [(1_400, 1_600), (3_000, 2_000), (900, 900)])
def test_the_interval_of_many_pictures_is_the_normal_one(only_first: int, only_second: int) -> None:
    table = Paired(36_000, only_first, only_second, 14_000 - only_first - only_second)
    share = (only_first + only_second) / table.n
    half = 100 * Z95 * math.sqrt((share - (table.difference / 100) ** 2) / table.n)
    assert table.interval == pytest.approx((table.difference - half, table.difference + half), abs=0.05 * half)


def test_swapping_the_networks_mirrors_the_interval() -> None:
    low, high = Paired(300, 40, 70, 90).interval
    assert Paired(300, 70, 40, 90).interval == pytest.approx((-high, -low), abs=0.5)


@pytest.mark.parametrize(
    ("only_first", "only_second", "answer"),
    [
        (0, 5, "not separable"),  # p = 2 / 32
        (0, 6, "holds"),  # p = 2 / 64
        (4, 13, "holds"),  # p = 0.049
        (6, 0, "fails"),
        (10, 24, "holds"),
        (24, 10, "fails"),
        (5, 14, "not separable"),  # p = 0.064
    ],
)
def test_the_second_is_better_where_chance_is_a_poor_explanation(
    only_first: int, only_second: int, answer: str
) -> None:
    assert discordant(only_first, only_second).answer == answer


def test_a_comparison_as_json_says_what_is_needed_to_believe_it() -> None:
    value = json.loads(json.dumps(Paired(2, 1, 6, 1).as_json()))
    low, high = value.pop("interval")
    assert -100 <= low < 50 < high <= 100
    assert list(value.items()) == [
        ("n", 10),
        ("both", 2),
        ("only_first", 1),
        ("only_second", 6),
        ("neither", 1),
        ("difference", 50.0),
        ("p_value", 0.125),
        ("verdict", "not separable"),
    ]


def test_fifty_thousand_pictures_take_no_time() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((2, 50_000)) < 0.7
    start = time.perf_counter()
    assert paired(first, second).as_json()["n"] == 50_000
    assert time.perf_counter() - start < 1  # measured: 0.03 s


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (5, 6, "cannot pair answers to 5 pictures with answers to 6"),
        (0, 0, "cannot pair answers to 0 pictures with answers to 0"),
    ],
)
def test_answers_to_different_pictures_or_to_none_are_refused(first: int, second: int, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        paired(np.zeros(first, bool), np.zeros(second, bool))
