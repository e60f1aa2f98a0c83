from collections.abc import Callable
from typing import Any

import pytest

from reslab.core.experiment import Recipe
from reslab.core.rundir import RunDirectory
from reslab.experiments.catalog import TABLE6
from reslab.report.finished import finished
from reslab.report.table6 import Table6, table6_of
from reslab.report.table6_line import Line

Maker = Callable[..., RunDirectory]
SHORT = Recipe(steps=200, evaluate_every=50, log_every=50)


def table(*runs: RunDirectory) -> Table6:
    found = table6_of(finished(runs))
    assert found is not None
    return found


def lines(title: str, *runs: RunDirectory) -> list[Line]:
    found = table(*runs)
    return [line for line in (*found.rows, *found.plain) if line.title == title]


def test_every_row_of_the_paper_is_there_in_its_order(make_published: Maker) -> None:
    cells = [line.cells for line in table(make_published("cifar-resnet20", 8.8, 0.8)).rows]
    assert [row[:4] for row in cells] == [
        ("Maxout", "-", "-", "9.38"),
        ("NIN", "-", "-", "8.81"),
        ("DSN", "-", "-", "8.22"),
        ("FitNet", "19", "2.5M", "8.39"),
        ("Highway", "19", "2.3M", "7.54 (7.72±0.16)"),
        ("Highway", "32", "1.25M", "8.80"),
        ("ResNet-20", "20", "0.27M (269,722)", "8.75"),
        ("ResNet-32", "32", "0.46M (464,154)", "7.51"),
        ("ResNet-44", "44", "0.66M (658,586)", "7.17"),
        ("ResNet-56", "56", "0.85M (853,018)", "6.97"),
        ("ResNet-110", "110", "1.7M (1,727,962)", "6.43 (6.61±0.16)"),
        ("ResNet-1202", "1202", "19.4M (19,421,274)", "7.93"),
    ]
    assert [row[6] for row in cells] == ["cited"] * 6 + ["within 0.5 of 8.75"] + ["not run"] * 5
    assert cells[6][4:6] == ("8.80 [8.26, 9.37] n=10,000", "1")
    assert {row[4:6] for i, row in enumerate(cells) if i != 6} == {("-", "-")}


@pytest.mark.parametrize(
    ("model", "error", "verdict"),
    [
        ("cifar-resnet20", 9.25, "within 0.5 of 8.75"),
        ("cifar-resnet20", 9.26, "outside 0.5 of 8.75"),
        ("cifar-resnet20", 8.24, "outside 0.5 of 8.75"),
        ("cifar-resnet32", 8.01, "within 0.5 of 7.51"),
        ("cifar-resnet110", 7.11, "within 0.5 of 6.61"),
        ("cifar-resnet110", 7.12, "outside 0.5 of 6.61"),
    ],
)
def test_one_run_is_judged_by_half_a_point(make_published: Maker, model: str, error: float, verdict: str) -> None:
    title = model.replace("cifar-resnet", "ResNet-")
    assert [line.verdict for line in lines(title, make_published(model, error, 0.1))] == [verdict]


@pytest.mark.parametrize(
    ("errors", "ours", "verdict"),
    [
        ((8.6, 9.0), "best 8.60 (mean 8.80 ± 0.28) n=10,000 each", "within 0.5 of 8.75"),
        ((8.2, 9.2, 9.8, 9.9), "best 8.20 (mean 9.28 ± 0.78) n=10,000 each", "outside 0.5 of 8.75"),
        ((8.5, 8.6, 9.0, 9.0, 9.0), "best 8.50 (mean 8.82 ± 0.25) n=10,000 each", "within 0.3 of 8.75"),
        ((8.7, 9.1, 9.2, 9.2, 9.2), "best 8.70 (mean 9.08 ± 0.22) n=10,000 each", "outside 0.3 of 8.75"),
    ],
)
def test_of_several_runs_the_mean_is_judged_and_the_best_is_labelled(
    make_published: Maker, errors: tuple[float, ...], ours: str, verdict: str
) -> None:
    runs = [make_published("cifar-resnet20", error, 0.8, seed=seed) for seed, error in enumerate(errors)]
    (line,) = lines("ResNet-20", *runs)
    assert line.cells[4:] == (ours, str(len(errors)), verdict)


@pytest.mark.parametrize(("middle", "verdict"), [(6.91, "within 0.3 of 6.61"), (6.92, "outside 0.3 of 6.61")])
def test_five_runs_of_resnet_110_are_judged_by_the_papers_mean(
    make_published: Maker, middle: float, verdict: str
) -> None:
    errors = (middle - 0.2, middle - 0.1, middle, middle + 0.1, middle + 0.2)
    runs = [make_published("cifar-resnet110", round(error, 2), 0, seed=seed) for seed, error in enumerate(errors)]
    assert [line.verdict for line in lines("ResNet-110", *runs)] == [verdict]
    assert lines("ResNet-110", *runs[:4])[0].verdict == "within 0.5 of 6.61"


@pytest.mark.parametrize(
    ("recipe", "choices", "departs"),
    [
        (SHORT, {}, "steps 200, evaluate every 50"),
        (TABLE6.recipe, {"width": 8}, "width 8"),
        (TABLE6.recipe, {"shortcut": "B"}, "shortcut B"),
        (TABLE6.recipe.but({"validation": 1000}), {}, "validation 1,000"),
        (TABLE6.recipe.but({"optim": {"lr": 0.05}, "bn_group": 128}), {}, "bn group 128, lr 0.05"),
        (TABLE6.recipe.but({"schedule": {"drops": [0.5, 0.8]}}), {}, "drops 0.5 and 0.8"),
        (TABLE6.recipe.but({"schedule": {"warm_up": {}}}), {}, "warm up set"),
    ],
)
def test_what_is_not_as_published_gives_its_number_and_says_why(
    make_run: Maker, recipe: Recipe, choices: dict[str, Any], departs: str
) -> None:
    run = make_run("cifar-resnet20", 8.75, 1, data="cifar10", n=10_000, recipe=recipe, **choices)
    (line,) = lines("ResNet-20", run)
    assert line.verdict == "not the paper's schedule"
    assert line.cells[6] == f"not the paper's schedule: {departs}"
    assert line.cells[4].startswith("8.75 [")
    assert line.cells[2] == "68,050"
    assert line.tolerance is None


def test_resnet_110_without_warm_up_is_not_as_published(make_run: Maker) -> None:
    run = make_run("cifar-resnet110", 6.5, 1, data="cifar10", n=10_000, recipe=TABLE6.recipe)
    assert lines("ResNet-110", run)[0].cells[6] == "not the paper's schedule: warm up none"


def of_precisions(make_run: Maker, *seeds: int) -> list[RunDirectory]:
    recipes = (TABLE6.recipe.but({"precision": precision}) for precision in ("fp32", "bf16"))
    pairs = zip(recipes, seeds, strict=True)
    many = {"data": "cifar10", "n": 10_000}
    return [make_run("cifar-resnet20", 8.75, 1, recipe=recipe, seed=seed, **many) for recipe, seed in pairs]


def test_precision_is_no_departure(make_run: Maker) -> None:
    (line,) = lines("ResNet-20", *of_precisions(make_run, 0, 1))
    assert (len(line.runs), line.verdict) == (2, "within 0.5 of 8.75")


def test_two_runs_of_one_seed_are_not_judged_as_two(make_run: Maker) -> None:
    (line,) = lines("ResNet-20", *of_precisions(make_run, 3, 3))
    assert (line.verdict, line.tolerance) == ("not judged: seed 3 is there more than once", None)


def test_a_run_on_45_000_pictures_is_judged_in_a_row_of_its_own(make_run: Maker, make_published: Maker) -> None:
    split = TABLE6.recipe.but({"validation": 5000})
    run = make_run("cifar-resnet20", 9.3, 1, data="cifar10", n=10_000, recipe=split)
    whole, held_out = lines("ResNet-20", run, make_published("cifar-resnet20", 8.8, 0.8))
    assert (len(whole.runs), whole.verdict) == (1, "within 0.5 of 8.75")
    assert (len(held_out.runs), held_out.cells[6]) == (1, "outside 0.5 of 8.75: validation 5,000")


def test_runs_as_published_and_others_do_not_share_a_row(make_published: Maker, make_run: Maker) -> None:
    short = [make_run("cifar-resnet20", 40, 40, data="cifar10", recipe=SHORT, seed=seed) for seed in (0, 1)]
    first, second = lines("ResNet-20", *short, make_published("cifar-resnet20", 8.75, 0.8))
    assert (len(first.runs), first.verdict) == (1, "within 0.5 of 8.75")
    assert (len(second.runs), second.verdict) == (2, "not the paper's schedule")


def test_plain_networks_stand_below_beside_readings_and_are_not_judged(make_published: Maker) -> None:
    found = table(make_published("cifar-plain56", 13.1, 5.5))
    assert [line.cells[:4] for line in found.plain] == [
        ("plain-20", "20", "269,722", "9.7 ± 0.3"),
        ("plain-32", "32", "464,154", "10.1 ± 0.3"),
        ("plain-44", "44", "658,586", "11.4 ± 0.3"),
        ("plain-56", "56", "853,018", "13.3 ± 0.3"),
        ("plain-110", "110", "1,727,962", "above 60"),
    ]
    assert [line.verdict for line in found.plain] == ["not run"] * 3 + ["no published number", "not run"]
    assert found.plain[3].cells[4] == "13.10 [12.45, 13.78] n=10,000"


def test_bottlenecks_fill_no_row(make_run: Maker) -> None:
    found = table(make_run("cifar-bottleneck56", 7, 1, data="cifar10"))
    assert {line.verdict for line in found.rows} == {"cited", "not run"}


def test_other_pictures_have_no_table_6(make_run: Maker) -> None:
    assert table6_of(finished([make_run("cifar-resnet20", 8.75, 1)])) is None


def test_json_has_plain_values(make_published: Maker) -> None:
    runs = [make_published("cifar-resnet110", error, 0, seed=seed) for seed, error in enumerate((6.5, 6.7))]
    found = table(*runs).as_json()
    assert [len(found[part]) for part in ("rows", "plain")] == [12, 5]
    row = found["rows"][10]
    assert row["std"] == pytest.approx(0.1414, abs=1e-4)
    assert row | {"std": None} == {
        "method": "ResNet",
        "layers": 110,
        "parameters": 1_727_962,
        "parameters_printed": "1.7M",
        "paper_error": 6.43,
        "paper_mean": 6.61,
        "paper_std": 0.16,
        "figure6_reading": None,
        "runs": 2,
        "n": [10_000],
        "errors": [6.5, 6.7],
        "mean": pytest.approx(6.6),
        "std": None,
        "best": 6.5,
        "tolerance": 0.5,
        "verdict": "within 0.5 of 6.61",
        "departs": None,
    }
    assert found["plain"][0]["figure6_reading"] == 9.7


def test_the_note_says_whose_the_tolerance_is(make_published: Maker) -> None:
    first, second = table(make_published("cifar-resnet20", 8.8, 0.8)).tables
    assert first.note.startswith("Suggested tolerance: ±0.5 on a single run")
    assert "It is ours, not the paper's" in first.note
    assert "no published numbers" in second.note
    assert {len(row) for part in (first, second) for row in part.rows} == {len(first.headings), len(second.headings)}
