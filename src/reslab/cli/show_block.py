"""``reslab show`` of a building block: Figure 5."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reslab.cli.output import print_json, print_table, say
from reslab.cli.show_network import input_size_of
from reslab.core.errors import SpecError
from reslab.core.experiment import ShortcutKind
from reslab.models.architecture import BlockKind

if TYPE_CHECKING:
    from reslab.models.anatomy import BlockAnatomy

BLOCKS: Final[dict[str, BlockKind]] = {"block-basic": "basic", "block-bottleneck": "bottleneck"}
SIDE: Final = 56  # of the maps in Figure 5
WIDTH: Final = 64  # filters, Figure 5


def show_block(
    name: str,
    shortcut: ShortcutKind | None,
    width: int | None,
    input_size: int | None,
    figure: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print a block's layers and its weights for one position of the map, and draw both blocks beside each other.

    Args:
        name: of `BLOCKS`.
        shortcut: None: B, which is the identity here, where dimensions stay.
        width: filters of the 3x3 convolutions.
        input_size: places a side of the map.
        figure: where to draw.
        as_json: print one JSON document.

    Raises:
        SpecError: a size is not positive.
        StorageError: the figure could not be written.
    """
    if width is not None and width < 1:
        raise SpecError(f"--width must be positive, not {width}")
    kind, side = shortcut or "B", input_size_of(input_size, SIDE)
    blocks = {other: _anatomy(other, kind, width or WIDTH, side) for other in BLOCKS}
    (print_json if as_json else _print)(_found(name, kind, blocks[name]))
    if figure is not None:
        from reslab.report.block_figure import Panel, block_figure
        from reslab.report.figure_file import save

        save(block_figure([Panel(other, block, other == name) for other, block in blocks.items()]), figure)
        say(f"written: {figure}")


def _anatomy(name: str, shortcut: ShortcutKind, width: int, side: int) -> "BlockAnatomy":
    import torch

    from reslab.models import resnet
    from reslab.models.dissect import dissect_block

    make = resnet.BLOCKS[BLOCKS[name]]
    channels = width * make.expansion
    with torch.device("meta"):
        return dissect_block(make(channels, width, 1, shortcut), channels, side)


def _found(name: str, shortcut: ShortcutKind, block: "BlockAnatomy") -> dict[str, Any]:
    return {
        "model": name,
        "shortcut": shortcut,
        "carries": block.shortcut.carries if block.shortcut else None,
        "weights_per_position": sum(layer.weights for layer in block.convolutions),
        "layers": [
            {
                "layer": layer.name,
                "kernel": layer.kernel,
                "channels": [layer.inputs, layer.outputs],
                "output": [layer.side, layer.side],
                "weights": layer.weights,
            }
            for layer in block.convolutions
        ],
    }


def _print(found: dict[str, Any]) -> None:
    rows = [
        (
            layer["layer"],
            f"{layer['kernel']}x{layer['kernel']}",
            " to ".join(f"{channels:,}" for channels in layer["channels"]),
            "x".join(map(str, layer["output"])),
            f"{layer['weights']:,}",
        )
        for layer in found["layers"]
    ]
    total = ("total", "", "", "", f"{found['weights_per_position']:,}")
    carries = f" ({found['carries']})" if found["carries"] else ""
    headings = ("layer", "kernel", "channels", "output", "weights a position")
    print_table(headings, [*rows, total], f"{found['model']}, shortcut {found['shortcut']}{carries}")
