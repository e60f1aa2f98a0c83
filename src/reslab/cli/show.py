"""``reslab list`` and ``reslab show``."""

from dataclasses import asdict
from typing import Any, Literal

from reslab.cli.output import print_json, print_table, stdout
from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import ModelSpec, Pool, ShortcutKind, StrideOn
from reslab.experiments.catalog import REPRODUCTIONS, find_reproduction
from reslab.experiments.names import INPUT_SIZES, NETWORKS, parse_name
from reslab.experiments.recipes import RECIPES
from reslab.report.cifar_claims import CIFAR_CLAIMS

Kind = Literal["models", "experiments", "claims", "data", "recipes"]
DATA = {
    "embedded": "Fashion-MNIST, 12,000 + 2,000 grey pictures of 28x28, inside reslab (Expat licence, Zalando SE)",
    "FOLDER": "CIFAR-10 or CIFAR-100 in the official binary layout; or photographs (JPEG, PNG, WebP, BMP, GIF, TIFF) in"
    " class folders, alone or below train/ and val/",
}


def list_names(kind: Kind | None = None, /, *, json: bool = False) -> None:
    """Name what there is.

    Args:
        kind: one kind only: models, experiments, claims, data or recipes.
        json: print one JSON document.
    """
    listed = {name: rows for name, rows in _everything().items() if kind in (None, name)}
    if json:
        print_json({name: [{"name": key, "about": about} for key, about in rows] for name, rows in listed.items()})
        return
    for name, rows in listed.items():
        print_table((name, ""), rows)
        stdout().print()


def show(
    name: str,
    /,
    *,
    shortcut: ShortcutKind | None = None,
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    width: int | None = None,
    input_size: int | None = None,
    scale: str = "embedded",
    json: bool = False,
) -> None:
    """Show a model as Table 1 does, or an experiment as it would run.

    Args:
        name: as `reslab list` has it; cifar- networks in any depth 6n+2.
        shortcut: none, A, B or C; the default is B for ImageNet's networks, A for CIFAR's.
        stride_on: the bottleneck's convolution that strides: 1x1 (the paper) or 3x3 (v1.5).
        pool: pad1, or caffe as in the authors' released networks.
        width: filters of the first stage.
        input_size: pixels a side for which multiply-adds are counted; the default is the paper's, 224 or 32.
        scale: of an experiment: embedded or cifar.
        json: print one JSON document.

    """
    if name in REPRODUCTIONS:
        _show_experiment(name, scale, as_json=json)
        return
    if "resnet" not in name and "plain" not in name:
        raise SpecError(unknown("name", name, [*NETWORKS, *REPRODUCTIONS]))
    spec = ModelSpec.parse(
        {"name": name, "shortcut": shortcut, "stride_on": stride_on, "pool": pool, "width": width}, "the model"
    )
    found = _model(spec, input_size)
    if json:
        print_json(found)
        return
    _print_model(found)


def _everything() -> dict[Kind, list[tuple[str, str]]]:
    return {
        "models": [(name, _about(name)) for name in NETWORKS],
        "experiments": [
            (f"{name} --scale {scale}", f"{found.shows} ({found.source}): {found.cost}")
            for name, scales in REPRODUCTIONS.items()
            for scale, found in scales.items()
        ],
        "claims": [(claim.identifier, f"{claim.statement} ({claim.source})") for claim in CIFAR_CLAIMS],
        "data": list(DATA.items()),
        "recipes": [(name, recipe.purpose) for name, recipe in RECIPES.items()],
    }


def _about(text: str) -> str:
    name = parse_name(text)
    place = "section 4.2, CIFAR-10" if name.family == "cifar" else "Table 1, ImageNet"
    kind = f"residual, option {name.shortcut(None)}" if name.residual else "plain"
    return f"{name.depth} weighted layers, {kind} ({place})"


def _model(spec: ModelSpec, input_size: int | None) -> dict[str, Any]:
    from reslab.experiments.networks import blueprint
    from reslab.models.shortcuts import projections
    from reslab.models.sizes import size_of

    name = parse_name(spec.name)
    net = blueprint(spec)
    pixels = INPUT_SIZES[name.family] if input_size is None else input_size
    if pixels < 1:
        raise SpecError(f"--input-size must be positive, not {pixels}")
    size = size_of(net, pixels)
    return {
        "model": spec.name,
        "shortcut": name.shortcut(spec.shortcut),
        "projections": projections(net),
        "input_size": size.input_size,
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "stages": [asdict(stage) for stage in size.stages],
    }


def _print_model(found: dict[str, Any]) -> None:
    pixels, projections = found["input_size"], found["projections"]
    title = f"{found['model']}, shortcut {found['shortcut']}" + (f" ({projections} projections)" if projections else "")
    rows = [
        (
            stage["stage"],
            "x".join(str(side) for side in stage["output"]),
            str(stage["blocks"] or ""),
            f"{stage['parameters']:,}",
            f"{stage['multiply_adds']:,}",
            ", ".join(stage["strides"]),
        )
        for stage in found["stages"]
    ]
    total = ("total", "", "", f"{found['parameters']:,}", f"{found['multiply_adds']:,}", "")
    headings = ("stage", "output", "blocks", "parameters", f"multiply-adds at {pixels}x{pixels}", "stride 2 sits in")
    print_table(headings, [*rows, total], title=title)


def _show_experiment(name: str, scale: str, *, as_json: bool) -> None:
    found = find_reproduction(name, scale)
    resolved = [experiment.model_dump(mode="json") for experiment in found.experiments([0])]
    if as_json:
        print_json({"experiment": name, "scale": scale, "shows": found.shows, "runs": resolved})
        return
    stdout().print(f"{name}, scale {scale}: {found.shows} ({found.source}); {found.cost}\n")
    for experiment in found.experiments([0]):
        stdout().print(experiment.canonical_json())
