"""Trained weights, tested on pictures."""

from dataclasses import dataclass
from pathlib import Path

import torch

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Photographs
from reslab.core.files import require_writable, sha256_text
from reslab.core.rundir import RunDirectory
from reslab.data.classes import match_classes
from reslab.data.index import read_index
from reslab.data.official import copy_note
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Part, Pictures
from reslab.data.source import Dataset, PictureFolder, Reading, Source, find_data
from reslab.evaluation.result import Evaluation, summarise
from reslab.experiments.environment import choose_device
from reslab.experiments.inputs import Inputs
from reslab.experiments.keep import INDICES, Kept, store_scores
from reslab.experiments.notices import Notices
from reslab.experiments.notify import Notify
from reslab.experiments.session import feed_for, one_view
from reslab.experiments.weights import Weights, complete, network_of
from reslab.models.network import ResNet
from reslab.training.precision import Resolved


@dataclass(frozen=True)
class Trained:
    """A network on its device, channels-last, in evaluation mode, with the form in which it takes pictures."""

    net: ResNet
    inputs: Inputs
    classes: tuple[str, ...]
    step: int
    forced: tuple[str, ...] = ()


def trained(weights: Weights, device: torch.device) -> Trained:
    """The network that ``weights`` are of, with them in it.

    Raises:
        DataError: they do not say what they are of, or are of another network than they say.
    """
    whole, net = complete(weights), network_of(weights)
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    return Trained(net.eval(), whole.inputs, whole.classes, weights.step, weights.forced)


def evaluate_weights(
    weights: Weights,
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
    """Test a network on one view of every picture of ``split``, and store the scores.

    Args:
        weights: a run's, or any that say what they are of.
        data: what ``--data`` says; of its classes the network may know more.
        protocol: the testing protocol; None: the one that goes with the network's pictures.
        split: which pictures; None: ``val``, but every picture of a folder that has class folders alone.
        precision: of the forward pass.
        device: where.
        workers: processes that read pictures; None: one a core for photographs.
        out: folder for the scores; None: inside the run or beside the weights.
        notify: hears warnings.

    Raises:
        DataError: the pictures do not fit the network or its classes, or one cannot be used; or the weights do not say
            what they are of.
        SpecError: the network's pictures are not tested by ``protocol``.
        StorageError: the scores cannot be kept.
    """
    heard, place = notify or Notify(), choose_device(device)
    source = find_data(data)
    network = trained(weights, place)
    if protocol not in (None, network.inputs.protocol):
        raise SpecError(f"--protocol {protocol}: this network's pictures are tested by {network.inputs.protocol}")
    settings = weights.photographs or Photographs()
    pictures = source.read(split or usual_part(source), Reading(settings.held_out, found=heard.found))
    if isinstance(pictures, Pictures) and (note := copy_note(pictures)):
        heard.warned(note)
    meaning = _meaning(pictures, network.classes)
    notices = Notices(heard)
    notices.note_passed_over(pictures)
    run = RunDirectory.open(weights.place) if (weights.place / "spec.json").exists() else None
    if run is not None:
        _warn_of_trained(run, source, pictures, heard)
    name = network.inputs.protocol
    kept = Kept(name, precision, network.classes, network.step, network.forced)
    folder = out or _folder(weights.place, run, pictures, kept)
    require_writable(folder)
    feed = feed_for(pictures, place, workers, heard, notices)
    scores = one_view(network.net, network.inputs, pictures, feed, precision, meaning)
    store_scores(scores, folder, pictures, kept)
    return summarise(scores, network.classes, precision, name)


def _meaning(pictures: Dataset, known: tuple[str, ...]) -> tuple[int, ...]:
    try:
        return match_classes(pictures.classes, known)
    except DataError as error:
        raise DataError(f"{pictures.name} has {error}") from None


def usual_part(source: Source) -> Part:
    """The pictures that are tested where nothing is said."""
    return "all" if isinstance(source, PictureFolder) and not source.halved else "val"


def _folder(place: Path, run: RunDirectory | None, pictures: Dataset, kept: Kept) -> Path:
    """Where scores go: tests of other pictures, or in another way, never replace those of the run's own."""
    noted = (run.environment() or {}) if run else {}
    own = noted.get("data", {}).get(pictures.split) == pictures.digest
    changes = [] if own else [pictures.digest[:8]]
    changes += [] if kept.precision == "fp32" else [kept.precision]
    changes += ["forced", sha256_text(" ".join(kept.forced))[:8]] if kept.forced else []
    scores = place / "scores" if place.is_dir() else place.with_name(f"{place.stem}-scores")
    return scores / "-".join([kept.protocol, pictures.split, *changes])


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
