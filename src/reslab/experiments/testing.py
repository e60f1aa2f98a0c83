"""Trained weights, tested on pictures."""

import contextlib
import shlex
from dataclasses import dataclass
from pathlib import Path

import torch

from reslab.core.errors import DataError
from reslab.core.experiment import Photographs
from reslab.core.files import refilled, require_writable, sha256_text
from reslab.core.protocol import Protocol, find_protocol, preset
from reslab.core.rundir import RunDirectory
from reslab.core.text import printable
from reslab.core.units import counted
from reslab.data.classes import match_classes
from reslab.data.index import read_index
from reslab.data.official import copy_note
from reslab.data.parts import Part
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.sharded import ShardFolder
from reslab.data.source import Dataset, PictureFolder, Reading, Source, find_data
from reslab.data.unlabelled import UnlabelledFolder, find_answered
from reslab.evaluation.store import in_folder
from reslab.evaluation.views import Allocate, ViewScores, in_memory
from reslab.experiments.environment import choose_device
from reslab.experiments.feed import Inputs
from reslab.experiments.keep import INDICES, SCORE_FILES, Kept, fill_scores
from reslab.experiments.names import describe
from reslab.experiments.notices import Notices
from reslab.experiments.notify import Notify
from reslab.experiments.scoring import Subject, score_views, scored
from reslab.experiments.session import feed_for
from reslab.experiments.weights import Weights, complete, network_of
from reslab.experiments.world import ALONE, World
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


@dataclass(frozen=True)
class Testing:
    """How networks are tested.

    Args:
        data: what ``--data`` says; of its classes a network may know more.
        protocol: a preset or a TOML file; None: the one that goes with the network's pictures.
        split: which pictures; None: ``val``, but every picture of a folder that has class folders alone.
        precision: of the forward pass.
        device: where.
        workers: processes that read pictures; None: one a core for photographs.
        scales: shorter sides whose scores will be averaged; None: all.
        server: the file of answers for a test server, and that of its classes; a folder of photographs without classes
            will then do.
    """

    data: str
    protocol: str | None = None
    split: Part | None = None
    precision: Resolved = "fp32"
    device: str = "auto"
    workers: int | None = None
    scales: tuple[int, ...] | None = None
    server: tuple[Path, Path] | None = None


def evaluate_weights(
    weights: Weights, how: Testing, *, out: Path | None = None, notify: Notify | None = None, world: World = ALONE
) -> Path:
    """Test a network on every picture, and keep the scores; `read_stored` reads them.

    Args:
        weights: a run's, or any that say what they are of.
        how: on what, and in which way.
        out: folder for the scores; None: inside the run or beside the weights.
        notify: hears warnings.
        world: the processes that share the pictures; the first keeps the scores.

    Returns:
        The folder of the scores.

    Raises:
        DataError: the pictures do not fit the network or its classes, or one cannot be used; or the weights do not say
            what they are of.
        SpecError: there is no such protocol, or the network cannot be tested by it.
        StorageError: the scores cannot be kept.
    """
    heard = (notify or Notify()) if world.first else Notify()
    test = world.agreed(lambda: _Test(weights, how, out, heard, world))
    kept = test.kept
    world.require_same("weights, pictures or protocols", (kept.weights, test.pictures.digest, test.protocol.digest()))
    with contextlib.ExitStack() as open_ones:
        open_ones.callback(heard.ended)
        room = world.agreed(
            lambda: open_ones.enter_context(refilled(test.folder, SCORE_FILES)) if world.first else None
        )
        keep = in_memory if room is None else in_folder(room)
        own = world.agreed(lambda: test.score(world.share(len(test.pictures)), keep if world.size == 1 else in_memory))
        views = world.collected(own, len(test.pictures), keep)
        world.agreed(lambda: None if views is None or room is None else test.keep(views, room))
    return test.folder


class _Test:
    """Everything that a test needs, found and checked before the first picture is scored."""

    def __init__(self, weights: Weights, how: Testing, out: Path | None, notify: Notify, world: World) -> None:
        place = choose_device(world.device(how.device))
        source = find_answered(how.data) if how.server else find_data(how.data)
        self.network, self.how = trained(weights, place), how
        self.protocol = find_protocol(how.protocol, self.network.inputs.native)
        if how.scales is not None:
            self.protocol.require_sides(how.scales)
        settings = weights.photographs or Photographs()
        self.pictures = source.read(how.split or usual_part(source), Reading(settings.held_out, found=notify.found))
        if not len(self.pictures):
            raise DataError(f"{self.pictures.name} has no pictures in its part {self.pictures.split}")
        if isinstance(self.pictures, Pictures) and (note := copy_note(self.pictures)):
            notify.warned(note)
        self.meaning = _meaning(self.pictures, self.network.classes)
        self.kept = Kept(
            precision=how.precision,
            classes=self.network.classes,
            network=weights.name if weights.model is None else describe(weights.model),
            weights=weights.digest,
            step=self.network.step,
            preprocessing=self.network.inputs.contract(),
            forced=self.network.forced,
            command=_command(weights, how, self.pictures, out),
        )
        run = RunDirectory.open(weights.place) if (weights.place / "spec.json").exists() else None
        notices = Notices(notify)
        notices.note_passed_over(self.pictures)
        if run is not None:
            _warn_of_trained(run, source, self.pictures, notify)
        self.folder = out or _folder(weights.place, run, self.pictures, self.kept, self.protocol, self.network.inputs)
        require_writable(self.folder)
        self.feed = feed_for(self.pictures, place, how.workers, notify, notices, world.neighbours)
        self.notify = notify

    def score(self, which: range, allocate: Allocate) -> ViewScores:
        """Scores of the pictures ``which``."""
        subject = Subject(self.network.net, self.network.inputs)
        return score_views(
            subject, self.pictures, self.protocol, self.feed, self.how.precision, which, allocate, self.notify.scored
        )

    def keep(self, views: ViewScores, room: Path) -> None:
        """Fill ``room`` with what came of the test."""
        fill_scores(scored(views, self.pictures, self.protocol, self.meaning), room, self.pictures, self.kept)


def _meaning(pictures: Dataset, known: tuple[str, ...]) -> tuple[int, ...]:
    try:
        return match_classes(pictures.classes, known)
    except DataError as error:
        raise DataError(f"{pictures.name} has {error}") from None


def usual_part(source: Source) -> Part:
    """The pictures that are tested where nothing is said."""
    alone = isinstance(source, PictureFolder | ShardFolder) and not source.halved
    return "all" if alone or isinstance(source, UnlabelledFolder) else "val"


def _folder(
    place: Path, run: RunDirectory | None, pictures: Dataset, kept: Kept, protocol: Protocol, inputs: Inputs
) -> Path:
    """Where scores go: tests of other pictures, or in another way, never replace those of the run's own."""
    noted = (run.environment() or {}) if run else {}
    own = noted.get("data", {}).get(pictures.split) == pictures.digest
    changes = [] if preset(protocol.name, inputs.native) == protocol else [protocol.digest()[:8]]
    changes += [] if own else [pictures.digest[:8]]
    changes += [] if kept.precision == "fp32" else [kept.precision]
    changes += ["forced", sha256_text(" ".join(kept.forced))[:8]] if kept.forced else []
    scores = place / "scores" if place.is_dir() else place.with_name(f"{place.stem}-scores")
    return scores / "-".join([protocol.name, pictures.split, *changes])


def _command(weights: Weights, how: Testing, pictures: Dataset, out: Path | None) -> str:
    """What gives the scores again."""
    words = ["reslab", "evaluate", str(weights.place), "--data", how.data]
    words += ["--protocol", how.protocol] if how.protocol else []
    words += ["--split", how.split] if how.split else []
    words += ["--precision", how.precision] if how.precision != "fp32" else []
    words += ["--out", str(out)] if out else []
    if how.server and not pictures.classes:
        words += ["--server-file", str(how.server[0]), "--server-classes", str(how.server[1])]
    words += weights.held
    return printable(shlex.join(words))


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
        notify.warned(
            f"the network was trained on {trained_on:,} of the {counted(len(pictures), 'picture')} here{rest}"
        )
