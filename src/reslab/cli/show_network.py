"""``reslab show`` of a network: its sizes as a table or JSON, its layers as a figure."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reslab.cli.output import print_json, print_table, say, stdout
from reslab.core.errors import SpecError
from reslab.core.experiment import ModelSpec
from reslab.core.units import bytes_text
from reslab.experiments.names import INPUT_SIZES, describe, parse_name

if TYPE_CHECKING:
    from reslab.models.trace import Trace

HEADINGS: Final = ("stage", "output", "blocks", "parameters", "multiply-adds", "sees", "keeps", "stride 2 sits in")
LARGEST: Final = 100_000  # pixels a side; sizes beyond overflow a tensor's
EXPLAINED: Final = """
sees: pixels a side of the picture that one place of the output depends on
keeps: activations that training keeps for one picture until the backward pass, in fp32"""


def show_network(spec: ModelSpec, input_size: int | None, figure: Path | None, *, as_json: bool) -> None:
    """Print the sizes of the network that ``spec`` names, and draw it where a figure is asked for.

    Raises:
        SpecError: there is no such network, or pictures of this size are none for it.
        StorageError: the figure could not be written.
    """
    from reslab.experiments.networks import blueprint
    from reslab.models.trace import trace

    pixels = input_size_of(input_size, INPUT_SIZES[parse_name(spec.name).family])
    traced = trace(blueprint(spec), pixels)
    found = _found(spec, traced)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if figure is not None:
        _draw(spec, traced, found, figure)


def input_size_of(asked: int | None, usual: int) -> int:
    """The size that is meant.

    Raises:
        SpecError: no picture has it.
    """
    if asked is not None and not 1 <= asked <= LARGEST:
        raise SpecError(f"--input-size must be positive and at most {LARGEST:,}, not {asked}")
    return usual if asked is None else asked


def _found(spec: ModelSpec, traced: "Trace") -> dict[str, Any]:
    from reslab.models.shortcuts import projections
    from reslab.models.sizes import measure

    size = asdict(measure(traced))
    return {
        "model": spec.name,
        "shortcut": parse_name(spec.name).shortcut(spec.shortcut),
        "projections": projections(traced.net),
        **{key: size[key] for key in ("input_size", "parameters", "multiply_adds", "activation_bytes", "stages")},
    }


def _print(found: dict[str, Any]) -> None:
    pixels, projections = found["input_size"], found["projections"]
    shortcut = f"shortcut {found['shortcut']}" + (f" ({projections} projections)" if projections else "")
    rows = [
        (
            stage["stage"],
            "x".join(map(str, stage["output"])),
            str(stage["blocks"] or ""),
            *_amounts(stage, f"{stage['receptive_field']:,}"),
            _strides(stage["strides"]),
        )
        for stage in found["stages"]
    ]
    total = ("total", "", "", *_amounts(found, ""), "")
    print_table(HEADINGS, [*rows, total], f"{found['model']}, {shortcut}; multiply-adds at {pixels}x{pixels}")
    stdout().print(EXPLAINED)


def _amounts(part: dict[str, Any], sees: str) -> tuple[str, ...]:
    return f"{part['parameters']:,}", f"{part['multiply_adds']:,}", sees, bytes_text(part["activation_bytes"])


def _strides(names: tuple[str, ...]) -> str:
    """``layer2.0.conv1, shortcut``: a shortcut is that of the block named before it."""
    return ", ".join("shortcut" if "downsample" in name else name for name in names)


def _draw(spec: ModelSpec, traced: "Trace", found: dict[str, Any], figure: Path) -> None:
    from reslab.models.dissect import dissect
    from reslab.report.figure_file import save
    from reslab.report.network_figure import network_figure

    pixels = found["input_size"]
    notes = (
        f"{parse_name(spec.name).depth:,} weighted layers, {found['parameters']:,} parameters",
        f"{found['multiply_adds']:,} multiply-adds at {pixels}x{pixels}",
    )
    save(network_figure(describe(spec), notes, dissect(traced), pixels), figure)
    say(f"written: {figure}")
