import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reslab.core.errors import SpecError
from reslab.core.experiment import Optimizer, Plateau, Recipe, Schedule, WarmUp
from reslab.core.intervals import Count
from reslab.training.schedule import Progress, learning_rate, note_errors, warm_up_ends

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


def scheduled(steps: int, **settings: object) -> Recipe:
    return Recipe(steps=steps, schedule=Schedule.parse({"drops": (), **settings}))


def test_a_cosine_is_that_of_torch() -> None:
    recipe, steps = scheduled(40, cosine=True), 40
    theirs = torch.optim.SGD([torch.zeros(1)], lr=recipe.optim.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, steps)
    for step in range(steps):
        assert learning_rate(recipe, step, None) == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        schedule.step()


def test_a_ramp_rises_by_equal_steps_to_the_full_rate_and_the_cosine_begins_there() -> None:
    recipe = scheduled(20, cosine=True, ramp=0.25)
    rates = [learning_rate(recipe, step, None) for step in range(20)]
    assert rates[:6] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.002


@given(step=st.integers(0, 999), ramp=st.floats(0, 0.99))
def test_a_rate_is_positive_and_never_above_the_full_one(step: int, ramp: float) -> None:
    for recipe in (scheduled(1000, cosine=True, ramp=ramp), scheduled(1000, plateau={}, ramp=ramp)):
        assert 0 < learning_rate(recipe, step, None) <= recipe.optim.lr


def test_each_plateau_divides_the_rate() -> None:
    recipe = scheduled(10, plateau={})
    assert [learning_rate(recipe, 5, None, plateaus) for plateaus in (0, 1, 2)] == [0.1, 0.01, 0.001]


@pytest.mark.parametrize("settings", [{"cosine": True, "plateau": {}}, {"drops": (0.5,), "cosine": True}])
def test_there_is_one_way_down(settings: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="drops, cosine and plateau exclude one another"):
        scheduled(10, **settings)


@pytest.mark.parametrize("window", [0, 49, 75])
def test_a_plateau_is_judged_by_whole_windows_of_training(window: int) -> None:
    with pytest.raises(SpecError, match="window"):
        Plateau.parse({"window": window})


def drops_of(rule: dict[str, object], errors: list[int]) -> Progress:
    """What comes of windows of two parts each, with so many errors of 1,000 pictures."""
    recipe, progress = scheduled(10**6, plateau={"window": 100, "by": 1.0, **rule}), Progress()
    for number, wrong in enumerate(errors):
        for part, some in enumerate((wrong // 2, wrong - wrong // 2), start=1):
            note_errors(recipe, progress, 100 * number + 50 * part, Count(some, 500))
    return progress


@pytest.mark.parametrize(
    ("errors", "drops"),
    [
        ([900, 800, 700, 600, 500], []),
        ([900, 895, 893, 891], [400]),
        ([900, 895, 890, 885, 880], []),  # ten in two windows are one point below the best
        ([900, 950, 890, 895, 896, 889], [600]),
        ([900] * 8, [400, 700]),
        ([900] * 20, [400, 700]),  # no more than two
        ([900, 900, 900, 100, 100, 100, 100], [700]),
    ],
)
def test_the_rate_drops_where_three_windows_bring_nothing(errors: list[int], drops: list[int]) -> None:
    assert drops_of({}, errors).drops == drops


def test_patience_and_number_are_settings() -> None:
    assert drops_of({"patience": 1, "most": 3}, [900] * 9).drops == [200, 300, 400]


def test_without_a_rule_nothing_is_noted() -> None:
    progress = Progress()
    note_errors(PAPER, progress, 50, Count(1, 2))
    assert progress == Progress()
