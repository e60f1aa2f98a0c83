import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reslab.report.confusion import confusion, most_confused, row_shares
from reslab.report.confusion_figure import confusion_figure, dots_of, names_drawn
from reslab.report.figure import as_png, as_svg

CLASSES = 5
pictures = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=80)


def columns(answers: list[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    labels, given_ = zip(*answers, strict=True)
    return np.array(labels), np.array(given_)


def test_rows_are_true_classes_and_columns_answers() -> None:
    matrix = confusion(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 0, 2]), 3)
    assert matrix.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]
    assert row_shares(matrix)[0].tolist() == pytest.approx([100 / 3, 200 / 3, 0])


def test_a_class_without_pictures_has_an_empty_row() -> None:
    matrix = confusion(np.array([0]), np.array([2]), 3)
    assert matrix.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert row_shares(matrix)[1].tolist() == [0, 0, 0]


def test_the_most_confused_pairs_come_first_with_their_share() -> None:
    labels = np.array([0] * 10 + [1] * 4 + [2] * 6)
    answers = np.array([1] * 2 + [0] * 8 + [0] * 2 + [1] * 2 + [0] * 3 + [2] * 3)
    found = most_confused(labels, answers, 3)
    assert [(pair.label, pair.answer, pair.count.errors, pair.count.n) for pair in found] == [
        (2, 0, 3, 6),
        (1, 0, 2, 4),
        (0, 1, 2, 10),
    ]
    assert most_confused(labels, answers, 3, most=1) == found[:1]
    assert most_confused(labels, labels, 3) == []


def test_pairs_of_very_many_classes_need_no_matrix() -> None:
    labels = np.array([999_999, 5, 999_999])
    (first, second) = most_confused(labels, np.array([3, 999_999, 3]), 1_000_000)
    assert (first.label, first.answer, first.count.errors) == (999_999, 3, 2)
    assert (second.label, second.answer, second.count.errors) == (5, 999_999, 1)


@given(pictures)
@settings(max_examples=100, deadline=None)
def test_counting_one_by_one_gives_the_same(answers: list[tuple[int, int]]) -> None:
    labels, given_ = columns(answers)
    matrix = confusion(labels, given_, CLASSES)
    assert matrix.sum() == len(answers)
    for row, column in itertools.product(range(CLASSES), repeat=2):
        assert matrix[row, column] == answers.count((row, column))
    wrong = {pair: answers.count(pair) for pair in set(answers) if pair[0] != pair[1]}
    found = most_confused(labels, given_, CLASSES)
    assert {(pair.label, pair.answer): pair.count.errors for pair in found} == wrong
    assert [pair.count.errors for pair in found] == sorted(wrong.values(), reverse=True)
    assert all(pair.count.n == sum(label == pair.label for label, _ in answers) for pair in found)


def numbered(size: int) -> list[str]:
    return [f"class number {i}" for i in range(size)]


def test_up_to_25_classes_have_counts_and_names() -> None:
    matrix = confusion(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), 25)
    axes = confusion_figure(matrix, numbered(25)).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "1", "2"]
    assert axes.get_yticklabels()[0].get_text() == "class number 0 (3)"
    assert axes.get_xticklabels()[0].get_text() == "class number 0"
    assert axes.get_ylabel() == "true class (pictures)"


@pytest.mark.parametrize(("size", "named"), [(26, True), (60, True), (61, False), (1000, False)])
def test_more_classes_lose_their_counts_then_their_names(size: int, named: bool) -> None:  # noqa: FBT001
    axes = confusion_figure(np.eye(size, dtype=np.int64), numbered(size)).axes[0]
    assert not axes.texts
    assert ("class number 0" in [label.get_text() for label in axes.get_xticklabels()]) == named


def test_no_cell_of_many_classes_is_lost_between_dots() -> None:
    matrix = np.zeros((1000, 1000), np.int64)
    matrix[:, 0] = 1
    matrix[998, [0, 997]] = [0, 1]
    (image,) = confusion_figure(matrix, numbered(1000)).axes[0].images
    shown = np.asarray(image.get_array())
    assert dots_of(1000) == 3
    assert shown.shape == (334, 334)
    assert shown[:, 0].tolist() == [100] * 334
    assert shown[332, 332] == 100
    assert (shown > 0).sum() == 335


def test_names_are_shortened_in_the_middle_and_what_the_font_lacks_becomes_a_number() -> None:
    names = names_drawn(["cat", "a very long name of a class that ends in tabby", "犬"])
    assert names[0] == "cat"
    assert names[1].startswith("a very")
    assert names[1].endswith("tabby")
    assert "…" in names[1]
    assert names[2] == "class 2"


def test_names_are_never_read_as_formulas_or_markup() -> None:
    matrix = np.eye(3, dtype=np.int64)
    svg = as_svg(confusion_figure(matrix, ["$x_1$", "<script>alert(1)</script>", "$\\frac{"]))
    assert "<script" not in svg
    assert svg == as_svg(confusion_figure(matrix, ["$x_1$", "<script>alert(1)</script>", "$\\frac{"]))


def test_equal_counts_make_equal_files() -> None:
    matrix = np.arange(9).reshape(3, 3)
    assert as_png(confusion_figure(matrix, numbered(3))) == as_png(confusion_figure(matrix, numbered(3)))
