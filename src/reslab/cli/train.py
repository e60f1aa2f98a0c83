"""``reslab train``."""

import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reslab.cli.flags import JobFlags, NetworkFlags, PhotoFlags, RecipeFlags, StartFlags, given
from reslab.cli.output import print_json, say, stdout
from reslab.cli.progress import progress, warn
from reslab.cli.resolve import Asked, resolve
from reslab.core.errors import ReslabError
from reslab.core.experiment import Experiment, Optimizer
from reslab.core.rundir import Record, RunDirectory
from reslab.core.units import counted, duration_text

if TYPE_CHECKING:
    from reslab.experiments.job import Job, Outcome
    from reslab.experiments.weights import Weights


def train(
    *,
    data: str,
    job: JobFlags,
    network: NetworkFlags | None = None,
    start: StartFlags | None = None,
    recipe: str | None = None,
    spec: Path | None = None,
    settings: RecipeFlags | None = None,
    photographs: PhotoFlags | None = None,
    optim: Optimizer | None = None,
    epochs: float | None = None,
    longer: float = 1,
    seed: int | None = None,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Train one network, exactly resumable: from scratch, or from trained weights.

    Under torchrun the processes share each batch.

    Args:
        data: embedded; a folder of photographs (class folders, alone or below train/ and val/), or shards of them (a
            folder or URL); or a CIFAR-10 or CIFAR-100 folder in the official binary layout.
        job: how the run is carried out.
        network: which network.
        start: trained weights to begin from.
        recipe: as `reslab list recipes` has it; by default the one for the data.
        spec: a TOML file with any of [model], [recipe], seed; flags come on top of it.
        settings: how it is trained.
        photographs: how photographs are read.
        optim: settings of SGD, each a flag of its own.
        epochs: passes over the training pictures, instead of steps.
        longer: so many times the steps; drops of the rate move with them (footnote 3 trains 3 times as long).
        seed: decides initial weights, order, crops, mirror images and colours.
        dry_run: print the resolved spec and stop; an --out that would be refused is refused, and nothing is made.
        json: print one JSON document.
    """
    from reslab.experiments.execute import execute
    from reslab.experiments.place import check_place
    from reslab.experiments.world import joined

    parts = network or NetworkFlags(), settings or RecipeFlags(), photographs or PhotoFlags()
    asked = Asked(recipe, spec, *parts, start or StartFlags(), optim, epochs, seed, longer)
    with joined() as world:
        experiment, how = world.agreed(lambda: _resolved(asked, data, job))
        if dry_run:
            world.agreed(lambda: check_place(experiment, how, world))
        outcome = None if dry_run else execute(experiment, how, progress(), world)
    if world.first:
        return _tell(outcome, experiment, as_json=json)
    stopped = outcome is not None and outcome.stopped and outcome.signal
    return 128 + stopped if stopped else 0


def _tell(outcome: "Outcome | None", experiment: Experiment, *, as_json: bool) -> int:
    """Print what came of it, and return the exit code."""
    if outcome is None:
        _print_spec(experiment, as_json=as_json)
        return 0
    if outcome.result is not None:
        print_result(outcome.result, as_json=as_json)
        return 0
    assert outcome.signal is not None
    say_how_to_resume(outcome.signal, _stopped(outcome, experiment.recipe.steps), "--resume")
    return 128 + outcome.signal


def _stopped(outcome: "Outcome", steps: int) -> str:
    """Where it stopped, and what is kept."""
    if outcome.averaging is None:
        return stopped_after(outcome.step, steps)
    passed, of = outcome.averaging
    return (
        f"stopped while averaging batch statistics, after {passed:,} of {counted(of, 'picture')};"
        " training is saved, averaging will begin again"
    )


def _resolved(asked: Asked, data: str, job: JobFlags) -> "tuple[Experiment, Job]":
    """The experiment that is asked for, and how it is carried out."""
    from reslab.data.mean_image import read_mean_image
    from reslab.data.source import find_data
    from reslab.experiments.job import Job

    source, file = find_data(data), asked.photographs.mean_image
    resumed = job.resume and (job.out / "spec.json").exists()
    going_on = RunDirectory.open(job.out).experiment if resumed else None
    weights = None if asked.start.begin is None else _weights(asked.start.begin, going_on)
    image = None if file is None else read_mean_image(file)
    experiment = resolve(replace(asked, going_on=going_on, mean_image=image), source, weights)
    return experiment, Job(data=data, weights=weights, mean_image=image, **given(job))


def _weights(place: Path, going_on: Experiment | None) -> "Weights":
    """The weights to begin from; a run that goes on needs no more than what its spec says of them."""
    from reslab.experiments.fine_tune import noted_weights
    from reslab.experiments.weights import read_weights

    noted = noted_weights(place, going_on) if going_on else None
    try:
        weights = read_weights(place, progress().warned)
    except ReslabError as error:
        if noted is None:
            raise
        why = str(error)
    else:
        if noted is None or noted.digest == weights.digest:
            return weights
        why = f"{place} has other weights than those that this run began from"
    warn(f"{why}; going on from the run's own checkpoint")
    return noted


def stopped_after(step: int, steps: int) -> str:
    """Where a run, or several with ``steps`` in all, stopped and will go on."""
    return f"stopped and saved after step {step:,} of {steps:,}"


def say_how_to_resume(number: int, stopped: str, *flags: str) -> None:
    """After Ctrl-C or SIGTERM: where it ``stopped``, and the command that goes on: this one, with ``flags``."""
    words = [*sys.argv[1:], *(flag for flag in flags if flag not in sys.argv)]
    name = signal.Signals(number).name
    say(f"reslab: {name}: {stopped}; go on with: reslab {shlex.join(words)}")


def print_result(result: Record, *, as_json: bool) -> None:
    """A finished run's result: one JSON document, or a few lines."""
    if as_json:
        print_json(result)
        return
    low, high = result["test_interval"]
    stdout().print(
        f"{result['model']}: test error {result['test_error']:.2f} % (95 % interval {low:.2f} to {high:.2f},"
        f" n={result['n']:,}), training error {result['train_error']:.2f} % (n={result['train_n']:,}),"
        f" {counted(result['steps'], 'step')} in {duration_text(result['seconds'])}"
    )
    if "bn_average" in result:
        stdout().print(_before(result["bn_average"]))
    if "validation_error" in result:
        stdout().print(f"validation error {result['validation_error']:.2f} % (n={result['validation_n']:,})")
    if result.get("replaced"):
        stdout().print(
            f"{counted(result['replaced'], 'time')} a bad picture was replaced: replaced_pictures.json names them"
        )
    stdout().print(f"kept in {result['directory']}")


def _before(averaged: Record) -> str:
    """The test error with the moving averages, and how far it lies above that with the true ones."""
    (low, high), found = averaged["interval_before"], averaged["paired"]
    least, most = found["interval"]
    return (
        f"before, with moving averages: {averaged['error_before']:.2f} % (95 % interval {low:.2f} to {high:.2f},"
        f" n={averaged['n']:,}); batch statistics over {counted(averaged['pictures'], 'picture')}: before - after is"
        f" {found['difference']:+z.2f} points (95 % interval {least:+z.2f} to {most:+z.2f}, McNemar's p"
        f" {found['p_value']:.3g})"
    )


def _print_spec(experiment: Experiment, *, as_json: bool) -> None:
    if as_json:
        print_json(experiment.model_dump(mode="json"))
    else:
        stdout().print_json(experiment.canonical_json())
