import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.errors import SpecError
from reslab.core.experiment import Experiment, ModelSpec, Recipe, Schedule, WarmUp
from reslab.core.spec import read_toml

CALM = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
MINIMAL: dict[str, Any] = {"model": {"name": "cifar-resnet20"}, "data": "cifar10"}


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    group = draw(st.integers(1, 64))
    fractions = st.floats(0.01, 0.99).map(lambda fraction: round(fraction, 3))
    warm = {"lr": 0.01, "until_error": draw(st.sampled_from([80.0, 50.5])), "window": draw(st.integers(1, 9))}
    recipe = {
        "steps": draw(st.integers(1, 10**6)),
        "bn_group": group,
        "batch": group * draw(st.integers(1, 4)),
        "optim": {"lr": draw(st.floats(1e-6, 10)), "decay": draw(st.sampled_from(["conv_fc_weights", "all"]))},
        "schedule": {
            "drops": sorted(draw(st.sets(fractions, max_size=3))),
            "warm_up": draw(st.sampled_from([None, warm])),
        },
        "augment": {"pad": draw(st.integers(0, 8)), "flip": draw(st.booleans())},
    }
    model = {
        "name": draw(st.sampled_from(["cifar-resnet20", "resnet50", "Ö \N{SNOWMAN}"])),
        "shortcut": draw(st.sampled_from([None, "none", "A", "B", "C"])),
        "width": draw(st.none() | st.integers(1, 64)),
    }
    values = {"model": model, "data": "embedded", "recipe": recipe, "seed": draw(st.integers(0, 2**63 - 1))}
    return Experiment.parse(values)


@CALM
@given(experiments())
def test_canonical_json_round_trips(experiment: Experiment) -> None:
    again = Experiment.parse(json.loads(experiment.canonical_json()))
    assert again == experiment
    assert again.canonical_json() == experiment.canonical_json()


@CALM
@given(experiments(), experiments())
def test_digests_are_equal_exactly_when_the_experiments_are(first: Experiment, second: Experiment) -> None:
    assert (first == second) == (first.digest() == second.digest())
    assert first.digest() == first.but({}).digest()


@CALM
@given(experiments())
def test_a_digest_is_the_sha256_of_the_canonical_json(experiment: Experiment) -> None:
    assert experiment.digest() == hashlib.sha256(experiment.canonical_json().encode()).hexdigest()


@CALM
@given(experiments(), st.integers(0, 2**63 - 1))
def test_another_seed_is_another_digest(experiment: Experiment, seed: int) -> None:
    other = experiment.but({"seed": seed})
    assert (other.digest() == experiment.digest()) == (seed == experiment.seed)


def test_the_order_of_keys_does_not_matter() -> None:
    forth = Experiment.parse({"model": {"name": "x", "pool": "caffe"}, "data": "cifar10"})
    back = Experiment.parse({"data": "cifar10", "model": {"pool": "caffe", "name": "x"}})
    assert forth.digest() == back.digest()


def test_defaults_are_written_out_with_sorted_keys_and_no_spaces() -> None:
    text = Experiment.parse(MINIMAL).canonical_json()
    assert text.startswith(
        '{"data":"cifar10","model":{"bn_eps":1e-05,"name":"cifar-resnet20","pool":"pad1","shortcut":null,'
    )
    assert '"optim":{"decay":"conv_fc_weights","lr":0.1,"momentum":0.9,"weight_decay":0.0001}' in text
    assert " " not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sede": 1}, "unknown key 'sede'; did you mean 'seed'"),
        ({"recipe": {"optim": {"lrr": 1}}}, "unknown key 'recipe.optim.lrr'; did you mean 'recipe.optim.lr'"),
        (
            {"recipe": {"schedule": {"warm_up": {"until_err": 80}}}},
            "unknown key 'recipe.schedule.warm_up.until_err'; did you mean 'recipe.schedule.warm_up.until_error'",
        ),
        ({"model": {"widht": 3}}, r"unknown key 'model.widht'; did you mean 'model.width'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Experiment.parse(MINIMAL).but(changes)


def test_a_refusal_lists_the_keys_of_the_same_level() -> None:
    with pytest.raises(SpecError, match=r"choose from: recipe\.augment\.pad, recipe\.augment\.flip\)"):
        Experiment.parse(MINIMAL | {"recipe": {"augment": {"mirror": True}}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": "cifar10"}, "given.toml: model is missing"),
        ({"model": {}, "data": "cifar10"}, "given.toml: model.name is missing"),
        (
            MINIMAL | {"data": "mnist"},
            "given.toml: data is 'mnist': input should be 'embedded', 'cifar10', 'cifar100' or",
        ),
        (MINIMAL | {"recipe": {"steps": 0}}, "given.toml: recipe.steps is 0: input should be greater than 0"),
        (MINIMAL | {"recipe": {"optim": {"lr": float("nan")}}}, "given.toml: recipe.optim.lr is nan"),
        (MINIMAL | {"seed": 2**63}, "given.toml: seed is 9223372036854775808: input should be less than"),
        (MINIMAL | {"seed": -1}, "given.toml: seed is -1"),
    ],
)
def test_a_wrong_value_is_one_line_with_source_key_and_reason(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message) as refusal:
        Experiment.parse(values, source="given.toml")
    assert "\n" not in str(refusal.value)


def test_values_that_are_no_table_are_refused() -> None:
    with pytest.raises(SpecError, match=r"the spec: .*valid dictionary"):
        Experiment.parse([1])  # type: ignore[arg-type]


def test_but_changes_nested_keys_and_leaves_their_neighbours() -> None:
    before = Experiment.parse(MINIMAL | {"recipe": {"optim": {"momentum": 0.5}}})
    after = before.but({"recipe": {"optim": {"lr": 0.3}, "steps": 10}, "seed": 9})
    assert (after.recipe.optim.lr, after.recipe.optim.momentum) == (0.3, 0.5)
    assert (after.recipe.steps, after.seed) == (10, 9)
    assert (before.recipe.optim.lr, before.recipe.steps, before.seed) == (0.1, 64_000, 0)


def test_but_can_put_a_table_where_none_was_and_take_it_away() -> None:
    plain = Recipe()
    warm = plain.but({"schedule": {"warm_up": {"lr": 0.02}}})
    assert warm.schedule.warm_up == WarmUp(lr=0.02)
    assert warm.but({"schedule": {"warm_up": None}}) == plain


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().steps = 3  # type: ignore[misc]


def test_the_defaults_are_those_of_section_4_2() -> None:
    recipe = Recipe()
    assert (recipe.steps, recipe.batch, recipe.bn_group) == (64_000, 128, 64)
    assert (recipe.optim.lr, recipe.optim.momentum, recipe.optim.weight_decay) == (0.1, 0.9, 1e-4)
    assert (recipe.augment.pad, recipe.augment.flip, recipe.schedule.divide_by) == (4, True, 10.0)
    assert recipe.schedule.warm_up is None
    assert (WarmUp().lr, WarmUp().until_error) == (0.01, 80.0)
    assert ModelSpec(name="x").stride_on == "1x1"


def test_the_rate_drops_at_32k_and_48k_of_64k() -> None:
    assert Recipe().drop_steps() == (32_000, 48_000)


@CALM
@given(st.integers(1, 10**6))
def test_drop_steps_lie_within_half_a_step_of_their_fraction(steps: int) -> None:
    first, second = Recipe(steps=steps).drop_steps()
    assert abs(2 * first - steps) <= 1
    assert abs(4 * second - 3 * steps) <= 2


def test_a_bn_group_must_divide_the_batch() -> None:
    with pytest.raises(SpecError, match="the spec: bn_group 48 does not divide batch 128: no whole groups"):
        Recipe.parse({"bn_group": 48})
    with pytest.raises(SpecError, match="bn_group 64 does not divide batch 32"):
        Recipe().but({"batch": 32})


@pytest.mark.parametrize("drops", [[0.75, 0.5], [0.5, 0.5]])
def test_drops_must_rise(drops: list[float]) -> None:
    with pytest.raises(SpecError, match=r"schedule.drops must rise, not \[0\.\d+, 0\.5\]"):
        Schedule.parse({"drops": drops})


@pytest.mark.parametrize("fraction", [0, 1, 1.5])
def test_a_drop_lies_inside_the_run(fraction: float) -> None:
    with pytest.raises(SpecError, match=r"drops\.0 is "):
        Schedule.parse({"drops": [fraction]})


def test_toml_is_read(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('name = "Ö"\n[optim]\nlr = 0.2\n', encoding="utf-8")
    assert read_toml(file) == {"name": "Ö", "optim": {"lr": 0.2}}


def test_a_missing_toml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^cannot read .*absent\.toml: No such file or directory$"):
        read_toml(tmp_path / "absent.toml")


@pytest.mark.parametrize("content", [b"lr = = 1", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"bad\.toml is not TOML: "):
        read_toml(file)
