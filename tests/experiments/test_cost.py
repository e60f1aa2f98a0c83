import random
import time
from dataclasses import FrozenInstanceError
from itertools import count

import numpy as np
import pytest
import torch

from reslab.core.errors import SpecError
from reslab.core.experiment import DataName, Experiment, ModelSpec, Photographs, Recipe
from reslab.data.source import load
from reslab.experiments import cost
from reslab.experiments.cost import SETS, Estimate, Speed, estimate, forward_cost, remaining_tests, seconds_left
from reslab.experiments.networks import blueprint
from reslab.models.sizes import size_of

CPU = torch.device("cpu")
SMALL = Recipe(steps=100, batch=32, bn_group=16, evaluate_every=30, precision="fp32")


def experiment(model: str = "cifar-resnet8", recipe: Recipe = SMALL, width: int | None = 8) -> Experiment:
    return Experiment(model=ModelSpec(name=model, width=width), data="embedded", recipe=recipe)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a quarter of a second after the last, so each turn takes that long."""
    looks = count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(looks) / 4)


def test_an_experiment_s_seconds_are_those_of_a_calculation_by_hand() -> None:
    recipe = SMALL.but({"steps": 1_000, "batch": 128, "bn_group": 64, "evaluate_every": 300, "validation": 500})
    trained = 3 * 1_000 * 128 * 7_000  # forward and backward over every picture of every step
    tested = 4 * (2_000 + 500) * 7_000  # after 300, 600, 900 and 1,000 steps
    seconds = seconds_left(Speed(5e6, 2e6), experiment(recipe=recipe), 0, 7_000)
    assert seconds == pytest.approx(trained / 5e6 + tested / 2e6)


def test_what_is_done_already_costs_nothing_more() -> None:
    recipe = SMALL.but({"steps": 1_000, "evaluate_every": 300})
    seconds = seconds_left(Speed(5e6, 2e6), experiment(recipe=recipe), 600, 7_000)
    assert seconds == pytest.approx(3 * 400 * 32 * 7_000 / 5e6 + 2 * 2_000 * 7_000 / 2e6)
    assert seconds_left(Speed(5e6, 2e6), experiment(recipe=recipe), 1_000, 7_000) == 0


def test_tests_are_counted_as_the_loop_makes_them() -> None:
    for steps in (1, 29, 30, 31, 60, 100):
        for done in range(steps + 1):
            made = [step for step in range(done + 1, steps + 1) if step % 30 == 0 or step == steps]
            assert remaining_tests(steps, 30, done) == len(made)


@pytest.mark.usefixtures("ticking")
def test_the_estimate_follows_from_the_cheapest_network_s_steps_on_this_clock() -> None:
    deep, small = experiment("cifar-resnet14"), experiment("cifar-plain8")
    found = estimate([deep, small, small], CPU)
    second = 0.25 * (100 * 32 / 32 + 4 * 2_000 / 500)  # a turn is a step of 32 pictures, or a test of 500
    ratio = forward_cost(deep.model, "embedded") / forward_cost(small.model, "embedded")
    assert found.seconds == pytest.approx((ratio * second, second, second))
    assert found.total == pytest.approx((ratio + 2) * second)
    assert (found.steps, found.model, found.rate) == (300, "cifar-plain8, width 8", pytest.approx(128))
    assert str(found).startswith("3 runs, 300 steps: about ")
    assert str(found).endswith(" here (measured: 128 images/s of cifar-plain8, width 8)")


@pytest.mark.usefixtures("ticking")
def test_runs_that_are_partly_done_count_what_is_left_and_finished_ones_are_not_measured() -> None:
    found = estimate([experiment("cifar-plain8"), experiment("cifar-resnet14")], CPU, done=[100, 40])
    assert found.model == "cifar-resnet14, width 8"
    assert found.steps == 60
    assert found.seconds == pytest.approx((0, 0.25 * (60 + 3 * 4)))


def test_nothing_is_measured_where_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "measure", pytest.fail)
    found = estimate([experiment()], CPU, done=[100])
    assert found == Estimate((0.0,), 0, None, 0.0)
    assert str(found) == "1 run, no step left to make"


@pytest.mark.parametrize(
    ("hours", "text"), [(31.2, "about 31 h here"), (2.5, "about 2 h 30 min here"), (0.01, "about 36 s here")]
)
def test_the_line_says_how_long(hours: float, text: str) -> None:
    line = str(Estimate((hours * 1800,) * 2, 384_000, "cifar-resnet20", 290.4))
    assert line == f"2 runs, 384,000 steps: {text} (measured: 290 images/s of cifar-resnet20)"


@pytest.mark.parametrize(("name", "data"), [("cifar-plain20", "cifar10"), ("cifar-bottleneck29", "embedded")])
def test_multiply_adds_are_those_of_the_size(name: str, data: DataName) -> None:
    model, pictures = ModelSpec(name=name, width=8), SETS[data]
    wanted = size_of(blueprint(model, pictures.classes), pictures.side).multiply_adds
    assert forward_cost(model, data) == wanted


def test_the_embedded_set_is_as_it_is_said_to_be() -> None:
    val = load("embedded", "val")
    assert SETS["embedded"] == (*val.pixels.shape[1:3], len(val.classes), len(val))  # type: ignore[union-attr]


def test_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr]
    assert estimate([experiment()], CPU).rate > 0
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tobytes() == before[2]  # type: ignore[union-attr]


def test_an_estimate_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Estimate((), 0, None, 0.0).steps = 1  # type: ignore[misc]


def test_photographs_are_refused_in_one_line() -> None:
    recipe = SMALL.but({"photographs": Photographs().model_dump(mode="json")})
    with pytest.raises(SpecError, match=r"^cost is estimated for small pictures \(embedded, .*, not for data folder$"):
        estimate([Experiment(model=ModelSpec(name="resnet18"), data="folder", recipe=recipe)], CPU)
