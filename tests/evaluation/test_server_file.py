from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reslab.core.errors import DataError, EvaluationError, SpecError, StorageError
from reslab.evaluation.server_file import read_server_file, write_server_file

GOOD = "3 1 4 7 5\n9 2 6 8 1\n"


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.float32], list[int]]:
    """Probabilities with common ties, and the server's numbers."""
    n, classes = draw(st.integers(0, 8)), draw(st.integers(5, 12))
    values = draw(st.lists(st.integers(0, 6), min_size=n * classes, max_size=n * classes))
    return np.array(values, np.float32).reshape(n, classes), draw(st.permutations(range(1, classes + 1)))


@settings(deadline=None)
@given(cases())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[NDArray[np.float32], list[int]]
) -> None:
    probabilities, numbers = case
    path = tmp_path_factory.mktemp("server") / "answers.txt"
    write_server_file(probabilities, numbers, path)
    found = read_server_file(path, len(probabilities), len(numbers))
    assert found.dtype == np.int64
    assert found.shape == (len(probabilities), 5)
    for row, answers in zip(probabilities.tolist(), found.tolist(), strict=True):
        ranking = sorted(range(len(row)), key=lambda label: (-row[label], label))
        assert answers == [numbers[label] for label in ranking[:5]]


def test_the_file_is_plain_lines_of_five_numbers_the_most_probable_first(tmp_path: Path) -> None:
    rows = np.array([[0.1, 0.2, 0.05, 0.35, 0.25, 0.05], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]], np.float32)
    write_server_file(rows, [6, 5, 4, 3, 2, 1], tmp_path / "new" / "answers.txt")
    assert (tmp_path / "new" / "answers.txt").read_bytes() == b"3 2 5 6 4\n4 6 5 3 2\n"


def test_ties_go_to_the_lower_class_of_the_network_and_not_to_the_lower_number(tmp_path: Path) -> None:
    write_server_file(np.full((1, 1000), 1e-3, np.float32), range(1000, 0, -1), tmp_path / "answers.txt")
    assert read_server_file(tmp_path / "answers.txt", 1).tolist() == [[1000, 999, 998, 997, 996]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_are_refused_and_nothing_is_written(bad: float, tmp_path: Path) -> None:
    rows = np.full((4, 6), 1 / 6)
    rows[2, 5] = bad
    with pytest.raises(EvaluationError, match="the probabilities of picture 2 are not finite"):
        write_server_file(rows, range(1, 7), tmp_path / "answers.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "numbers", [range(6), range(1, 6), range(1, 8), [1, 2, 3, 4, 5, 5], [1, 2, 3, 4, 5, 7], [], [-1, 1, 2, 3, 4, 5]]
)
def test_numbers_that_are_not_one_for_each_class_are_refused(numbers: list[int], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the classes' numbers must be 1 to 6, each once"):
        write_server_file(np.full((1, 6), 1 / 6), numbers, tmp_path / "answers.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_fewer_than_five_classes_has_no_five_answers(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="names 5 classes a picture; the network knows 4"):
        write_server_file(np.full((1, 4), 0.25), range(1, 5), tmp_path / "answers.txt")


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_server_file(np.full((1, 5), 0.2), range(1, 6), tmp_path / "answers.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["answers.txt"]


@pytest.mark.parametrize("text", [GOOD, GOOD.removesuffix("\n"), GOOD.replace("\n", "\r\n")])
def test_the_last_line_may_lack_its_end_and_lines_may_end_as_windows_ends_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_bytes(text.encode())
    assert read_server_file(path, 2, 9).tolist() == [[3, 1, 4, 7, 5], [9, 2, 6, 8, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{path} has 0 lines; the test has 2 pictures"),
        ("3 1 4 7 5\n", "{path} has 1 line; the test has 2 pictures"),
        (GOOD + "1 2 3 4 5\n", "{path} has 3 lines; the test has 2 pictures"),
        (GOOD + "\n", "{path} has 3 lines; the test has 2 pictures"),
        ("3 1 4 7 5\n\n", "{path}, line 2: '' is not 5 numbers with single spaces between them"),
        ("3 1 4 7\n9 2 6 8 1\n", "{path}, line 1: '3 1 4 7' is not 5 numbers with single spaces between them"),
        ("3 1 4 7 5\n9 2 6 8 1 3\n", "{path}, line 2: '9 2 6 8 1 3' is not 5 numbers with single spaces between them"),
        ("3  1 4 7 5\n9 2 6 8 1\n", "{path}, line 1: '3  1 4 7 5' is not 5 numbers with single spaces between them"),
        ("3 1 4 7 5 \n9 2 6 8 1\n", "{path}, line 1: '3 1 4 7 5 ' is not 5 numbers with single spaces between them"),
        ("3,1,4,7,5\n9 2 6 8 1\n", "{path}, line 1: '3,1,4,7,5' is not 5 numbers with single spaces between them"),
        ("3\t1 4 7 5 2\n9 2 6 8 1\n", "{path}, line 1: '3\\t1' is not a class number from 1 to 9"),
        ("3 1 4 7 0\n9 2 6 8 1\n", "{path}, line 1: '0' is not a class number from 1 to 9"),
        ("3 1 4 7 10\n9 2 6 8 1\n", "{path}, line 1: '10' is not a class number from 1 to 9"),
        ("3 1 4 7 -5\n9 2 6 8 1\n", "{path}, line 1: '-5' is not a class number from 1 to 9"),
        ("3 1 4 7 5.0\n9 2 6 8 1\n", "{path}, line 1: '5.0' is not a class number from 1 to 9"),
        ("3 1 4 7 1_0\n9 2 6 8 1\n", "{path}, line 1: '1_0' is not a class number from 1 to 9"),
        ("3 1 4 7 cat\n9 2 6 8 1\n", "{path}, line 1: 'cat' is not a class number from 1 to 9"),
        (f"3 1 4 7 {'9' * 5000}\n9 2 6 8 1\n", f"{{path}}, line 1: '{'9' * 20}' is not a class number from 1 to 9"),
        ("3 1 4 7 5\n9 2 6 9 1\n", "{path}, line 2: class 9 is named twice"),
    ],
)
def test_a_file_that_the_server_would_not_take_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_text(text, encoding="ascii")
    with pytest.raises(DataError) as caught:
        read_server_file(path, 2, 9)
    assert str(caught.value) == message.format(path=path)


def test_numbers_go_to_a_thousand_where_nothing_else_is_said(tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_text("1000 1 2 3 4\n", encoding="ascii")
    assert read_server_file(path, 1).tolist() == [[1000, 1, 2, 3, 4]]
    path.write_text("1001 1 2 3 4\n", encoding="ascii")
    with pytest.raises(DataError, match="'1001' is not a class number from 1 to 1000"):
        read_server_file(path, 1)


@pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe0", "1 2 3 4 \u0665\n".encode(), b"\xef\xbb\xbf1 2 3 4 5\n"])
def test_a_file_that_is_not_plain_text_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"cannot read {path}: ") as caught:
        read_server_file(path, 1)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match=f"cannot read {path}: "):
            read_server_file(path, 1)
