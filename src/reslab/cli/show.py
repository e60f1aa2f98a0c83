"""``reslab list`` and ``reslab show``."""

from pathlib import Path
from typing import Literal

from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.show_block import BLOCKS, show_block
from reslab.cli.show_network import show_network
from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import ModelSpec, Pool, ShortcutKind, StrideOn
from reslab.experiments.catalog import REPRODUCTIONS, find_reproduction
from reslab.experiments.names import NETWORKS, parse_name
from reslab.experiments.recipes import RECIPES, about_recipe
from reslab.report.cifar_claims import CIFAR_CLAIMS

Kind = Literal["models", "experiments", "claims", "data", "recipes"]
DATA = {
    "embedded": "Fashion-MNIST, 12,000 + 2,000 grey pictures of 28x28, inside reslab (Expat licence, Zalando SE)",
    "FOLDER": "CIFAR-10 or CIFAR-100 in the official binary layout; or photographs (JPEG, PNG, WebP, BMP, GIF, TIFF) in"
    " class folders, alone or below train/ and val/, or in shards that `reslab data pack` makes of them",
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
    figure: Path | None = None,
    json: bool = False,
) -> None:
    """Show a model as Table 1 does, a block as Figure 5 does, or an experiment as it would run.

    Args:
        name: as `reslab list` has it, cifar- networks also in other depths; or block-basic, block-bottleneck.
        shortcut: none, A, B or C; the default is B for ImageNet's networks, A for CIFAR's.
        stride_on: the bottleneck's convolution that strides: 1x1 (the paper) or 3x3 (v1.5).
        pool: pad1, or caffe as in the authors' released networks.
        width: filters of the first stage.
        input_size: pixels a side for which multiply-adds are counted; by default the paper's: 224, 32, a block's 56.
        scale: of an experiment: embedded or cifar.
        figure: draw the model as Figure 3 does, or the block as Figure 5 does, into a .svg, .png or .pdf.
        json: print one JSON document.

    Raises:
        SpecError: there is no such thing, or a flag that it cannot have.
        StorageError: the figure could not be written.
    """
    if name in REPRODUCTIONS:
        if figure is not None:
            raise SpecError(f"--figure draws networks and blocks, and {name} is an experiment")
        _show_experiment(name, scale, as_json=json)
        return
    if figure is not None:
        from reslab.report.figure_file import check_figure_name

        check_figure_name(figure)
    if name in BLOCKS:
        if (stride_on, pool) != ("1x1", "pad1"):
            raise SpecError(f"{name} neither strides nor pools: --stride-on and --pool are for networks")
        show_block(name, shortcut, width, input_size, figure, as_json=json)
        return
    if not name.startswith("cifar-") and "resnet" not in name and "plain" not in name:
        raise SpecError(unknown("name", name, [*NETWORKS, *BLOCKS, *REPRODUCTIONS]))
    spec = ModelSpec.parse(
        {"name": name, "shortcut": shortcut, "stride_on": stride_on, "pool": pool, "width": width}, "the model"
    )
    show_network(spec, input_size, figure, as_json=json)


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
        "recipes": [(name, about_recipe(name).summary) for name in RECIPES],
    }


def _about(text: str) -> str:
    name = parse_name(text)
    place = "section 4.2, CIFAR-10" if name.family == "cifar" else "Table 1, ImageNet"
    kind = f"residual, option {name.shortcut(None)}" if name.residual else "plain"
    blocks = ", bottlenecks" if name.bottleneck else ""
    return f"{name.depth} weighted layers{blocks}, {kind} ({place})"


def _show_experiment(name: str, scale: str, *, as_json: bool) -> None:
    found = find_reproduction(name, scale)
    resolved = [experiment.model_dump(mode="json") for experiment in found.experiments([0])]
    if as_json:
        print_json({"experiment": name, "scale": scale, "shows": found.shows, "runs": resolved})
        return
    stdout().print(f"{name}, scale {scale}: {found.shows} ({found.source}); {found.cost}\n")
    for experiment in found.experiments([0]):
        stdout().print(experiment.canonical_json())
