import pytest

from reslab.core.text import few


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a", "b", "c"], "a, b, c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        ([str(number) for number in range(1203)], "0, 1, 2 and 1,200 more"),
        (["a\nb"], "a\\nb"),
    ],
)
def test_of_many_names_the_first_are_said_and_the_others_counted(names: list[str], said: str) -> None:
    assert few(names) == said


def test_how_many_are_said_can_be_chosen() -> None:
    assert few(["a", "b", "c"], 1) == "a and 2 more"
