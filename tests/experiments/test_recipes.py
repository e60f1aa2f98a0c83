"""Every recipe runs, and says what it is expected to give, what it costs and how it is run."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reslab.core.errors import SpecError
from reslab.core.experiment import Experiment, ModelSpec
from reslab.core.units import duration_text
from reslab.data.halves import OFFICIAL
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify
from reslab.experiments.ready import cautions
from reslab.experiments.recipes import RECIPES, about_recipe, named_recipe, paper, paper_plateau
from reslab.experiments.weights import read_weights
from reslab.training.schedule import learning_rate

PICTURES = {"IMAGENET": OFFICIAL["train"], "CIFAR10": 50_000, "embedded": 12_000}
FEW = {"steps": 2, "batch": 4, "bn_group": 2, "log_every": 1, "evaluate_every": 2, "precision": "fp32"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_for_two_steps(
    name: str, carry_out: Callable[..., Outcome], train_on: Callable[..., Outcome], photos: Path, tmp_path: Path
) -> None:
    recipe = named_recipe(name)
    recipe = recipe.but({**FEW, "bn_average": 4 if recipe.bn_average else 0})
    if recipe.photographs is None:
        model = ModelSpec(name="cifar-resnet8", width=4)
        outcome = carry_out(tmp_path / "run", Experiment(model=model, data="embedded", recipe=recipe))
    else:
        model = ModelSpec(name="resnet18", width=16)
        outcome = train_on(photos, tmp_path / "run", Experiment(model=model, data="folder", recipe=recipe))
    assert outcome.result is not None
    assert (outcome.step, outcome.result["steps"]) == (2, 2)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_it_gives_costs_and_how_it_is_run(name: str) -> None:
    about = about_recipe(name)
    assert about.summary.endswith(".")
    assert about.expectation.endswith(".")
    assert about.cost.endswith(".")
    assert re.fullmatch(r"reslab train .* --out RUN", about.command)
    lines = about.text.splitlines()
    assert [line.partition(":")[0] for line in lines[2:]] == ["Expected", "Cost", "Command"]
    assert (lines[0], lines[1]) == (about.summary, "")


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_costs_is_what_it_asks_for(name: str) -> None:
    about, recipe = about_recipe(name), named_recipe(name)
    pictures = recipe.steps * recipe.batch
    assert about.cost.startswith(f"{pictures:,} pictures")
    for epochs in re.findall(r"([\d.]+) epochs", about.cost):
        (of,) = [count for data, count in PICTURES.items() if f"--data {data}" in about.command]
        assert float(epochs) == round(pictures / of, 1)
    for duration, rate in re.findall(r"(\d+ h \d+ min)\s+at ([\d,]+)\s+images/s", about.cost):
        assert duration == duration_text(pictures / int(rate.replace(",", "")))


def test_the_papers_rate_drops_at_150k_and_300k() -> None:
    steps = (0, 149_999, 150_000, 299_999, 300_000, 599_999)
    assert [learning_rate(paper(), step, None) for step in steps] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_with_plateaus_nothing_but_they_divides_the_rate() -> None:
    assert {learning_rate(paper_plateau(), step, None) for step in range(0, 600_000, 1_000)} == {0.1}


def test_an_unknown_recipe_has_nothing_said_about_it() -> None:
    with pytest.raises(SpecError, match=r"unknown recipe 'papr'; did you mean 'paper'\?"):
        about_recipe("papr")


FIRST = {"steps": 4, "batch": 16, "bn_group": 8}


@pytest.mark.parametrize(
    ("recipe", "changes", "line"),
    [
        ("paper", FIRST, "averaged over 51,200 pictures after training on 64: --bn-average takes fewer"),
        ("paper-plateau", {"steps": 20_000}, "never be divided: a plateau takes 20,000 steps to be known, and there"),
        ("fast", {"photographs": {"contract": {"crop": 128}}}, "crops of 160 to 192 pixels and testing of 128"),
    ],
)
def test_what_is_hardly_meant_is_said(recipe: str, changes: dict[str, Any], line: str) -> None:
    (told,) = cautions(named_recipe(recipe).but(changes))
    assert line in told


def test_of_the_recipes_as_they_are_and_where_a_plateau_just_fits_nothing_is_said() -> None:
    assert [line for name in RECIPES for line in cautions(named_recipe(name))] == []
    assert cautions(paper_plateau().but({"steps": 20_001})) == []


def test_a_caution_is_heard_when_a_run_begins(carry_out: Callable[..., Outcome], tmp_path: Path) -> None:
    heard: list[str] = []
    notify = type("Heard", (Notify,), {"warned": lambda _, text: heard.append(text)})()
    recipe = named_recipe("short").but({**FEW, "bn_average": 64})
    model = ModelSpec(name="cifar-resnet8", width=4)
    carry_out(tmp_path / "run", Experiment(model=model, data="embedded", recipe=recipe), notify)
    assert [line for line in heard if "will be averaged over 64 pictures" in line]


def test_weights_whose_statistics_are_still_to_be_averaged_are_said_to_be(
    carry_out: Callable[..., Outcome], tmp_path: Path
) -> None:
    recipe = named_recipe("short").but({**FEW, "bn_average": 4})
    experiment = Experiment(model=ModelSpec(name="cifar-resnet8", width=4), data="embedded", recipe=recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.experiments.averaging.recompute", interrupt)
        with pytest.raises(KeyboardInterrupt):
            carry_out(tmp_path / "run", experiment)
    told: list[str] = []
    read_weights(tmp_path / "run", told.append)
    carry_out(tmp_path / "run", experiment, resume=True)
    read_weights(tmp_path / "run", told.append)
    assert [line.partition(": ")[2] for line in told] == [
        "its batch statistics are moving averages, not yet those that its recipe asks for"
    ]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
