from collections.abc import Callable

import pytest

from reslab.core.errors import RunError
from reslab.core.intervals import Count, difference
from reslab.core.rundir import RunDirectory
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import Verdict, close, compare, judge
from reslab.report.finished import finished

Maker = Callable[..., RunDirectory]


def verdicts(*runs: RunDirectory) -> dict[str, Verdict]:
    return {verdict.claim.identifier: verdict for verdict in judge(CIFAR_CLAIMS, finished(runs))}


def test_a_comparison_holds_fails_or_cannot_be_told() -> None:
    assert compare("", Count(600, 2000), Count(400, 2000)).answer == "holds"
    assert compare("", Count(400, 2000), Count(600, 2000)).answer == "fails"
    assert compare("", Count(405, 2000), Count(400, 2000)).answer == "not separable"


def test_closeness_needs_the_whole_interval_inside_the_margin() -> None:
    assert close("", Count(20_000, 100_000), Count(20_100, 100_000), 1.0).answer == "holds"
    assert close("", Count(400, 2000), Count(402, 2000), 1.0).answer == "not separable"
    assert close("", Count(400, 2000), Count(600, 2000), 1.0).answer == "fails"


def test_the_papers_finding_is_recognised(make_run: Maker) -> None:
    found = verdicts(
        make_run("cifar-plain20", 30, 31),
        make_run("cifar-plain56", 60, 62),
        make_run("cifar-resnet20", 29.5, 25, early=50),
        make_run("cifar-resnet56", 22, 20),
    )
    answers = {key: verdict.answer for key, verdict in found.items()}
    assert answers == {"D1": "holds", "D2": "holds", "D3": "holds", "C7": "holds", "C8": "not separable"}
    assert found["D1"].judged_on == "plain-20, plain-56; seed 0"
    assert found["C8"].judged_on == "plain-20, ResNet-20; seed 0"
    assert found["D1"].setting == "Fashion-MNIST, 200 steps of 128"
    assert len(found["D2"].findings[0]) == 2


def test_the_opposite_is_recognised_too(make_run: Maker) -> None:
    found = verdicts(
        make_run("cifar-plain20", 60, 62),
        make_run("cifar-plain56", 30, 31),
        make_run("cifar-resnet20", 30, 31, early=90),
        make_run("cifar-resnet56", 60, 62),
    )
    assert {verdict.answer for verdict in found.values()} == {"fails"}


def test_what_has_no_pair_is_not_tested(make_run: Maker) -> None:
    found = verdicts(make_run("cifar-plain20", 30, 31))
    assert {verdict.answer for verdict in found.values()} == {"not tested"}
    assert found["D1"].judged_on == "no pair of networks that it speaks of"


def test_seeds_that_disagree_leave_a_claim_open(make_run: Maker) -> None:
    agree = [make_run("cifar-plain20", 30, 31, seed=s) for s in (0, 1)]
    both = verdicts(*agree, make_run("cifar-plain56", 60, 62, seed=0), make_run("cifar-plain56", 61, 62, seed=1))
    assert both["D1"].answer == "holds"
    assert both["D1"].judged_on == "plain-20, plain-56; seeds 0, 1"


def test_one_seed_against_another_is_not_separable(make_run: Maker) -> None:
    runs = [make_run("cifar-plain20", 30, 31, seed=s) for s in (0, 1)]
    open_ = verdicts(*runs, make_run("cifar-plain56", 60, 62, seed=0), make_run("cifar-plain56", 20, 22, seed=1))
    assert open_["D1"].answer == "not separable"


def test_settings_are_never_mixed(make_run: Maker) -> None:
    wide, narrow = make_run("cifar-plain20", 30, 31), make_run("cifar-plain56", 60, 62, width=8)
    judged = judge(CIFAR_CLAIMS, finished([wide, narrow]))
    assert len(judged) == 2 * len(CIFAR_CLAIMS)
    assert {verdict.answer for verdict in judged} == {"not tested"}


def test_the_crossing_of_20_and_32_layers_at_the_end_is_not_held_against_the_paper(make_run: Maker) -> None:
    found = verdicts(make_run("cifar-plain20", 30, 31), make_run("cifar-plain32", 40, 41))
    assert [finding.text.split(",")[0] for finding in found["D2"].findings[0]] == [
        "training error before the first drop (step 100)"
    ]


def test_depths_beyond_a_claim_are_left_out(make_run: Maker) -> None:
    found = verdicts(make_run("cifar-resnet110", 30, 31), make_run("cifar-resnet1202", 60, 62))
    assert found["D3"].answer == "not tested"


def test_json_has_the_numbers_with_their_n(make_run: Maker) -> None:
    found = verdicts(make_run("cifar-plain20", 30, 31), make_run("cifar-plain56", 60, 62))["D1"].as_json()
    assert {"id", "statement", "verdict", "numbers"} <= found.keys()
    (number,) = found["numbers"]
    assert number["errors"] == [60.0, 30.0]
    assert number["n"] == [2000, 2000]
    assert number["interval"] == pytest.approx(list(difference(Count(1200, 2000), Count(600, 2000))))


def test_an_unfinished_run_is_refused(make_run: Maker) -> None:
    run = make_run("cifar-plain20", 30, 31)
    (run.path / "result.json").unlink()
    with pytest.raises(RunError, match="is not finished: step 200 of 200"):
        finished([run])
