"""``reslab train``."""

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from reslab.cli.flags import JobFlags, NetworkFlags, RecipeFlags, given
from reslab.cli.output import print_json, say, stdout
from reslab.cli.progress import progress
from reslab.core.errors import SpecError
from reslab.core.experiment import DataName, Experiment, Optimizer
from reslab.core.rundir import Record
from reslab.core.spec import overlay, read_toml
from reslab.core.units import duration_text, epochs_to_steps
from reslab.experiments.names import parse_name
from reslab.experiments.recipes import DEFAULT_RECIPES, named_recipe, with_optimizer


def train(
    *,
    data: str,
    job: JobFlags,
    network: NetworkFlags | None = None,
    recipe: str | None = None,
    spec: Path | None = None,
    settings: RecipeFlags | None = None,
    optim: Optimizer | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Train one network, exactly resumable.

    Args:
        data: embedded, or a CIFAR-10 or CIFAR-100 folder in the official binary layout.
        job: how the run is carried out.
        network: which network.
        recipe: as `reslab list recipes` has it; by default the one for the data.
        spec: a TOML file with any of [model], [recipe], seed; flags come on top of it.
        settings: how it is trained.
        optim: settings of SGD, each a flag of its own.
        epochs: passes over the training pictures, instead of steps.
        seed: decides initial weights, order, crops and mirror images.
        dry_run: print the resolved spec and stop.
        json: print one JSON document.
    """
    from reslab.data.source import find_data
    from reslab.experiments.execute import Job, execute

    found, settings = find_data(data), settings or RecipeFlags()
    base = _base(found.name, recipe, spec)
    if epochs is not None:
        if settings.steps is not None:
            raise SpecError("--steps and --epochs say the same thing; give one")
        settings.steps = epochs_to_steps(epochs, len(found.read("train")), settings.batch or base["recipe"]["batch"])
    flags = {**(network or NetworkFlags()).given(), **settings.given(base["recipe"])}
    seeded = {} if seed is None else {"seed": seed}
    experiment = _resolve(overlay(base, {**flags, **seeded}), optim, str(spec or "the flags"))
    if dry_run:
        _print_spec(experiment, as_json=json)
        return 0
    outcome = execute(experiment, Job(data=data, **given(job)), progress())
    if outcome.signal is not None:
        say_how_to_resume(outcome.signal, outcome.step, experiment.recipe.steps)
        return 128 + outcome.signal
    assert outcome.result is not None
    print_result(outcome.result, as_json=json)
    return 0


def say_how_to_resume(number: int, step: int, steps: int) -> None:
    """After Ctrl-C or SIGTERM: what was kept, and the command that goes on."""
    words = sys.argv[1:] if "--resume" in sys.argv or "reproduce" in sys.argv else [*sys.argv[1:], "--resume"]
    name = signal.Signals(number).name
    say(f"reslab: {name}: stopped and saved after step {step:,} of {steps:,}; go on with: reslab {shlex.join(words)}")


def print_result(result: Record, *, as_json: bool) -> None:
    """A finished run's result: one JSON document, or two lines."""
    if as_json:
        print_json(result)
        return
    low, high = result["test_interval"]
    stdout().print(
        f"{result['model']}: test error {result['test_error']:.2f} % (95 % interval {low:.2f} to {high:.2f},"
        f" n={result['n']:,}), training error {result['train_error']:.2f} % (n={result['train_n']:,}),"
        f" {result['steps']:,} steps in {duration_text(result['seconds'])}"
    )
    stdout().print(f"kept in {result['directory']}")


def _base(data: DataName, recipe: str | None, spec: Path | None) -> dict[str, Any]:
    base: dict[str, Any] = {"model": {}, "data": data}
    base["recipe"] = named_recipe(recipe or DEFAULT_RECIPES[data]).model_dump(mode="json")
    values = {} if spec is None else read_toml(spec)
    if values.get("data", data) != data:
        raise SpecError(f"{spec} is about {values['data']} and --data is {data}")
    return overlay(base, values)


def _resolve(merged: dict[str, Any], optim: Optimizer | None, source: str) -> Experiment:
    if not merged["model"].get("name"):
        raise SpecError("which network? --model NAME, as `reslab list models` has it")
    experiment = Experiment.parse(merged, source)
    name = parse_name(experiment.model.name)
    name.shortcut(experiment.model.shortcut)
    if optim is None:
        return experiment
    return experiment.but({"recipe": with_optimizer(experiment.recipe, optim).model_dump(mode="json")})


def _print_spec(experiment: Experiment, *, as_json: bool) -> None:
    if as_json:
        print_json(experiment.model_dump(mode="json"))
    else:
        stdout().print_json(experiment.canonical_json())
