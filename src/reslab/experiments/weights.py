"""Trained weights at rest: a run's, reslab's own files, or a bare file; and what they say of themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from reslab.core.contract import Contract, other_preprocessing, value_text
from reslab.core.errors import CheckpointError, DataError, ReslabError, RunError, SpecError
from reslab.core.experiment import ModelSpec, Photographs
from reslab.core.files import sha256_file
from reslab.core.listening import unheard
from reslab.core.rundir import Record, RunDirectory
from reslab.experiments.feed import Inputs
from reslab.experiments.inputs import PhotoInputs, stored_inputs
from reslab.experiments.names import architecture_of, spec_of
from reslab.experiments.small_inputs import SmallInputs
from reslab.models.architecture import Architecture
from reslab.models.network import ResNet
from reslab.models.resnet import build
from reslab.training import checkpoint
from reslab.training.average import FACT
from reslab.training.checkpoint import FORM, HEADER, MANIFEST, MODEL, Checkpoint
from reslab.transforms.mean_image import MeanImage
from reslab.weights.fingerprint import Fingerprint, parse_fingerprint
from reslab.weights.foreign import is_safetensors, read_header, read_tensors
from reslab.weights.layout import Tensors, fitted


@dataclass(frozen=True, eq=False)
class Weights:
    """Trained weights.

    Args:
        place: where they came from.
        digest: sha256 of their file.
        tensors: by torchvision's names; None: they are gone, and only what a run noted of them is left.
        architecture: of the network they are of; None: the file does not say.
        inputs: the form in which that network takes pictures; None: the file does not say.
        classes: its classes; None: the file does not say.
        step: updates that made them.
        forced: in which respects they are used as what they are not.
        held: the flags that said what they are held to be.
    """

    place: Path
    digest: str
    tensors: Tensors | None
    architecture: Architecture | None = None
    inputs: Inputs | None = None
    classes: tuple[str, ...] | None = None
    step: int = 0
    forced: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def model(self) -> ModelSpec | None:
        """The network's name and choices."""
        return None if self.architecture is None else spec_of(self.architecture)

    @property
    def name(self) -> str:
        """The network's name, or the file's where it does not say."""
        return self.place.name if self.architecture is None else self.architecture.name

    @property
    def photographs(self) -> Photographs | None:
        """How its pictures were read; None: the file does not say, or they were small pictures."""
        return self.inputs.settings if isinstance(self.inputs, PhotoInputs) else None

    @property
    def mean_image(self) -> MeanImage | None:
        """What is subtracted from its photographs, where that is an image."""
        return self.inputs.image if isinstance(self.inputs, PhotoInputs) else None


def read_weights(place: Path, warn: Callable[[str], None] = unheard) -> Weights:
    """The weights of a run's newest whole checkpoint, of a checkpoint or an import, or of a safetensors file.

    Args:
        place: the folder or file.
        warn: told of damaged checkpoints that are passed over.

    Raises:
        DataError: there are none, or the file is damaged or of another kind.
        RunError: the folder is no run.
        CheckpointError: every checkpoint is damaged, or the last one of a finished run.
    """
    if not place.is_dir():
        return _of_file(place)
    if (place / MANIFEST).exists():
        return _of_checkpoint(place, checkpoint.read(place))
    if not (place / "spec.json").exists() and (place / f"{MODEL}.safetensors").is_file():
        return _of_file(place / f"{MODEL}.safetensors")
    run = RunDirectory.open(place)
    passed_over: list[str] = []
    found = checkpoint.newest(run.checkpoints, passed_over.append)
    if found is None:
        raise DataError(f"{place} has no checkpoint yet, so no weights")
    if found.facts["step"] < run.experiment.recipe.steps and run.result():
        raise CheckpointError(
            f"{place} is finished, and its last checkpoint is lost or damaged: delete {place / 'result.json'}, and"
            f" train --resume makes it again from step {found.facts['step']:,}"
        )
    for line in passed_over:
        warn(line)
    if run.experiment.recipe.bn_average and FACT not in found.facts:
        warn(
            f"{place} is not finished: its batch statistics are moving averages, not yet those that its recipe asks for"
        )
    return _of_checkpoint(place, found)


def facts_of_weights(architecture: Architecture, inputs: Inputs, classes: tuple[str, ...]) -> Record:
    """What a checkpoint or an import says of its weights."""
    return {
        "model": spec_of(architecture).model_dump(mode="json"),
        "classes": list(classes),
        "preprocessing": inputs.contract(),
    }


def fingerprint(architecture: Architecture, inputs: Inputs, classes: tuple[str, ...]) -> str:
    """What a file of weights says of itself in its header, where it may be met alone."""
    return Fingerprint(architecture, inputs.contract(), classes).to_json()


@dataclass(frozen=True)
class Held:
    """What a user holds weights to be.

    Args:
        network: settings of `ModelSpec` that were said.
        preprocessing: mean, scale and order of channels, and resampling, if said.
        force: to use them so although they say otherwise.
    """

    network: Mapping[str, Any]
    preprocessing: Contract | None = None
    force: bool = False


def hold(weights: Weights, held: Held) -> Weights:
    """The weights as what they are held to be.

    Raises:
        DataError: they say otherwise, and it is not forced; the line names both.
        SpecError: what is said makes no sense.
    """
    said, inputs, *_ = complete(weights)
    asked = architecture_of(
        ModelSpec.parse({**spec_of(said).model_dump(mode="json"), **held.network}, "the flags"), said.classes
    )
    conflicts = []
    if asked != said:
        conflicts.append(other_network(said, asked))
    if held.preprocessing is not None:
        if not isinstance(inputs, PhotoInputs):
            raise SpecError(f"--preprocessing is for photographs, and {weights.place} is of small pictures")
        conflicts += other_preprocessing(inputs.settings.contract, held.preprocessing)
        settings = inputs.settings.but({"contract": held.preprocessing.preparation()})
        inputs = PhotoInputs(settings)
    if conflicts and not held.force:
        raise DataError(refusal(weights, conflicts))
    return replace(weights, architecture=asked, inputs=inputs, forced=tuple(conflicts))


def refusal(weights: Weights, conflicts: list[str]) -> str:
    """One line that names all in which weights are something else."""
    return f"{weights.place} has {' and '.join(conflicts)}; to use them all the same, force it"


class Complete(NamedTuple):
    """All that is needed to use weights as they are."""

    architecture: Architecture
    inputs: Inputs
    classes: tuple[str, ...]
    tensors: Tensors


def complete(weights: Weights) -> Complete:
    """What weights say of themselves, where they say all.

    Raises:
        DataError: they do not say it.
    """
    if weights.architecture is not None and weights.inputs is None:
        raise DataError(f"{weights.place} lacks the mean picture, which lies beside it: give its folder")
    found = weights.architecture, weights.inputs, weights.classes, weights.tensors
    if found[0] is None or found[1] is None or found[2] is None or found[3] is None:
        raise DataError(
            f"{weights.place} does not say all of its network, pictures and classes: bring it in with"
            " `reslab weights import`"
        )
    return Complete(found[0], found[1], found[2], found[3])


def network_of(weights: Weights) -> ResNet:
    """The network that ``weights`` are of, with them in it.

    Raises:
        DataError: they do not say what they are of, or are of another network than they say.
    """
    whole = complete(weights)
    net = build(whole.architecture)
    net.load_state_dict(fitted(whole.tensors, whole.architecture, weights.place))
    return net


def require_absent(out: Path) -> None:
    """Refuse to write where something is.

    Raises:
        RunError: ``out`` is there.
    """
    if out.exists() or out.is_symlink():
        raise RunError(f"{out} is there already; take another --out")


def store_weights(whole: Complete, out: Path, facts: Record) -> None:
    """Keep weights in a folder of their own, as a checkpoint that has no run around it.

    Args:
        whole: the weights, and what they are of.
        out: the folder to make.
        facts: what else is to be said of them, their ``step`` among it.

    Raises:
        StorageError: ``out`` cannot be written.
    """
    identity = whole.architecture, whole.inputs, whole.classes
    parts = {MODEL: whole.tensors, FORM: whole.inputs.tensors()}
    checkpoint.write(out, parts, {**facts_of_weights(*identity), **facts}, fingerprint(*identity))


def conflicts_with(weights: Weights, architecture: Architecture, photographs: Photographs | None) -> list[str]:
    """In which respects weights are of something else than a training that begins from them, its classes aside."""
    found = []
    if weights.architecture is not None:
        asked = replace(architecture, classes=weights.architecture.classes)
        found += [other_network(weights.architecture, asked)] if asked != weights.architecture else []
    if photographs is not None and weights.photographs is not None:
        found += other_preprocessing(weights.photographs.contract, photographs.contract)
    small = weights.inputs.form if isinstance(weights.inputs, SmallInputs) else None
    if small is not None and photographs is not None:
        found.append("weights for small pictures, not for photographs")
    if weights.photographs is not None and photographs is None:
        found.append("weights for photographs, not for small pictures")
    if small is not None and small.std is not None and photographs is None:
        found.append(f"weights for pixels divided by {value_text(list(small.std))}, and here nothing divides them")
    return found


def other_network(theirs: Architecture, ours: Architecture) -> str:
    """What weights are of, and what they are not of, by name with what differs."""
    return f"the weights of {theirs.against(ours)}, not of {ours.against(theirs)}"


def _of_checkpoint(place: Path, found: Checkpoint) -> Weights:
    facts = found.facts
    try:
        model = ModelSpec.parse(facts["model"], str(found.path / "state.json"))
        classes = tuple(str(name) for name in facts["classes"])
        if not classes:
            raise DataError("it names no classes")
        inputs = stored_inputs(facts["preprocessing"], found.parts.get(FORM, {}))
        tensors, step = found.parts[MODEL], int(facts["step"])
    except (KeyError, TypeError, ValueError) as error:
        why = error if isinstance(error, ReslabError) else f"{type(error).__name__} {error}"
        raise CheckpointError(f"{found.path} is damaged: {why}") from None
    digest = found.digests[f"{MODEL}.safetensors"]
    return Weights(place, digest, tensors, architecture_of(model, len(classes)), inputs, classes, step)


def _of_file(place: Path) -> Weights:
    if not place.is_file():
        why = "is no plain file" if place.exists() else "does not exist"
        raise DataError(f"{place} {why}; give a run, or a safetensors file")
    if not is_safetensors(place):
        raise DataError(f"{place} is not a safetensors file; `reslab weights import` reads those of other libraries")
    header, tensors = read_header(place).get(HEADER), read_tensors(place)
    weights = Weights(place, sha256_file(place), tensors)
    if header is None:
        return weights
    found = parse_fingerprint(header, place)
    inputs = _alone(found.preprocessing, place)
    return replace(weights, architecture=found.architecture, inputs=inputs, classes=found.classes)


def _alone(preprocessing: Record, place: Path) -> Inputs | None:
    """The form of a file without its folder; a mean picture or mean image, where it needs one, is not in it."""
    contract = preprocessing.get("contract")
    if preprocessing.get("form") == "cifar" or (isinstance(contract, dict) and contract.get("mean_image")):
        return None
    try:
        return stored_inputs(preprocessing, {})
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{place}: its fingerprint is damaged: {error}") from None
