import pytest

from reslab.core.intervals import Count
from reslab.report.findings import above, below, close, compare


def test_a_comparison_holds_fails_or_cannot_be_told() -> None:
    assert compare("", Count(600, 2000), Count(400, 2000)).answer == "holds"
    assert compare("", Count(400, 2000), Count(600, 2000)).answer == "fails"
    assert compare("", Count(405, 2000), Count(400, 2000)).answer == "not separable"


def test_closeness_needs_the_whole_interval_inside_the_margin() -> None:
    assert close("", Count(20_000, 100_000), Count(20_100, 100_000), 1.0).answer == "holds"
    assert close("", Count(400, 2000), Count(402, 2000), 1.0).answer == "not separable"
    assert close("", Count(400, 2000), Count(600, 2000), 1.0).answer == "fails"


@pytest.mark.parametrize(
    ("errors", "over", "under"),
    [(700, "holds", "fails"), (600, "not separable", "not separable"), (500, "fails", "holds")],
)
def test_a_threshold_needs_the_whole_interval_on_one_side(errors: int, over: str, under: str) -> None:
    count = Count(errors, 1000)
    assert (above("", count, 60.0).answer, below("", count, 60.0).answer) == (over, under)


def test_no_error_at_all_is_below_a_tenth_of_a_percent_only_on_enough_pictures() -> None:
    assert below("", Count(0, 6400), 0.1).answer == "holds"
    assert below("", Count(0, 2000), 0.1).answer == "not separable"


def test_a_finding_says_its_numbers_in_one_line() -> None:
    pair = compare("test error, a above b", Count(600, 2000), Count(40, 100))
    assert pair.sentence.startswith("test error, a above b: 30.00 and 40.00 %, difference -10.00 [")
    assert pair.sentence.endswith("], n=2,000 and 100: fails")
    assert close("t", Count(1, 1000), Count(1, 1000), 1.0).sentence.endswith("] against 1 either way, n=1,000: holds")
    one = above("x above 60 %", Count(700, 1000), 60.0)
    assert one.sentence == "x above 60 %: 70.00 %, interval [67.09, 72.76] against 60, n=1,000: holds"
    assert one.numbers["errors"] == [70.0]
    assert one.numbers["n"] == [1000]
    assert one.numbers["threshold"] == 60.0
