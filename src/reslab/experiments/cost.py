"""What experiments cost here, told before the first of them begins: from a few steps of the cheapest network."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from reslab.core.errors import SpecError
from reslab.core.experiment import DataName, Experiment, ModelSpec
from reslab.core.units import counted, duration_text
from reslab.experiments.bench.pictures import random_pictures
from reslab.experiments.bench.steps import own_step
from reslab.experiments.bench.timing import Turn, once, waiting_for
from reslab.experiments.feed import Feed
from reslab.experiments.memory import release_memory, within_memory
from reslab.experiments.names import describe
from reslab.experiments.networks import blueprint, build
from reslab.experiments.session import begin
from reslab.experiments.small_inputs import SMALL_TEST_BATCH
from reslab.models.sizes import multiply_adds
from reslab.models.trace import Step

TIMED: Final = 3  # steps, and tests, after one that does not count
PATIENCE: Final = 3.0  # seconds; where so many would take longer, one is timed
PASSES: Final = 3  # of a training step, in forward passes: the backward pass costs about two


class Set(NamedTuple):
    """Small pictures as `reslab.data.source` finds them: their shape, classes, and how many are tested on."""

    channels: int
    side: int
    classes: int
    tested: int


SETS: Final[dict[DataName, Set]] = {
    "embedded": Set(1, 28, 10, 2_000),
    "cifar10": Set(3, 32, 10, 10_000),
    "cifar100": Set(3, 32, 100, 10_000),
}


class Speed(NamedTuple):
    """Multiply-adds a second of forward passes: in training, where each picture counts `PASSES` times, and in tests."""

    training: float
    testing: float


@dataclass(frozen=True)
class Estimate:
    """What several experiments cost here.

    Args:
        seconds: of each, in the order in which they were given.
        steps: that are left to make, of all together.
        model: the network that was measured; None: nothing is left to do.
        rate: its images/s in training.
    """

    seconds: tuple[float, ...]
    steps: int
    model: str | None
    rate: float

    @property
    def total(self) -> float:
        """Seconds of all, one after the other."""
        return sum(self.seconds)

    def __str__(self) -> str:
        runs = counted(len(self.seconds), "run")
        if self.model is None:
            return f"{runs}, no step left to make"
        hours = self.total / 3600
        time = f"{hours:,.0f} h" if hours >= 10 else duration_text(self.total)
        measured = f"measured: {self.rate:,.0f} images/s of {self.model}"
        return f"{runs}, {counted(self.steps, 'step')}: about {time} here ({measured})"


def estimate(
    experiments: Sequence[Experiment], device: torch.device, done: Sequence[int] = (), *, recompute: bool = False
) -> Estimate:
    """What ``experiments`` cost on ``device``, one after the other; takes a few seconds and draws no global chance.

    A few steps and tests of the cheapest network are timed on random pictures; the others are taken to make as many
    multiply-adds a second.

    Args:
        experiments: on small pictures.
        device: where they would be carried out.
        done: the steps that each has done already; empty: none of them has any.
        recompute: with activation checkpointing.

    Raises:
        SpecError: the experiments are on photographs, or cannot be carried out on this device.
        TrainingError: not even the cheapest of them fits into the device's memory; the line says what would.
    """
    past = done or [0] * len(experiments)
    for experiment in experiments:
        if experiment.data not in SETS:
            raise SpecError(f"cost is estimated for small pictures ({', '.join(SETS)}), not for data {experiment.data}")
    left = [max(0, each.recipe.steps - steps) for each, steps in zip(experiments, past, strict=True)]
    sizes = [forward_cost(experiment.model, experiment.data) for experiment in experiments]
    waiting = [place for place, steps in enumerate(left) if steps]
    if not waiting:
        return Estimate((0.0,) * len(experiments), 0, None, 0.0)
    least = min(waiting, key=lambda place: sizes[place])
    speed = measure(experiments[least], device, recompute=recompute)
    release_memory(device)
    seconds = tuple(map(partial(seconds_left, speed), experiments, past, sizes))
    rate = speed.training / (PASSES * sizes[least])
    return Estimate(seconds, sum(left), describe(experiments[least].model), rate)


def seconds_left(speed: Speed, experiment: Experiment, done: int, size: int) -> float:
    """Of an experiment whose network makes ``size`` multiply-adds a picture, after ``done`` of its steps."""
    recipe = experiment.recipe
    trained = max(0, recipe.steps - done) * recipe.batch
    tested = remaining_tests(recipe.steps, recipe.evaluate_every, done) * (
        SETS[experiment.data].tested + recipe.validation
    )
    return size * (PASSES * trained / speed.training + tested / speed.testing)


def remaining_tests(steps: int, every: int, done: int) -> int:
    """Tests on the way and at the end, of those after ``done`` steps."""
    if done >= steps:
        return 0
    return steps // every - done // every + (steps % every > 0)


@functools.cache
def forward_cost(model: ModelSpec, data: DataName) -> int:
    """Multiply-adds of one picture's forward pass; networks of several seeds are counted once.

    Without batch normalisation, which makes none, and is a hundred times as slow on the meta device as all the rest.
    """
    pictures, found = SETS[data], list[int]()
    net = blueprint(model, pictures.classes)

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(multiply_adds(Step("", layer, tuple(given[0].shape[1:]), tuple(output.shape[1:]), kept=0)))

    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                module.add_module(name, nn.Identity())
            elif isinstance(child, nn.Conv2d | nn.Linear):
                child.register_forward_hook(note)
    with torch.no_grad():
        net(torch.empty(1, 3, pictures.side, pictures.side, device="meta"))
    return sum(found)


def measure(experiment: Experiment, device: torch.device, *, recompute: bool = False) -> Speed:
    """Time the steps and tests of ``experiment``, as a run makes them, on random pictures.

    Args:
        experiment: on small pictures.
        device: where it would be carried out.
        recompute: with activation checkpointing.

    Raises:
        SpecError: it cannot be carried out on this device.
        TrainingError: it does not fit into the device's memory.
    """
    recipe, form = experiment.recipe, SETS[experiment.data]
    pictures = random_pictures(max(recipe.batch, SMALL_TEST_BATCH), form.side, form.classes, form.channels)
    net = build(experiment.model, form.classes)
    net.checkpoint_activations(on=recompute)
    session = begin(net, pictures, recipe, Feed(device))
    session.net.train()
    ready = next(session.inputs.training(pictures, recipe, seed=0, consumed=0, feed=session.feed))
    wait = waiting_for(device)
    with within_memory(session, describe(experiment.model)):
        step = own_step(session.training, ready, recipe.bn_group, session.precision, session.engine("auto"))
        trained, tested = _timed(once(step, wait)), _timed(once(partial(session.test, pictures), wait))
    size = forward_cost(experiment.model, experiment.data)
    return Speed(PASSES * size * recipe.batch / trained, size * len(pictures) / tested)


def _timed(turn: Turn) -> float:
    """Seconds of the median turn; the first does not count, for kernels are chosen and memory is taken in it."""
    rounds = TIMED if TIMED * turn() < PATIENCE else 1
    return median(turn() for _ in range(rounds))
