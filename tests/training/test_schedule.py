import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.core.experiment import Optimizer, Recipe, Schedule, WarmUp
from reslab.training.schedule import learning_rate, warm_up_ends

PAPER = Recipe()
WARM = Recipe(schedule=Schedule(warm_up=WarmUp()))


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)]
)
def test_the_paper_divides_its_rate_by_ten_at_32k_and_48k_exactly(step: int, rate: float) -> None:
    assert learning_rate(PAPER, step, None) == rate


def test_drops_are_fractions_of_a_shorter_run_too() -> None:
    short = Recipe(steps=10, schedule=Schedule(drops=(0.5, 0.8), divide_by=2), optim=Optimizer(lr=0.4))
    assert [learning_rate(short, step, None) for step in range(10)] == [0.4] * 5 + [0.2] * 3 + [0.1] * 2


@pytest.mark.parametrize("step", [0, 400, 31_999])
def test_the_warm_up_rate_holds_until_the_warm_up_has_ended(step: int) -> None:
    assert learning_rate(WARM, step, None) == 0.01
    assert learning_rate(WARM, step, step) == 0.1


def test_an_ended_warm_up_leaves_the_drops_where_they_are() -> None:
    assert [learning_rate(WARM, step, 400) for step in (400, 32_000, 48_000)] == [0.1, 0.01, 0.001]


def test_a_warm_up_that_never_ends_does_not_raise_a_dropped_rate() -> None:
    assert learning_rate(WARM, 48_000, None) == 0.001


@given(step=st.integers(0, 63_999), ended=st.none() | st.integers(0, 63_999))
def test_without_a_warm_up_nothing_but_the_step_decides(step: int, ended: int | None) -> None:
    assert learning_rate(PAPER, step, ended) == learning_rate(PAPER, step, None)


@given(step=st.integers(1, 63_998), ended=st.integers(0, 100))
def test_once_the_warm_up_has_ended_the_rate_never_rises(step: int, ended: int) -> None:
    assert learning_rate(WARM, step + 1, ended) <= learning_rate(WARM, step, ended)


@pytest.mark.parametrize(
    ("step", "error", "ends"),
    [
        (50, 79.9, True),
        (400, 0.0, True),
        (50, 80.0, False),
        (50, 90.0, False),
        (49, 10.0, False),
        (51, 10.0, False),
        (75, 10.0, False),
    ],
)
def test_a_warm_up_ends_only_after_a_whole_window_below_its_threshold(step: int, error: float, *, ends: bool) -> None:
    assert warm_up_ends(WARM, step, error) is ends


def test_a_window_of_another_length_decides_at_its_own_multiples() -> None:
    recipe = Recipe(schedule=Schedule(warm_up=WarmUp(window=7, until_error=50)))
    assert [step for step in range(1, 30) if warm_up_ends(recipe, step, 49.9)] == [7, 14, 21, 28]


def test_no_warm_up_never_ends() -> None:
    assert not warm_up_ends(PAPER, 50, -math.inf)
