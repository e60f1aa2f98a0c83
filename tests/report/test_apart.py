import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reslab.cli.report import claims, report
from reslab.core.experiment import Photographs, Recipe, Start
from reslab.core.files import write_json
from reslab.core.rundir import RunDirectory
from reslab.core.spec import flat
from reslab.report.apart import told_apart
from reslab.report.departures import word
from reslab.report.figure import training_curves
from reslab.report.finished import FinishedRun, finished
from reslab.report.how_trained import how_trained
from reslab.report.page import write_report
from reslab.report.table import rows_of

Maker = Callable[..., RunDirectory]
RECIPE = Recipe(steps=200, evaluate_every=50, log_every=50)
SETTING = "dogs, 20 steps of 32"


def photographs(**changes: Any) -> dict[str, Any]:
    recipe = Recipe(photographs=Photographs().but(changes))
    return flat({"recipe": recipe.model_dump(mode="json")})


def names(runs: list[FinishedRun]) -> list[tuple[str, str]]:
    return [(row.cells[0], row.cells[1]) for row in rows_of(runs)]


def test_names_that_are_not_shared_stay_as_they_are() -> None:
    assert told_apart(["a", "b"], [photographs(), photographs(contract={"crop": 192})]) == ["", ""]
    assert told_apart(["a", "a"], [photographs(), photographs()]) == ["", ""]
    assert told_apart([], []) == []


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({}, {"contract": {"crop": 192}}, ("crop 224", "crop 192")),
        ({}, {"contract": {"resample": "bicubic"}}, ("resample bilinear", "resample bicubic")),
        ({}, {"progressive": {"sides": [128, 224]}}, ("progressive none", "progressive set")),
        (
            {"area": {}},
            {"area": {"share": [0.35, 1]}},
            ("area share 0.08 and 1", "area share 0.35 and 1"),
        ),
        (
            {"colour": {"measured_on": "ab" * 32}},
            {"colour": {"measured_on": "cd" * 32}},
            ("colour measured on abababababab", "colour measured on cdcdcdcdcdcd"),
        ),
        (
            {},
            {"contract": {"crop": 192, "shorter_side": 224}, "flip": False, "scale": [224, 300]},
            (
                "shorter side 256, crop 224, scale 256 and 480 and 1 more",
                "shorter side 224, crop 192, scale 224 and 300 and 1 more",
            ),
        ),
    ],
)
def test_equal_names_are_told_apart_by_the_settings_that_differ(
    first: dict[str, Any], second: dict[str, Any], said: tuple[str, str]
) -> None:
    assert tuple(told_apart(["a", "a"], [photographs(**first), photographs(**second)])) == said


def test_as_many_settings_are_named_as_it_takes_to_tell_all_apart() -> None:
    least = {f"s{number}": 0 for number in range(9)}
    told = told_apart(["a"] * 10, [least, *({**least, f"s{number}": 1} for number in range(9))])
    assert len(set(told)) == 10
    assert told[0] == ", ".join(f"s{number} 0" for number in range(9))
    known, others = {"s0": 0, "s1": 0, "s2": 0, "s3": 0, "s4": 0}, {"s0": 1, "s1": 1, "s2": 1, "s3": 1, "s4": 0}
    told = told_apart(["a"] * 3, [known, others, {**others, "s4": 1}])
    assert told == [f"s0 {a}, s4 {b}, s1 {a} and 2 more" for a, b in ((0, 0), (1, 0), (1, 1))]


def test_of_a_part_that_some_have_not_those_that_have_it_are_told_apart() -> None:
    told = told_apart(["a"] * 3, [photographs(), *(photographs(area={"share": [low, 1]}) for low in (0.1, 0.2))])
    assert told == ["area none", "area set, area share 0.1 and 1", "area set, area share 0.2 and 1"]


def test_a_value_is_a_word() -> None:
    values = (None, 64_000, 0.1, 4 / 3, True, "all", "ab" * 32, [0.5, 3 / 4], {"lr": 1})
    said = ("none", "64,000", "0.1", "1.33333", "True", "all", "ab" * 6, "0.5 and 0.75", "set")
    assert tuple(map(word, values)) == said


@pytest.fixture
def make_dogs(make_photo_run: Maker) -> Maker:
    """A run on photographs with these settings of them."""

    def make(name: str, *, seed: int = 0, start: Start | None = None, **changes: Any) -> RunDirectory:
        recipe = {"photographs": changes}
        return make_photo_run(
            (0, 1), (0, 1), (0.9, 0.8), ("ash", "birch"), name=name, recipe=recipe, seed=seed, start=start
        )

    return make


@pytest.fixture
def crops(make_dogs: Maker) -> list[RunDirectory]:
    """Two seeds of one crop, and a run of another."""
    return [make_dogs("a"), make_dogs("b", seed=1), make_dogs("c", contract={"crop": 192})]


def test_runs_of_other_crops_have_other_settings_and_seeds_the_same(crops: list[RunDirectory]) -> None:
    runs = {Path(run.directory).name: run for run in finished(crops)}
    assert runs["a"].setting == runs["b"].setting == f"{SETTING}, crop 224"
    assert runs["c"].setting == f"{SETTING}, crop 192"
    assert {run.called for run in runs.values()} == {"ResNet-18"}
    assert {run.setting for run in finished(crops[:2])} == {SETTING}


@pytest.mark.usefixtures("unpainted", "crops")
def test_tables_and_verdicts_say_which_crops_they_are_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {f"{SETTING}, crop {side}" for side in (192, 224)}
    report(tmp_path, out=tmp_path / "page.html")
    lines = capsys.readouterr().out.splitlines()
    assert {line.strip() for line in lines if line.startswith(SETTING)} == wanted
    page, markdown = ((tmp_path / name).read_text() for name in ("page.html", "page.md"))
    assert all(page.count(f"<h2>{setting}</h2>") == markdown.count(f"## {setting}\n") == 1 for setting in wanted)
    claims(tmp_path, json=True)
    assert {verdict["setting"] for verdict in json.loads(capsys.readouterr().out)} == wanted


def test_runs_that_began_from_other_weights_and_on_other_pictures_are_told_apart(make_dogs: Maker) -> None:
    runs = [make_dogs(name, start=Start(weights=name * 64)) for name in "ab"]
    began = [f"{SETTING}, from trained weights, start weights {name * 12}" for name in "ab"]
    assert sorted(run.setting for run in finished(runs)) == began
    same = [make_dogs(name, seed=number) for number, name in enumerate("cd")]
    write_json(same[1].path / "environment.json", {"data": {"name": "dogs", "train": "3" * 64, "val": "2" * 64}})
    pictures = [f"{SETTING}, training pictures {digit * 12}" for digit in "13"]
    assert sorted(run.setting for run in finished(same)) == pictures


def test_networks_of_other_shortcuts_are_no_seeds_of_one(make_run: Maker) -> None:
    choices = [(shortcut, seed) for shortcut in (None, "B") for seed in (0, 1)]
    runs = finished(
        [make_run("cifar-resnet20", 30 + seed, 31, shortcut=shortcut, seed=seed) for shortcut, seed in choices]
    )
    rows = set(names(runs))
    assert rows == {(f"ResNet-20 (shortcut {kind})", seed) for kind in "AB" for seed in ("0", "1", "2 seeds")}


def test_their_curves_have_names_and_colours_of_their_own(make_run: Maker) -> None:
    choices = [("A", 0), ("B", 0), ("B", 1), ("C", 0)]
    runs = finished([make_run("cifar-resnet20", 30, 31, shortcut=shortcut, seed=seed) for shortcut, seed in choices])
    (panel,) = training_curves(runs).axes
    texts = {text.get_text(): text.get_color() for text in panel.texts}
    assert set(texts) == {f"ResNet-20 (shortcut {kind})" for kind in "ABC"}
    assert len(set(texts.values())) == 3
    assert {line.get_color() for line in panel.lines if line.get_linewidth() == 2.4} == set(texts.values())


def test_a_network_that_was_warmed_up_in_some_runs_is_told_apart(make_run: Maker) -> None:
    warm = RECIPE.but({"schedule": {"warm_up": {}}})
    runs = finished([make_run("cifar-resnet110", 30, 31, recipe=recipe) for recipe in (RECIPE, warm)])
    assert set(names(runs)) == {("ResNet-110 (warm up none)", "0"), ("ResNet-110 (warm up set)", "0")}
    assert "warm-up of ResNet-110 (warm up set) alone" in how_trained(runs)


@pytest.fixture
def warm_and_cold(make_photo_run: Maker) -> list[RunDirectory]:
    """Two runs that a page has to say everything of, the first with a warm-up, the second on another processor."""
    paired = {"difference": 50.0, "interval": [-50.0, 100.0], "p_value": 1.0}
    result = {"replaced": 3, "bn_average": {"pictures": 64, "hits_before": 1, "n": 2, "paired": paired}}
    runs = [
        make_photo_run(
            (0, 1), (0, 1), (0.9, 0.8), ("ash", "birch"), name=name, recipe={"schedule": changes}, result=result
        )
        for name, changes in (("warm", {"warm_up": {}}), ("cold", {}))
    ]
    runs[1].write("environment.json", {**(runs[1].environment() or {}), "processor": "q"})
    return runs


@pytest.mark.usefixtures("unpainted")
def test_the_page_says_everywhere_which_of_them_it_speaks_of(warm_and_cold: list[RunDirectory], tmp_path: Path) -> None:
    page = write_report(finished(warm_and_cold), tmp_path / "page.html").html.read_text()
    for name in ("ResNet-18 (warm up set)", "ResNet-18 (warm up none)"):
        assert page.count(f'<td class="number">{name}</td>') == 3, "results, batch statistics, classes"
        assert f"<h2>Errors to look at: {name}, seed 0</h2>" in page
        assert f"{name}, seed 0: test error" in page
        assert f"{name}, seed 0: in 3 of 704 training samples" in page
        assert f"{name}, seed 0: reslab 0; torch 2" in page


@pytest.mark.usefixtures("unpainted")
def test_of_which_of_them_the_scores_are_gone_is_said(warm_and_cold: list[RunDirectory], tmp_path: Path) -> None:
    protocol = warm_and_cold[0].scores / "center-val" / "protocol.json"
    write_json(protocol, {**json.loads(protocol.read_text()), "data": {"name": "others", "digest": "3" * 64}})
    page = write_report(finished(warm_and_cold), tmp_path / "page.html").html.read_text()
    assert "ResNet-18 (warm up set): its scores are now those of another test" in page
