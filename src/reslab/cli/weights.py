"""``reslab weights import|export|inspect``."""

from pathlib import Path
from typing import Any

from reslab.cli.output import print_json, print_table, say, stdout
from reslab.cli.progress import progress
from reslab.core.contract import Resample, named_contract
from reslab.core.errors import DataError
from reslab.core.imagenet import title_of
from reslab.core.text import few, printable
from reslab.weights.libraries import Library, Target

SHOWN = 4  # classes
SETTINGS = ("block", "shortcut", "stride_on", "pool", "width", "bn_eps")


def import_(
    library: Library,
    file: Path,
    /,
    *,
    out: Path,
    preprocessing: str | None = None,
    shorter_side: int | None = None,
    crop: int | None = None,
    resample: Resample | None = None,
    classes: Path | None = None,
    json: bool = False,
) -> None:
    """Bring in another library's weights: evaluate, predict, train --from and weights export take the folder.

    Nothing in the file is run, and what it is of is checked tensor by tensor.

    Args:
        library: torchvision or timm (their ResNets), akamaster (pytorch_resnet_cifar10), keras-tfjs (model.json of
            Keras' ResNet-50), caffe (the authors' networks, as .npz or safetensors with Caffe's names of blobs).
        file: safetensors, .pth, .th, .npz or model.json; of timm also the folder with config.json.
        out: the folder to make.
        preprocessing: paper, torchvision or caffe, where it is not the library's usual one.
        shorter_side: in testing, before the central crop.
        crop: pixels a side of what the network sees.
        resample: how its pictures are resized, always antialiased.
        classes: a text file with a name a line, where the weights do not name them.
        json: print one JSON document.
    """
    from reslab.experiments.importing import Known, describe_weights, import_weights

    contract = None if preprocessing is None else named_contract(preprocessing)
    known = Known(contract, shorter_side, crop, resample, None if classes is None else _names(classes))
    kept = import_weights(library, file, out, known, progress().warned)
    _print(describe_weights(kept), as_json=json)
    say(f"kept in {printable(str(out))}")


def inspect(file: Path, /, *, json: bool = False) -> None:
    """Say what weights are: whose, of which network, how their pictures were prepared.

    Args:
        file: a run, a folder or a file of weights.
        json: print one JSON document.
    """
    from reslab.experiments.importing import inspect_weights

    _print(inspect_weights(file), as_json=json)


def export(
    weights: Path,
    /,
    *,
    to: Target,
    out: Path,
    json: bool = False,
) -> None:
    """Write trained weights for another library; what it cannot express is refused by name.

    Args:
        weights: a run, whose newest whole checkpoint is taken, or weights that were brought in.
        to: torchvision (model.safetensors with its names), timm (config.json too: a folder that
            `timm.create_model("local-dir:FOLDER", pretrained=True)` reads), or safetensors (reslab's own folder).
        out: the folder to make.
        json: print one JSON document.
    """
    from reslab.experiments.exporting import export_weights
    from reslab.experiments.weights import read_weights

    files = export_weights(read_weights(weights, progress().warned), to, out)
    if json:
        print_json({"files": [str(file) for file in files]})
        return
    for file in files:
        stdout().print(f"written: {file}", soft_wrap=True)


def _names(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the classes in {file}: {error}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise DataError(f"{file} names no classes: a name a line")
    return names


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    architecture, preprocessing = found["architecture"], found["preprocessing"]
    titles = [title_of(name) for name in found["classes"] or ()]
    rows = [
        ("kind", found["kind"] + (" (timm's files look the same)" if found["kind"] == "torchvision" else "")),
        ("network", found["model"]),
        *((name.replace("_", " "), _value(architecture[name])) for name in SETTINGS if architecture[name] is not None),
        ("parameters", f"{found['parameters']:,}"),
        *_prepared(preprocessing),
        ("classes", f"{len(titles):,}: {few(titles, SHOWN)}" if titles else f"{architecture['classes']:,}, not named"),
        *([] if found["sha256"] is None else [("sha256", found["sha256"])]),
        *(("note", note) for note in found.get("notes", ())),
    ]
    print_table(("", ""), [(name, printable(text)) for name, text in rows])


def _prepared(preprocessing: dict[str, Any]) -> list[tuple[str, str]]:
    contract = preprocessing.get("contract")
    if contract is None:
        height, width = preprocessing["shape"][1:]
        return [
            ("pictures", f"{width}x{height}"),
            ("subtracted", preprocessing["subtract"]),
            ("divided by", _value(preprocessing["divide"] or 1)),
        ]
    return [
        ("pictures", f"shorter side {contract['shorter_side']}, central crop {contract['crop']}, {contract['order']}"),
        ("resized", preprocessing["resample"]),
        ("subtracted", ("a mean image, on average " if contract["mean_image"] else "") + _value(contract["mean"])),
        ("divided by", _value(contract["std"])),
    ]


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
