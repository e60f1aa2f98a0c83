"""A trained run, tested on pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from reslab.core.errors import RunError, SpecError
from reslab.core.experiment import Photographs
from reslab.core.rundir import RunDirectory
from reslab.core.text import few
from reslab.data.index import read_index
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Part
from reslab.data.source import Dataset, PictureFolder, Reading, Source, find_data
from reslab.evaluation.result import Evaluation, summarise
from reslab.experiments.environment import choose_device
from reslab.experiments.inputs import Inputs, stored_inputs
from reslab.experiments.keep import INDICES, store_scores
from reslab.experiments.networks import build
from reslab.experiments.notices import Notices
from reslab.experiments.notify import Notify
from reslab.experiments.session import feed_for, one_view
from reslab.models.resnet import ResNet
from reslab.training import checkpoint
from reslab.training.precision import Resolved

SHOWN: Final = 5  # classes in a message


@dataclass(frozen=True)
class Trained:
    """A run's network as its newest whole checkpoint has it, with the form in which it takes pictures."""

    net: ResNet
    inputs: Inputs
    classes: tuple[str, ...]
    step: int


def load_run(run: RunDirectory, device: torch.device, notify: Notify) -> Trained:
    """Read the newest whole checkpoint of ``run``.

    Raises:
        RunError: there is no checkpoint yet.
        CheckpointError: every checkpoint is damaged, or of another network.
    """
    found = checkpoint.newest(run.checkpoints, notify.warned)
    if found is None:
        raise RunError(f"{run.path} has no checkpoint yet")
    classes = tuple(found.facts["classes"])
    net = build(run.experiment.model, len(classes))
    net.load_state_dict(found.parts["model"])
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    inputs = stored_inputs(found.facts["preprocessing"], found.parts.get("form", {}))
    return Trained(net.eval(), inputs, classes, found.facts["step"])


def evaluate_run(
    run: RunDirectory,
    data: str,
    *,
    protocol: str | None = None,
    split: Part | None = None,
    precision: Resolved = "fp32",
    device: str = "auto",
    workers: int | None = None,
    out: Path | None = None,
    notify: Notify | None = None,
) -> Evaluation:
    """Test a run's network on one view of every picture of ``split``, and store the scores.

    Args:
        run: the run.
        data: what ``--data`` says.
        protocol: the testing protocol; None: the one that goes with the run's pictures.
        split: which pictures; None: ``val``, but every picture of a folder that has class folders alone.
        precision: of the forward pass.
        device: where.
        workers: processes that read pictures; None: one a core for photographs.
        out: folder for the scores; None: inside the run.
        notify: hears warnings.

    Raises:
        DataError: the pictures do not fit the network or its classes, or one cannot be used.
        RunError: the run has no checkpoint yet.
        SpecError: the run's pictures are not tested by ``protocol``.
    """
    heard, place = notify or Notify(), choose_device(device)
    source = find_data(data)
    trained = load_run(run, place, heard)
    if protocol not in (None, trained.inputs.protocol):
        raise SpecError(f"--protocol {protocol}: this network's pictures are tested by {trained.inputs.protocol}")
    settings = run.experiment.recipe.photographs or Photographs()
    pictures = source.read(split or usual_part(source), Reading(settings.held_out, found=heard.found))
    if pictures.classes != trained.classes:
        raise RunError(f"{pictures.name} has {_other_classes(pictures.classes, trained.classes, run.path)}")
    notices = Notices(heard)
    notices.note_passed_over(pictures)
    _warn_of_trained(run, source, pictures, heard)
    feed = feed_for(pictures, place, workers, heard, notices)
    scores = one_view(trained.net, trained.inputs, pictures, feed, precision)
    name = trained.inputs.protocol
    store_scores(scores, out or _folder(run, name, pictures, precision), pictures, name, precision, trained.step)
    return summarise(scores, pictures.classes, precision, name)


def usual_part(source: Source) -> Part:
    """The pictures that are tested where nothing is said."""
    return "all" if isinstance(source, PictureFolder) and not source.halved else "val"


def _folder(run: RunDirectory, protocol: str, pictures: Dataset, precision: Resolved) -> Path:
    """Where scores go: tests of other pictures, or in another precision, never replace those of the run's own."""
    own = (run.environment() or {}).get("data", {}).get(pictures.split) == pictures.digest
    other = "" if own else f"-{pictures.digest[:8]}"
    return run.scores / f"{protocol}-{pictures.split}{other}{'' if precision == 'fp32' else f'-{precision}'}"


def _other_classes(given: tuple[str, ...], known: tuple[str, ...], run: Path) -> str:
    if len(given) != len(known):
        return f"{len(given)} classes ({few(given, SHOWN)}); {run} was trained on {len(known)} ({few(known, SHOWN)})"
    return f"other classes ({few(given, SHOWN)}) than those that {run} was trained on ({few(known, SHOWN)})"


def _warn_of_trained(run: RunDirectory, source: Source, pictures: Dataset, notify: Notify) -> None:
    """Say how many of the tested photographs the network was trained on, unless it was asked for exactly these."""
    file, noted = run.path / INDICES / "train.safetensors", run.environment() or {}
    here = noted.get("data", {}).get("place") == source.place
    if not here or pictures.split == "train" or not isinstance(pictures, PhotoFolder) or not file.exists():
        return
    seen = read_index(file)
    known = {seen.path(number) for number in range(len(seen))}
    trained_on = sum(pictures.index.path(number) in known for number in range(len(pictures)))
    if trained_on:
        rest = "; --split val tests the others" if trained_on < len(pictures) else ""
        notify.warned(f"the network was trained on {trained_on:,} of these {len(pictures):,} pictures{rest}")
