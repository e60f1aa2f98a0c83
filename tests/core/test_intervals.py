import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.intervals import Z95, Count, difference, wilson

CALM = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # a busy machine


@st.composite
def counts(draw: st.DrawFn) -> Count:
    n = draw(st.integers(1, 50_000))
    return Count(draw(st.integers(0, n)), n)


@pytest.mark.parametrize(
    ("errors", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(errors: int, n: int, low: float, high: float) -> None:
    assert [round(bound, 4) for bound in wilson(errors, n)] == [low, high]


@CALM
@given(st.integers(1, 10**6))
def test_no_errors_leave_the_low_end_at_zero_and_only_errors_the_high_end_at_one(n: int) -> None:
    low, high = wilson(0, n)
    assert low == 0
    assert math.isclose(high, Z95**2 / (n + Z95**2), rel_tol=1e-9)
    assert wilson(n, n)[1] == 1


@CALM
@given(counts())
def test_the_interval_contains_the_proportion_and_stays_within_zero_and_one(count: Count) -> None:
    low, high = wilson(count.errors, count.n)
    assert 0 <= low <= count.errors / count.n <= high <= 1
    assert low < high


@CALM
@given(counts())
def test_wilson_mirrors_when_errors_and_hits_change_places(count: Count) -> None:
    low, high = wilson(count.errors, count.n)
    mirrored = wilson(count.n - count.errors, count.n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@CALM
@given(counts())
def test_the_ends_are_where_the_score_test_just_rejects(count: Count) -> None:
    p = count.errors / count.n
    for bound in wilson(count.errors, count.n):
        assert abs(p - bound) == pytest.approx(Z95 * math.sqrt(bound * (1 - bound) / count.n), abs=1e-7)


def test_a_count_speaks_in_percent() -> None:
    count = Count(81, 263)
    assert count.error == pytest.approx(30.798479, abs=1e-6)
    assert count.interval == pytest.approx((25.52885, 36.62096), abs=1e-5)


@pytest.mark.parametrize(("errors", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_an_impossible_count_is_not_made(errors: int, n: int) -> None:
    with pytest.raises(AssertionError):
        Count(errors, n)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        (Count(56, 70), Count(48, 80), 0.0524, 0.3339),  # Newcombe 1998, Table II, method 10
        (Count(9, 10), Count(3, 10), 0.1705, 0.8090),
        (Count(6, 7), Count(2, 7), 0.0582, 0.8062),
        (Count(5, 56), Count(0, 29), -0.0381, 0.1926),
        (Count(0, 10), Count(0, 20), -0.1611, 0.2775),
        (Count(0, 10), Count(0, 10), -0.2775, 0.2775),
        (Count(10, 10), Count(0, 20), 0.6791, 1.0000),
        (Count(10, 10), Count(0, 10), 0.6075, 1.0000),
    ],
)
def test_the_difference_gives_the_published_intervals(first: Count, second: Count, low: float, high: float) -> None:
    assert [round(bound / 100, 4) for bound in difference(first, second)] == [low, high]


@CALM
@given(counts(), counts())
def test_the_difference_is_antisymmetric(first: Count, second: Count) -> None:
    low, high = difference(first, second)
    assert difference(second, first) == pytest.approx((-high, -low), abs=1e-9)


@CALM
@given(counts(), counts())
def test_the_difference_contains_what_was_measured(first: Count, second: Count) -> None:
    low, high = difference(first, second)
    assert low <= first.error - second.error + 1e-9
    assert first.error - second.error <= high + 1e-9
