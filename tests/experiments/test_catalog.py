from typing import Any

import pytest

from reslab.core.errors import SpecError
from reslab.core.experiment import DataName, Optimizer
from reslab.experiments.catalog import REPRODUCTIONS, Reproduction, as_published, find_reproduction
from reslab.experiments.names import parse_name
from reslab.experiments.recipes import (
    DEFAULT_RECIPES,
    RECIPES,
    cifar_paper,
    named_recipe,
    short,
    usual_recipe,
    with_optimizer,
)


def test_an_unknown_experiment_is_answered_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=r"unknown experiment 'degredation'; did you mean 'degradation'\? \(choose"):
        find_reproduction("degredation", "embedded")


def test_an_unknown_scale_is_answered_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=r"unknown scale of degradation 'huge' \(choose from: embedded, cifar\)"):
        find_reproduction("degradation", "huge")


def test_the_embedded_degradation_trains_four_networks_at_half_width() -> None:
    experiments = find_reproduction("degradation", "embedded").experiments([0])
    assert [experiment.model.name for experiment in experiments] == [
        "cifar-plain20",
        "cifar-plain56",
        "cifar-resnet20",
        "cifar-resnet56",
    ]
    assert {experiment.model.width for experiment in experiments} == {8}
    assert {experiment.data for experiment in experiments} == {"embedded"}
    assert len({experiment.digest() for experiment in experiments}) == 4


def test_at_the_scale_of_the_paper_eight_networks_are_trained_as_in_section_4_2() -> None:
    experiments = find_reproduction("degradation", "cifar").experiments([0])
    assert sorted(experiment.model.name for experiment in experiments) == sorted(
        f"cifar-{kind}{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56)
    )
    assert {experiment.recipe for experiment in experiments} == {cifar_paper()}
    assert {experiment.model.width for experiment in experiments} == {None}


def test_seeds_are_outermost() -> None:
    experiments = find_reproduction("degradation", "embedded").experiments([3, 1])
    assert [experiment.seed for experiment in experiments] == [3] * 4 + [1] * 4
    assert [one.model for one in experiments[:4]] == [one.model for one in experiments[4:]]


def test_only_some_of_the_networks_can_be_chosen_and_keep_their_order() -> None:
    found = find_reproduction("degradation", "embedded")
    chosen = found.experiments([0], only=["cifar-resnet56", "cifar-plain20"])
    assert [experiment.model.name for experiment in chosen] == ["cifar-plain20", "cifar-resnet56"]


def test_a_network_that_is_not_part_of_it_is_refused() -> None:
    found = find_reproduction("degradation", "embedded")
    with pytest.raises(SpecError, match=r"network of degradation 'cifar-plain32'; .*choose from: cifar-plain20"):
        found.experiments([0], only=["cifar-plain20", "cifar-plain32"])


@pytest.mark.parametrize("found", [one for scales in REPRODUCTIONS.values() for one in scales.values()])
def test_every_reproduction_names_networks_that_exist(found: Reproduction) -> None:
    assert all(parse_name(model).family == "cifar" for model in found.models)
    assert found.shows
    assert found.source
    assert found.cost


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=r"unknown recipe 'cifars-paper'; did you mean 'cifar-paper'\?.*short"):
        named_recipe("cifars-paper")


def test_recipes_by_name_are_the_papers_with_what_they_say() -> None:
    assert named_recipe("cifar-paper") == cifar_paper()
    assert named_recipe("short") == short()
    warm = named_recipe("cifar-paper-warm-up").schedule.warm_up
    assert warm is not None
    assert (warm.lr, warm.until_error) == (0.01, 80.0)
    assert set(DEFAULT_RECIPES.values()) <= set(RECIPES)


def test_only_settings_of_the_optimizer_that_were_given_are_laid_over() -> None:
    base = cifar_paper().but({"optim": {"weight_decay": 0.5}})
    assert with_optimizer(base, Optimizer(lr=0.3)).optim == Optimizer(lr=0.3, weight_decay=0.5)


def test_table_6_trains_the_networks_of_section_4_2_and_the_deepest_last() -> None:
    experiments = find_reproduction("table6", None).experiments([0])
    names = [experiment.model.name for experiment in experiments]
    depths = {kind: [int(n.rpartition(kind)[2]) for n in names if kind in n] for kind in ("plain", "resnet")}
    assert depths == {"plain": [20, 32, 44, 56, 110], "resnet": [20, 32, 44, 56, 110, 1202]}
    assert names[-1] == "cifar-resnet1202"
    assert {experiment.data for experiment in experiments} == {"cifar10"}


def test_resnet_110_and_1202_warm_up_and_no_other_network_does() -> None:
    experiments = find_reproduction("table6", "cifar").experiments([0])
    warm = {one.model.name: one.recipe.schedule.warm_up for one in experiments if one.recipe.schedule.warm_up}
    assert set(warm) == {"cifar-resnet110", "cifar-resnet1202"}
    assert {(rule.lr, rule.until_error) for rule in warm.values()} == {(0.01, 80.0)}
    rest = {one.recipe.but({"schedule": {"warm_up": None}}) for one in experiments}
    assert rest == {cifar_paper()}


@pytest.mark.parametrize("name", ["table6", "figure6", "figure7"])
def test_what_section_4_2_shows_is_made_of_the_same_runs(name: str) -> None:
    whole = {one.digest() for one in find_reproduction("table6", None).experiments([0, 1])}
    found = find_reproduction(name, None)
    assert {one.digest() for one in found.experiments([0, 1])} <= whole
    assert found.home == "table6"


def test_every_run_of_table_6_is_as_published_whatever_its_seed_and_precision() -> None:
    for experiment in find_reproduction("table6", None).experiments([0, 7]):
        assert as_published(experiment)
        assert as_published(experiment.but({"recipe": {"precision": "bf16", "evaluate_every": 500, "log_every": 1}}))


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {"steps": 63_999}},
        {"recipe": {"validation": 5_000}},
        {"recipe": {"bn_group": 128}},
        {"recipe": {"schedule": {"warm_up": {}}}},
        {"recipe": {"optim": {"decay": "all"}}},
        {"model": {"width": 8}},
        {"model": {"shortcut": "B"}},
        {"model": {"name": "cifar-resnet26"}},
        {"data": "cifar100"},
        {"start": {"weights": "0" * 64}},
    ],
)
def test_a_run_that_differs_anywhere_is_not_as_published(changes: dict[str, Any]) -> None:
    (experiment,) = find_reproduction("table6", None).experiments([0], ["cifar-resnet20"])
    assert not as_published(experiment.but(changes))


def test_without_a_scale_the_smallest_is_meant() -> None:
    assert find_reproduction("degradation", None) is find_reproduction("degradation", "embedded")


@pytest.mark.parametrize(
    ("model", "data", "name"),
    [
        ("cifar-resnet110", "cifar10", "cifar-paper-warm-up"),
        ("cifar-resnet1202", "cifar100", "cifar-paper-warm-up"),
        ("cifar-plain110", "cifar10", "cifar-paper"),
        ("cifar-resnet56", "cifar10", "cifar-paper"),
        (None, "cifar10", "cifar-paper"),
        ("cifar-resnet110", "embedded", "short"),
    ],
)
def test_the_usual_recipe_warms_up_the_networks_that_the_paper_warms_up(
    model: str | None, data: DataName, name: str
) -> None:
    assert usual_recipe(data, model) == name
