"""Beginning from trained weights: whose they are, what is kept, what learns slowly, what is frozen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
from torch import Tensor, nn

from reslab.core.contract import Contract
from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Experiment, ModelSpec, Photographs, Stage, Start
from reslab.core.files import sha256_file
from reslab.core.listening import unheard
from reslab.core.rundir import Record, RunDirectory
from reslab.experiments.names import describe
from reslab.training import checkpoint

HEAD: Final = "fc."
STEM: Final = ("conv1", "bn1")


@dataclass(frozen=True)
class Tuning:
    """``head`` learns at the full rate and the rest at ``body_rate`` of it; ``frozen`` parts learn nothing."""

    head: nn.Module | None = None
    body_rate: float = 1.0
    frozen: tuple[nn.Module, ...] = ()


@dataclass(frozen=True, eq=False)
class Weights:
    """Trained weights.

    Args:
        place: where they came from.
        digest: sha256 of their file.
        tensors: by torchvision's names; None: they are gone, and only what a run noted of them is left.
        model: the network they are of; None: the file does not say.
        photographs: how its pictures were read; None: the file does not say, or they were small pictures.
    """

    place: Path
    digest: str
    tensors: dict[str, Tensor] | None
    model: ModelSpec | None = None
    photographs: Photographs | None = None


def read_weights(place: Path, warn: Callable[[str], None] = unheard) -> Weights:
    """The weights of a run's newest whole checkpoint, or of a safetensors file with torchvision's names.

    Args:
        place: the run or file.
        warn: told of damaged checkpoints that are passed over.

    Raises:
        DataError: there are none, they are damaged, or they are pickled.
        RunError: the folder is no run.
        CheckpointError: every checkpoint of the run is damaged.
    """
    return _of_run(place, warn) if place.is_dir() else _of_file(place)


def noted_weights(place: Path, experiment: Experiment) -> Weights | None:
    """What an experiment says of the weights it begins from, without the weights; None where it begins from none."""
    if experiment.start is None:
        return None
    return Weights(place, experiment.start.weights, None, experiment.model, experiment.recipe.photographs)


def noted_start(weights: Weights, experiment: Experiment, warn: Callable[[str], None]) -> Record:
    """What a run notes of the weights it begins from; an overridden preprocessing contract is said aloud."""
    kept, used = _contract(weights.photographs), _contract(experiment.recipe.photographs)
    overridden = kept is not None and used is not None and kept != used
    if overridden:
        warn(f"the pictures are prepared otherwise than those that {weights.place} was trained on, as you asked")
    return {
        "place": str(weights.place),
        "sha256": weights.digest,
        "model": None if weights.model is None else weights.model.model_dump(mode="json"),
        "preprocessing": None if kept is None else kept.model_dump(mode="json"),
        "preprocessing_overridden": overridden,
    }


def fill(net: nn.Module, weights: Weights) -> None:
    """Put ``weights`` into ``net``, all but its classifier.

    Raises:
        DataError: the weights are of another architecture.
    """
    assert weights.tensors is not None
    wanted = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith(HEAD)}
    given = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(HEAD)}
    for name in sorted({*wanted, *given}):
        if name.endswith("num_batches_tracked"):
            continue
        if name not in given or name not in wanted or given[name].shape != wanted[name].shape:
            shown = [tuple(side[name].shape) if name in side else "missing" for side in (given, wanted)]
            raise DataError(
                f"{weights.place} has the weights of another architecture: {name} is {shown[0]} there"
                f" and {shown[1]} in this network"
            )
    net.load_state_dict(given, strict=False)


def tune(net: nn.Module, start: Start) -> Tuning:
    """Freeze what ``start`` says; the classifier learns at the full rate.

    Raises:
        SpecError: the network lacks a stage that is to be frozen.
    """
    frozen = tuple(part for stage in start.freeze for part in _parts(net, stage))
    for part in frozen:
        part.requires_grad_(requires_grad=False)
    return Tuning(net.get_submodule(HEAD.rstrip(".")), start.body_rate, frozen)


def _parts(net: nn.Module, stage: Stage) -> tuple[nn.Module, ...]:
    names = STEM if stage == "stem" else (stage,)
    children = dict(net.named_children())
    if not children.keys() >= set(names):
        raise SpecError(f"--freeze {stage}: this network has the stages {', '.join(['stem', *_stages(children)])}")
    return tuple(children[name] for name in names)


def _stages(children: dict[str, nn.Module]) -> list[str]:
    return [name for name in children if name.startswith("layer")]


def _of_run(place: Path, warn: Callable[[str], None]) -> Weights:
    run = RunDirectory.open(place)
    found = checkpoint.newest(run.checkpoints, warn)
    if found is None:
        raise DataError(f"{place} has no checkpoint yet, so no weights to begin from")
    return Weights(
        place=place,
        digest=sha256_file(found.path / "model.safetensors"),
        tensors=found.parts["model"],
        model=run.experiment.model,
        photographs=run.experiment.recipe.photographs,
    )


def _contract(photographs: Photographs | None) -> Contract | None:
    return photographs.contract if photographs else None


def _of_file(place: Path) -> Weights:
    if place.suffix != ".safetensors":
        found = "is not a safetensors file" if place.exists() else "does not exist"
        raise DataError(f"{place} {found}; --from takes a run or a safetensors file with torchvision's names")
    try:
        tensors = safetensors.torch.load_file(place)
        return Weights(place, sha256_file(place), tensors)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DataError(f"cannot read the weights in {place}: {error}") from None


def same_network(weights: Weights, model: ModelSpec) -> None:
    """Refuse weights that say they are of another network, although names and shapes may agree.

    Raises:
        DataError: one line that names both.
    """
    if weights.model is not None and describe(weights.model) != describe(model):
        raise DataError(f"{weights.place} has the weights of {describe(weights.model)}, not of {describe(model)}")
