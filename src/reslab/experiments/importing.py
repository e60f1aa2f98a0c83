"""Weights from other libraries: what kind they are, and bringing them in."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from reslab.core.contract import CONTRACTS, Contract, Resample
from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Photographs
from reslab.core.files import sha256_file
from reslab.core.imagenet import imagenet_classes
from reslab.core.rundir import Record
from reslab.core.text import printable
from reslab.core.units import counted
from reslab.experiments.feed import Inputs
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.small_inputs import SmallInputs
from reslab.experiments.weights import Complete, Weights, complete, read_weights, require_absent, store_weights
from reslab.models.architecture import Architecture
from reslab.models.resnet import blueprint
from reslab.training import checkpoint
from reslab.transforms.cifar import CifarForm
from reslab.weights.akamaster import from_akamaster
from reslab.weights.caffe import from_caffe
from reslab.weights.foreign import is_safetensors, read_header, read_tensors
from reslab.weights.imported import Imported
from reslab.weights.keras import from_keras_tfjs, is_keras_tfjs
from reslab.weights.layout import Tensors, fitted, identify, require_usable
from reslab.weights.libraries import Library
from reslab.weights.timm import CONFIG, from_timm, weights_in


def _from_torchvision(tensors: Tensors, place: Path) -> Imported:
    architecture = identify(tensors, place, stride_on="3x3")
    return Imported(architecture, fitted(tensors, architecture, place), CONTRACTS["torchvision"])


FILES: Final[dict[Library, Callable[[Path], Imported]]] = {"timm": from_timm, "keras-tfjs": from_keras_tfjs}
TENSORS: Final[dict[Library, Callable[[Tensors, Path], Imported]]] = {
    "torchvision": _from_torchvision,
    "akamaster": from_akamaster,
    "caffe": from_caffe,
}


@dataclass(frozen=True)
class Known:
    """What a user knows better than an importer: mean, scale and order; sides; resampling; names of the classes."""

    preprocessing: Contract | None = None
    shorter_side: int | None = None
    crop: int | None = None
    resample: Resample | None = None
    classes: tuple[str, ...] | None = None


def import_weights(library: Library, place: Path, out: Path, known: Known, warn: Callable[[str], None]) -> Weights:
    """Read another library's weights and keep them as reslab's own: a folder that every verb takes.

    Args:
        library: whose they are.
        place: the file or folder.
        out: the folder to make; it must not be there.
        known: what is known better.
        warn: told what a user should know.

    Raises:
        DataError: they cannot be read, or are of no network of the paper.
        RunError: ``out`` is there.
        SpecError: what is known makes no sense.
        StorageError: ``out`` cannot be written.
    """
    require_absent(out)
    found = _read(library, place)
    inputs = _inputs(found, known)
    classes = _classes(found, known)
    require_usable(found.tensors, place)
    for note in found.notes:
        warn(note)
    origin = {"library": library, "file": place.name, "sha256": sha256_file(place) if place.is_file() else None}
    store_weights(Complete(found.architecture, inputs, classes, found.tensors), out, {"step": 0, "origin": origin})
    return read_weights(out)


def _read(library: Library, place: Path) -> Imported:
    """What the importer finds; a file that reslab wrote for a library says itself what it is of."""
    file = weights_in(place) if library == "timm" and place.is_dir() else place
    said = file.is_file() and is_safetensors(file) and checkpoint.HEADER in read_header(file)
    if not said:
        return FILES[library](place) if library in FILES else TENSORS[library](read_tensors(place), place)
    if library not in ("torchvision", "timm"):
        raise DataError(f"{place} says that it is reslab's own: it is used as it is, or its folder")
    weights = read_weights(file)
    whole = complete(weights)
    if weights.photographs is None:
        raise DataError(f"{place} is of small pictures, which {library} has no networks for: use its own folder")
    tensors = fitted(whole.tensors, whole.architecture, place)
    return Imported(whole.architecture, tensors, weights.photographs.contract, whole.classes)


def describe_weights(weights: Weights) -> Record:
    """What weights that say what they are of say.

    Raises:
        DataError: they do not say it, or have other tensors.
    """
    whole = complete(weights)
    fitted(whole.tensors, whole.architecture, weights.place)
    return {**_said("reslab", whole.architecture, whole.inputs, whole.classes), "sha256": weights.digest}


def inspect_weights(place: Path) -> Record:
    """What a file or folder of weights is, as far as it says or shows it.

    Raises:
        DataError: it cannot be read, or is of no network of the paper.
        RunError: a folder that holds none of it.
    """
    kind, found = _recognised(place)
    if found is None:
        return describe_weights(read_weights(place))
    said = _said(kind, found.architecture, _inputs(found, Known()), found.classes)
    return {**said, "notes": list(found.notes), "sha256": sha256_file(place) if place.is_file() else None}


def _recognised(place: Path) -> tuple[str, Imported | None]:
    """Whose weights these are, and what they are of, where they are not our own; torchvision's files are timm's too."""
    if place.is_dir():
        return ("timm", from_timm(place)) if (place / CONFIG).exists() else ("reslab", None)
    if is_keras_tfjs(place):
        return "keras-tfjs", from_keras_tfjs(place)
    tensors = read_tensors(place)
    if is_safetensors(place) and checkpoint.HEADER in read_header(place):
        return "reslab", None
    kind: Library = "akamaster" if "linear.weight" in tensors else "torchvision"
    if any(name.startswith("res2a_branch2a") for name in tensors):
        kind = "caffe"
    return kind, TENSORS[kind](tensors, place)


def _said(kind: str, architecture: Architecture, inputs: Inputs, classes: tuple[str, ...] | None) -> Record:
    return {
        "kind": kind,
        "model": architecture.name,
        "architecture": asdict(architecture),
        "parameters": sum(parameter.numel() for parameter in blueprint(architecture).parameters()),
        "preprocessing": inputs.contract(),
        "classes": None if classes is None else list(classes),
    }


def _inputs(found: Imported, known: Known) -> Inputs:
    stated = ("shorter_side", "crop", "resample")
    how = {key: value for key in stated if (value := getattr(known, key)) is not None}
    if isinstance(found.form, CifarForm):
        if how or known.preprocessing:
            flags = "--preprocessing, --shorter-side, --crop and --resample"
            raise SpecError(f"{flags} are for photographs; these are small pictures")
        return SmallInputs(found.form)
    changed = known.preprocessing.preparation() if known.preprocessing else {}
    contract = found.form.but({**changed, **how})
    smallest = blueprint(found.architecture).smallest_input
    if contract.crop < smallest:
        raise SpecError(f"a crop of {contract.crop} is too small for this network: it takes {smallest} or more")
    scale = Photographs().scale
    low = max(scale[0], contract.crop)  # of training from these weights
    return PhotoInputs(Photographs(contract=contract, scale=(low, max(scale[1], low))))


def _classes(found: Imported, known: Known) -> tuple[str, ...]:
    outputs = found.architecture.classes
    usual = tuple(entry.wnid for entry in imagenet_classes())
    guessed = usual if outputs == len(usual) else None
    classes = next((names for names in (known.classes, found.classes, guessed) if names is not None), None)
    if classes is None:
        raise DataError(f"the weights do not name their {counted(outputs, 'class')}: --classes FILE, a name a line")
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice or len(classes) != outputs:
        doubled = f"; {printable(twice[0])} is there twice" if twice else ""
        raise SpecError(f"{counted(len(classes), 'name')} of classes for a network of {outputs}{doubled}")
    return classes
