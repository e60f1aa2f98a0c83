import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.core.intervals import wilson
from reslab.report.calibration import BINS, Calibration, bins_of, calibrate, edges
from reslab.report.calibration_figure import reliability_figure
from reslab.report.figure import as_png, as_svg

probability = st.floats(0, 1, width=32)
pictures = st.lists(st.tuples(probability, st.booleans()), min_size=1, max_size=60)


def measured(*answers: tuple[float, bool]) -> Calibration:
    certainty, right = zip(*answers, strict=True)
    return calibrate(np.array(certainty), np.array(right))


def by_hand(answers: list[tuple[float, bool]]) -> float:
    """The definition, word for word: bin after bin, without numpy."""
    total = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = [(p, right) for p, right in answers if low < p <= high or (number == 0 and p == 0)]
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(p for p, _ in inside) / len(inside)
            total += len(inside) / len(answers) * abs(accuracy - confidence)
    return 100 * total


def test_a_case_counted_by_hand() -> None:
    # bin 10 of 15, (0.6, 0.667]: 0.62 and 0.66, one right: |0.5 - 0.64| = 0.14, of 2 pictures
    # bin 15, (0.933, 1]: 0.95, 1.0 and 0.99, two right: |2/3 - 0.98| = 0.31333, of 3 pictures
    found = measured((0.62, True), (0.66, False), (0.95, True), (1.0, True), (0.99, False))
    assert found.ece == pytest.approx(100 * (2 * 0.14 + 3 * (0.98 - 2 / 3)) / 5)
    assert found.counts.tolist() == [0] * 9 + [2] + [0] * 4 + [3]
    assert found.hits.tolist() == [0] * 9 + [1] + [0] * 4 + [2]
    assert found.sums[[9, 14]].tolist() == pytest.approx([1.28, 2.94])
    assert found.n == 5


def test_gaps_of_opposite_sign_cancel_inside_a_bin_but_not_between_bins() -> None:
    same = measured((0.5, True), (0.5, False))
    apart = measured((0.5, True), (0.55, False))
    assert same.ece == 0
    assert apart.ece == pytest.approx(100 * (0.5 + 0.55) / 2)


@pytest.mark.parametrize("number", range(1, BINS + 1))
def test_a_probability_on_an_edge_is_in_the_bin_below_it(number: int) -> None:
    on = edges()[number]
    around = np.array([np.nextafter(on, 0), on, min(np.nextafter(on, 2), 1.0)])
    assert bins_of(around).tolist() == [number - 1, number - 1, min(number, BINS - 1)]


def test_the_ends_are_in_the_first_and_the_last_bin() -> None:
    assert bins_of(np.array([0.0, 5e-324, 1.0])).tolist() == [0, 0, BINS - 1]
    assert measured((1.0, True)).counts.tolist() == [0] * 14 + [1]


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, 100.0)])
def test_complete_certainty_is_all_right_or_all_wrong(right: bool, expected: float) -> None:  # noqa: FBT001
    found = measured(*[(1.0, right)] * 7)
    assert found.ece == expected
    assert found.interval == (expected, expected)
    assert found.chance == 0


@given(pictures)
@settings(max_examples=60, deadline=None)
def test_it_is_what_the_definition_says(answers: list[tuple[float, bool]]) -> None:
    found = measured(*answers)
    assert found.ece == pytest.approx(by_hand(answers), abs=1e-9)
    assert 0 <= found.interval[0] <= found.ece <= found.interval[1] <= 100
    assert 0 <= found.chance <= 100
    assert found.n == len(answers)
    assert found.hits.sum() == sum(right for _, right in answers)
    assert (found.hits <= found.counts).all()


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_probabilities_that_are_kept_have_no_error(groups: list[tuple[int, int]]) -> None:
    answers = [(min(k, n) / n, i < min(k, n)) for n, k in groups for i in range(n)]
    assert measured(*answers).ece == pytest.approx(0, abs=1e-9)


@given(st.lists(st.tuples(probability, st.booleans()), min_size=2, max_size=30), st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_pictures_does_not_matter(answers: list[tuple[float, bool]], random: Any) -> None:
    mixed = list(answers)
    random.shuffle(mixed)
    assert measured(*mixed).ece == pytest.approx(measured(*answers).ece, abs=1e-9)


def test_the_interval_agrees_with_a_bootstrap_of_pictures() -> None:
    random = np.random.default_rng(5)
    certainty = random.beta(3, 1.5, 400)
    right = random.random(400) < 0.8 * certainty
    samples = [random.integers(0, 400, 400) for _ in range(1000)]
    errors = [by_hand(list(zip(certainty[s].tolist(), right[s].tolist(), strict=True))) for s in samples]
    found = calibrate(certainty, right)
    assert found.interval == pytest.approx(tuple(np.quantile(errors, [0.025, 0.975])), abs=0.7)
    assert calibrate(certainty, right).interval == found.interval


def test_chance_is_what_calibrated_answers_reach() -> None:
    random = np.random.default_rng(6)
    certainty = random.random(500)
    errors = [calibrate(certainty, random.random(500) < certainty).ece for _ in range(200)]
    found = calibrate(certainty, random.random(500) < certainty)
    assert np.mean(np.array(errors) < found.chance) == pytest.approx(0.95, abs=0.05)


def test_fifty_thousand_pictures_take_less_than_two_seconds() -> None:
    random = np.random.default_rng(0)
    certainty = random.random(50_000).astype(np.float32)
    right = random.random(50_000) < certainty
    begun = time.process_time()
    found = calibrate(certainty, right)
    assert time.process_time() - begun < 2
    assert found.interval[1] < 2


def test_the_diagram_shows_shares_their_intervals_the_diagonal_and_the_numbers() -> None:
    found = measured(*[(0.5, True)] * 3, *[(0.5, False)] * 1, (0.97, True))
    figure = reliability_figure(found)
    upper, lower = figure.axes
    bars = sorted((round(bar.get_x(), 3), bar.get_height()) for bar in upper.patches)  # type: ignore[attr-defined]
    assert bars == [(46.667, 75.0), (93.333, 100.0)]
    diagonal, dots = upper.lines
    assert list(diagonal.get_xydata()[-1]) == [100, 100]
    assert dots.get_xydata().tolist() == [[50.0, 75.0], [pytest.approx(97.0), 100.0]]
    (whiskers,) = upper.collections
    low, high = wilson(3, 4)
    first = whiskers.get_segments()[0]  # type: ignore[attr-defined]
    assert first[:, 1].tolist() == pytest.approx([100 * low, 100 * high])
    assert [text.get_text() for text in lower.texts] == ["0"] * 7 + ["4"] + ["0"] * 6 + ["1"]
    assert upper.get_title(loc="left").endswith("n=5")
    assert as_svg(figure) == as_svg(reliability_figure(found))
    assert as_png(figure) == as_png(reliability_figure(found))
