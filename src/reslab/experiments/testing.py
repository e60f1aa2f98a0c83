"""A trained run, tested on pictures."""

from dataclasses import dataclass
from pathlib import Path

import torch

from reslab.core.errors import RunError
from reslab.core.rundir import RunDirectory
from reslab.data.pictures import Split
from reslab.data.source import load
from reslab.evaluation.result import SINGLE, Evaluation, summarise
from reslab.experiments.environment import choose_device
from reslab.experiments.execute import store_scores
from reslab.experiments.networks import build
from reslab.experiments.notify import Notify
from reslab.experiments.session import single_view
from reslab.models.resnet import ResNet
from reslab.training import checkpoint
from reslab.training.precision import Resolved
from reslab.transforms.cifar import CifarForm


@dataclass(frozen=True)
class Trained:
    """A run's network as its newest whole checkpoint has it, with the form in which it takes pictures."""

    net: ResNet
    form: CifarForm
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
    form = CifarForm(found.parts["form"]["mean"], found.facts["preprocessing"]["train"]["pad"]).to(device)
    return Trained(net, form, classes, found.facts["step"])


def evaluate_run(
    run: RunDirectory,
    data: str,
    *,
    split: Split = "val",
    precision: Resolved = "fp32",
    device: str = "auto",
    out: Path | None = None,
    notify: Notify | None = None,
) -> Evaluation:
    """Test a run's network on the single view of every picture of ``split``, and store the scores.

    Args:
        run: the run.
        data: what ``--data`` says.
        split: which pictures.
        precision: of the forward pass.
        device: where.
        out: folder for the scores; None: inside the run.
        notify: hears warnings.

    Raises:
        DataError: the pictures do not fit the network or its classes.
        RunError: the run has no checkpoint yet.
    """
    place = choose_device(device)
    pictures = load(data, split)
    trained = load_run(run, place, notify or Notify())
    if pictures.classes != trained.classes:
        raise RunError(f"{pictures.name} has other classes than those that {run.path} was trained on")
    scores = single_view(trained.net, trained.form, pictures, place, precision)
    store_scores(scores, out or run.scores / f"{SINGLE}-{split}", pictures, precision, trained.step)
    return summarise(scores, pictures.classes, precision)
