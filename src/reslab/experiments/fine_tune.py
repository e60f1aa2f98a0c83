"""Beginning from trained weights: what is kept, what learns slowly, what is frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Experiment, Start
from reslab.core.rundir import Record
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.names import architecture_of
from reslab.experiments.weights import Weights, conflicts_with, refusal
from reslab.models.network import ResNet
from reslab.weights.layout import Tensors, fitted_to

HEAD: Final = "fc."


@dataclass(frozen=True)
class Tuning:
    """``head`` learns at the full rate and the rest at ``body_rate`` of it."""

    head: nn.Module | None = None
    body_rate: float = 1.0


def noted_weights(place: Path, experiment: Experiment) -> Weights | None:
    """What an experiment says of the weights it begins from, without the weights; None where it begins from none."""
    if experiment.start is None:
        return None
    photographs = experiment.recipe.photographs
    inputs = None if photographs is None else PhotoInputs(photographs)
    return Weights(place, experiment.start.weights, None, architecture_of(experiment.model), inputs)


def require_fitting(weights: Weights, experiment: Experiment) -> None:
    """Refuse weights that say they are of something else, although names and shapes may agree.

    Raises:
        DataError: one line that names both; unless the experiment's start is forced.
    """
    conflicts = _conflicts(weights, experiment)
    if conflicts and not (experiment.start and experiment.start.force):
        raise DataError(refusal(weights, conflicts))


def noted_start(weights: Weights, experiment: Experiment, warn: Callable[[str], None]) -> Record:
    """What a run notes of the weights it begins from; what was forced is said aloud."""
    forced = _conflicts(weights, experiment)
    for conflict in forced:
        warn(f"forced: {weights.place} has {conflict}")
    photographs = weights.photographs
    return {
        "place": str(weights.place),
        "sha256": weights.digest,
        "model": None if weights.model is None else weights.model.model_dump(mode="json"),
        "preprocessing": None if photographs is None else photographs.contract.model_dump(mode="json"),
        "forced": forced,
    }


def fill(net: nn.Module, weights: Weights) -> None:
    """Put ``weights`` into ``net``, all but its classifier.

    Raises:
        DataError: the weights are of another architecture.
    """
    assert weights.tensors is not None
    body = fitted_to(_body(net.state_dict()), _body(weights.tensors), weights.place, "this network")
    net.load_state_dict(body, strict=False)


def tune(net: ResNet, start: Start) -> Tuning:
    """Freeze what ``start`` says; the classifier learns at the full rate.

    Raises:
        SpecError: the network lacks a stage that is to be frozen.
    """
    try:
        net.freeze(*start.freeze)
    except SpecError as error:
        raise SpecError(f"--freeze: {error}") from None
    return Tuning(net.get_submodule(HEAD.rstrip(".")), start.body_rate)


def _body(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)}


def _conflicts(weights: Weights, experiment: Experiment) -> list[str]:
    return conflicts_with(weights, architecture_of(experiment.model), experiment.recipe.photographs)
