import itertools
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reslab.core.errors import RunError
from reslab.core.experiment import Recipe
from reslab.core.intervals import Count, difference
from reslab.core.rundir import RunDirectory
from reslab.experiments.catalog import TABLE6
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import Verdict, judge
from reslab.report.finished import finished
from reslab.report.gathered import gather
from reslab.report.seeds import seeds_of

Maker = Callable[..., RunDirectory]
RECIPE = Recipe(steps=200, evaluate_every=50, log_every=50)


def verdicts(*runs: RunDirectory) -> dict[str, Verdict]:
    return {verdict.claim.identifier: verdict for verdict in judge(CIFAR_CLAIMS, finished(runs))}


def test_the_papers_finding_is_recognised(make_run: Maker) -> None:
    found = verdicts(
        make_run("cifar-plain20", 30, 31),
        make_run("cifar-plain56", 60, 62),
        make_run("cifar-resnet20", 29.5, 25, early=50),
        make_run("cifar-resnet56", 22, 20),
    )
    answers = {key: verdict.answer for key, verdict in found.items() if verdict.answer != "not tested"}
    assert answers == {"D1": "holds", "D2": "holds", "D3": "holds", "C7": "holds", "C8": "not separable"}
    assert [*found] == ["D1", "D2", "D3", "D4", "D5", "E1", "E2", "C7", "C8"]
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
    answers = {key: verdict.answer for key, verdict in found.items() if verdict.answer != "not tested"}
    assert answers == dict.fromkeys(("D1", "D2", "D3", "C7", "C8"), "fails")


def test_what_has_no_pair_is_not_tested(make_run: Maker) -> None:
    found = verdicts(make_run("cifar-plain20", 30, 31))
    assert {verdict.answer for verdict in found.values()} == {"not tested"}
    assert found["D1"].judged_on == "no networks that it speaks of"


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


def test_at_the_end_20_and_32_layers_are_both_compared_with_44(make_run: Maker) -> None:
    depths = {20: 31.0, 32: 25.0, 44: 40.0, 56: 50.0}
    found = verdicts(*(make_run(f"cifar-plain{depth}", 30, train) for depth, train in depths.items()))
    ends = [finding for finding in found["D2"].findings[0] if "at the end" in finding.text]
    pairs = [finding.text.partition(", ")[2] for finding in ends]
    assert pairs == ["plain-44 above plain-20", "plain-44 above plain-32", "plain-56 above plain-44"]
    assert {finding.answer for finding in ends} == {"holds"}
    assert found["D2"].answer == "fails"


def test_a_name_inside_a_longer_one_is_not_judged_on(make_run: Maker) -> None:
    runs = [make_run("cifar-resnet20", 30, 31), make_run("cifar-resnet32", 20, 21), make_run("cifar-resnet200", 10, 11)]
    assert verdicts(*runs[1:], make_run("cifar-resnet44", 10, 11))["D3"].judged_on == "ResNet-32, ResNet-44; seed 0"
    assert verdicts(*runs)["D3"].judged_on == "ResNet-20, ResNet-32; seed 0"


def test_networks_that_warm_up_are_compared_with_those_that_do_not(make_run: Maker) -> None:
    warm = RECIPE.but({"schedule": {"warm_up": {}}})
    runs = finished([make_run("cifar-resnet56", 30, 31), make_run("cifar-resnet110", 20, 21, recipe=warm)])
    assert len({run.comparable for run in runs}) == len({run.setting for run in runs}) == 1
    assert judge(CIFAR_CLAIMS, runs)[2].answer == "holds"


def test_of_two_runs_that_differ_in_warm_up_the_papers_is_judged(make_published: Maker, make_run: Maker) -> None:
    cold = make_run("cifar-resnet110", 20, 21, data="cifar10", n=10_000, recipe=TABLE6.how("cifar-resnet56"))
    warm, other = make_published("cifar-resnet110", 6.5, 0), make_published("cifar-resnet56", 7.5, 0)
    for order in ((cold, warm), (warm, cold)):
        (number, _) = verdicts(*order, other)["D3"].findings[0]
        assert number.numbers["errors"] == [7.5, 6.5]


@pytest.mark.parametrize("kinds", list(itertools.permutations((None, "B", "C"))))
def test_of_several_shortcuts_the_networks_own_is_judged_whatever_the_runs_are_called(
    make_run: Maker, tmp_path: Path, kinds: tuple[str | None, ...]
) -> None:
    errors = {None: 30.0, "B": 10.0, "C": 5.0}
    for number, kind in enumerate(kinds):
        make_run("cifar-resnet20", errors[kind], 31, shortcut=kind).path.rename(tmp_path / f"run{number}")
    make_run("cifar-resnet56", 22, 20)
    found = {verdict.claim.identifier: verdict for verdict in judge(CIFAR_CLAIMS, gather([tmp_path]).runs)}["D3"]
    assert found.findings[0][0].text == "test error, ResNet-20 (shortcut A) above ResNet-56"
    assert found.findings[0][0].numbers["errors"] == [30.0, 22.0]
    others = "ResNet-20 (shortcut B), ResNet-20 (shortcut C)"
    assert found.judged_on == f"ResNet-20 (shortcut A), ResNet-56; seed 0; not judged: {others}"


@pytest.mark.parametrize("kinds", [("B", "C"), ("C", "B")])
def test_without_the_networks_own_shortcut_the_order_of_settings_decides(
    make_run: Maker, kinds: tuple[str, str]
) -> None:
    runs = [make_run("cifar-resnet20", 30, 31, shortcut=kind) for kind in kinds]
    found = verdicts(*runs, make_run("cifar-resnet56", 22, 20))["D3"]
    assert found.judged_on == "ResNet-20 (shortcut B), ResNet-56; seed 0; not judged: ResNet-20 (shortcut C)"


def test_of_several_shortcuts_the_curve_is_the_same_in_whatever_order_runs_come(make_run: Maker) -> None:
    runs = [make_run("cifar-resnet20", 30, 31, shortcut=kind, seed=seed) for kind, seed in (("B", 0), (None, 1))]
    for order in (runs, runs[::-1]):
        (drawn,) = seeds_of(finished(order))["ResNet-20"]
        assert drawn.experiment.model.shortcut is None


def test_bottlenecks_are_not_compared_with_basic_blocks(make_run: Maker) -> None:
    basic, bottleneck = finished([make_run("cifar-resnet56", 30, 31), make_run("cifar-bottleneck56", 30, 31)])
    assert basic.comparable != bottleneck.comparable


def test_pictures_set_aside_are_another_setting_and_said(make_run: Maker) -> None:
    aside = make_run("cifar-resnet56", 30, 31, data="cifar10", recipe=RECIPE.but({"validation": 5000}))
    (run,) = finished([aside])
    assert run.setting == "CIFAR-10, 200 steps of 128, 5,000 training pictures set aside"


def test_a_run_given_twice_counts_once(make_run: Maker) -> None:
    run = make_run("cifar-plain20", 30, 31)
    assert len(finished([run, RunDirectory.open(run.path / ".." / run.path.name)])) == 1


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


def test_of_a_run_that_was_stopped_while_averaging_it_is_said_what_is_to_be_done(make_run: Maker) -> None:
    run = make_run("cifar-plain20", 30, 31, recipe=RECIPE.but({"bn_average": 500}))
    (run.path / "result.json").unlink()
    says = "is not finished: its batch statistics are still to be averaged, which train --resume does"
    with pytest.raises(RunError, match=re.escape(f"{run.path} {says}")):
        finished([run])
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.path / "metrics.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(RunError, match="is not finished: step 150 of 200"):
        finished([run])


def test_two_folders_of_one_experiment_are_no_two_seeds(make_run: Maker, tmp_path: Path) -> None:
    run = make_run("cifar-plain20", 9, 1)
    shutil.copytree(run.path, tmp_path / "copy")
    with pytest.raises(RunError, match=r"copy are one experiment, of one seed: take one of them"):
        finished([run, RunDirectory.open(tmp_path / "copy")])


def test_a_run_that_was_looked_at_more_often_is_no_other_seed(make_run: Maker) -> None:
    often = RECIPE.but({"evaluate_every": 10, "log_every": 10})
    with pytest.raises(RunError, match=r"are one experiment, of one seed: take one of them"):
        finished([make_run("cifar-plain20", 9, 1), make_run("cifar-plain20", 9, 1, recipe=often)])


@pytest.mark.parametrize(
    ("model", "spelled"),
    [
        ("cifar-resnet20", {"shortcut": "A"}),
        ("cifar-bottleneck29", {"shortcut": "B"}),
        ("cifar-plain20", {"shortcut": "none"}),
        ("cifar-resnet20", {"width": 16}),
    ],
)
def test_a_run_whose_defaults_are_spelled_out_is_no_other_seed(
    make_run: Maker, model: str, spelled: dict[str, Any]
) -> None:
    with pytest.raises(RunError, match=r"are one experiment, of one seed: take one of them"):
        finished([make_run(model, 9, 1), make_run(model, 9, 1, **spelled)])
    runs = finished([make_run(model, 9, 1), make_run(model, 9, 1, seed=1, **spelled)])
    assert len({(run.called, run.setting, run.comparable) for run in runs}) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"by_class": None}, "by_class: input should be a valid dictionary"),
        ({"by_class": {"cat": {"n": 5, "error": 101, "interval": [0, 1]}}}, "by_class.cat.error: input should be less"),
        ({"n": "many"}, "n: input should be a valid integer"),
        ({"seconds": None}, "seconds: input should be a valid number"),
        ({"multiply_adds": 0}, "multiply_adds: input should be greater than 0"),
    ],
)
def test_a_damaged_result_is_one_line(make_run: Maker, changes: dict[str, Any], says: str) -> None:
    run = make_run("cifar-plain20", 9, 1)
    run.write("result.json", {**(run.result() or {}), **changes})
    with pytest.raises(RunError, match=re.escape(f"{run.path / 'result.json'} is damaged: {says}")):
        finished([run])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"5", " is damaged at line 5"),
        (b'{"samples": 3}', " is damaged at line 5"),
        (b'{"step": 3}', " is damaged: loss: field required"),
        (b'{"step": 3, "loss": 1, "train_error": 1, "train_n": 10, "test_error": 5}', " is damaged: test_n: field"),
        (b"\xff\n\xff", " is damaged at line 5"),
    ],
)
def test_a_damaged_line_of_metrics_is_one_line(make_run: Maker, line: bytes, says: str) -> None:
    run = make_run("cifar-plain20", 9, 1)
    with (run.path / "metrics.jsonl").open("ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(RunError, match=re.escape(f"{run.path / 'metrics.jsonl'}{says}")):
        finished([run])
