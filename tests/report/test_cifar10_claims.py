"""D4, D5, E1 and E2: both ways, and not tested."""

from collections.abc import Callable, Sequence

import pytest

from reslab.core.rundir import RunDirectory
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import Verdict, judge
from reslab.report.finished import finished

Maker = Callable[..., RunDirectory]


def verdicts(*runs: RunDirectory) -> dict[str, Verdict]:
    return {verdict.claim.identifier: verdict for verdict in judge(CIFAR_CLAIMS, finished(runs))}


def falling(layers: int, first: float, last: float) -> list[float]:
    """Responses from ``first`` down to ``last``, the smallest in front: order must not matter."""
    return [last + (first - last) * i / (layers - 1) for i in range(layers)]


@pytest.mark.parametrize(
    ("test", "train", "answer"),
    [
        (72, 71, "holds"),
        (16, 12, "fails"),
        (72, 12, "fails"),
        (60.4, 71, "not separable"),
        (72, 59.9, "not separable"),
    ],
)
def test_plain_110_is_above_60_percent_or_not(make_published: Maker, test: float, train: float, answer: str) -> None:
    found = verdicts(make_published("cifar-plain110", test, train))["D4"]
    assert found.answer == answer
    assert found.judged_on == "plain-110; seed 0"
    assert [finding.n for finding in found.findings[0]] == ["6,400", "10,000"]


def test_an_error_after_fewer_steps_says_nothing_of_plain_110(make_run: Maker) -> None:
    assert verdicts(make_run("cifar-plain110", 80, 80, data="cifar10"))["D4"].answer == "not tested"
    assert verdicts(make_run("cifar-plain110", 80, 80))["D4"].answer == "not tested"


@pytest.mark.parametrize(
    ("test", "train", "answer"),
    [
        (7.93, 0, "holds"),
        (6.43, 0, "not separable"),
        (4.9, 0, "fails"),
        (7.93, 1, "fails"),
        (7.93, 0.0625, "not separable"),
    ],
)
def test_1202_layers_overfit_or_not(make_published: Maker, test: float, train: float, answer: str) -> None:
    deep, deeper = make_published("cifar-resnet110", 6.43, 0), make_published("cifar-resnet1202", test, train)
    assert verdicts(deep, deeper)["D5"].answer == answer


def test_1202_layers_alone_or_on_another_schedule_test_nothing(make_published: Maker, make_run: Maker) -> None:
    assert verdicts(make_published("cifar-resnet1202", 7.93, 0))["D5"].answer == "not tested"
    short = (make_run(f"cifar-resnet{depth}", test, 0, data="cifar10") for depth, test in ((110, 6), (1202, 9)))
    assert verdicts(*short)["D5"].answer == "not tested"


def pair(make_run: Maker, plain: Sequence[float], residual: Sequence[float]) -> Verdict:
    runs = [make_run("cifar-plain20", 9, 1, responses=plain), make_run("cifar-resnet20", 8, 1, responses=residual)]
    return verdicts(*runs)["E1"]


@pytest.mark.parametrize(
    ("crossing", "answer"), [(0, "holds"), (1, "holds"), (2, "not separable"), (9, "fails"), (18, "fails")]
)
def test_nearly_all_ranks_beyond_the_first_must_lie_below(make_run: Maker, crossing: int, answer: str) -> None:
    plain = [3.0, *[2.0] * 18]
    residual = [3.5, *[2.5] * crossing, *[1.0] * (18 - crossing)]
    found = pair(make_run, plain, residual[::-1])
    assert found.answer == answer
    assert found.judged_on == "plain-20, ResNet-20; seed 0"
    (finding,) = found.findings[0]
    assert finding.numbers["lower"] == 18 - crossing
    assert finding.numbers["ranks"] == 18
    assert finding.n == "10,000"


def test_the_finding_on_ranks_names_medians_and_threshold(make_run: Maker) -> None:
    (finding,) = pair(make_run, falling(19, 2.4, 1.2), falling(19, 2.2, 1.0)).findings[0]
    assert finding.sentence == (
        "sorted responses beyond the first, ResNet-20 below plain-20: medians 1.57 and 1.77,"
        " lower at 18 of 18 ranks (100 %) against 90 %, n=10,000: holds"
    )


def test_responses_measured_otherwise_are_not_compared(make_run: Maker, write_responses: Maker) -> None:
    plain, residual = make_run("cifar-plain20", 9, 1), make_run("cifar-resnet20", 8, 1)
    write_responses(plain, falling(19, 2.4, 1.2))
    assert verdicts(plain, residual)["E1"].answer == "not tested"
    write_responses(residual, falling(19, 2.2, 1.0), statistics="batch")
    assert verdicts(plain, residual)["E1"].answer == "not tested"
    write_responses(residual, falling(19, 2.2, 1.0))
    assert verdicts(plain, residual)["E1"].answer == "holds"


@pytest.mark.parametrize(
    ("middle", "deepest", "answer"),
    [
        (falling(55, 1.5, 0.9), falling(109, 1.4, 0.8), "holds"),
        (falling(55, 1.5, 0.9), falling(109, 1.6, 1.0), "fails"),
        ([9.0, *falling(54, 1.5, 0.9)], [40.0, *falling(108, 1.4, 0.8)], "not separable"),
    ],
)
def test_mean_and_median_fall_with_depth_or_not(
    make_run: Maker, middle: list[float], deepest: list[float], answer: str
) -> None:
    found = verdicts(
        make_run("cifar-resnet20", 8, 1, responses=falling(19, 3.0, 1.4)),
        make_run("cifar-resnet44", 8, 1, responses=falling(43, 9.0, 8.0)),
        make_run("cifar-resnet56", 7, 1, responses=middle),
        make_run("cifar-resnet110", 6, 1, responses=deepest),
    )["E2"]
    assert found.answer == answer
    assert found.judged_on == "ResNet-20, ResNet-56, ResNet-110; seed 0"
    assert [finding.answer for finding in found.findings[0]] == ["holds", answer]


def test_one_residual_network_has_nothing_to_fall_from(make_run: Maker) -> None:
    found = verdicts(make_run("cifar-resnet20", 8, 1, responses=falling(19, 3.0, 1.4)))["E2"]
    assert found.answer == "not tested"
