"""A network's picture: what is drawn, and that it can be read and printed."""

import functools
from itertools import combinations

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from reslab.core.experiment import ModelSpec, ShortcutKind
from reslab.experiments.names import INPUT_SIZES, architecture_of, parse_name
from reslab.models.anatomy import BlockAnatomy, StageAnatomy
from reslab.models.dissect import dissect
from reslab.models.resnet import build
from reslab.models.trace import trace
from reslab.report.network_figure import network_figure
from reslab.report.network_layout import columns_of

A4 = (8.27, 11.69)
NOTES = ("152 weighted layers, 60,192,808 parameters", "11,282,415,616 multiply-adds at 224x224")
DRAWN: tuple[tuple[str, ShortcutKind | None], ...] = (
    ("plain34", None),
    ("resnet18", None),
    ("resnet34", "A"),
    ("resnet34", "C"),
    ("resnet50", None),
    ("resnet101", None),
    ("resnet152", None),
    ("plain152", None),
    ("cifar-resnet20", None),
    ("cifar-resnet110", None),
)
SLOWER = ("resnet101", "plain152", "cifar-resnet110")
READ = [pytest.param(*one, marks=pytest.mark.slow if one[0] in SLOWER else ()) for one in DRAWN]


@functools.cache
def stages_of(name: str, shortcut: ShortcutKind | None) -> tuple[StageAnatomy, ...]:
    with torch.device("meta"):
        net = build(architecture_of(ModelSpec(name=name, shortcut=shortcut)))
    return dissect(trace(net, INPUT_SIZES[parse_name(name).family]))


@functools.cache
def drawn(name: str, shortcut: ShortcutKind | None = None) -> tuple[Figure, Axes]:
    figure = network_figure(name, NOTES, stages_of(name, shortcut), INPUT_SIZES[parse_name(name).family])
    FigureCanvasAgg(figure).draw()
    return figure, figure.axes[0]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def boxes(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def curves(axes: Axes) -> list[FancyArrowPatch]:
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return [arrow for arrow in arrows if Path.CURVE4 in list(arrow.get_path().codes)]


def blocks_of(stages: tuple[StageAnatomy, ...]) -> list[BlockAnatomy]:
    return [part for stage in stages for part in stage.parts if isinstance(part, BlockAnatomy)]


def test_a_network_of_34_layers_has_a_box_a_layer_as_figure_3_has() -> None:
    _, axes = drawn("resnet34", "A")
    convolutions = [text for text in texts(axes) if "conv" in text]
    assert convolutions[:3] == ["7x7 conv, 64, /2", "3x3 conv, 64", "3x3 conv, 64"]
    assert [convolutions.count(f"3x3 conv, {width}") for width in (64, 128, 256, 512)] == [6, 7, 11, 5]
    assert [convolutions.count(f"3x3 conv, {width}, /2") for width in (64, 128, 256, 512)] == [0, 1, 1, 1]
    assert {"picture", "3x3 max pool, /2", "avg pool", "fc 1000"} <= set(texts(axes))
    assert len(boxes(axes)) == 34 + 2  # the two poolings


def test_map_sizes_stand_where_they_change() -> None:
    _, axes = drawn("resnet34", "A")
    sizes = [text.split()[-1] for text in texts(axes) if text.startswith("output")]
    assert sizes == ["224", "112", "56", "28", "14", "7", "1"]


@pytest.mark.parametrize(("name", "shortcut", "count", "dotted"), [("resnet34", "A", 16, 3), ("resnet50", "B", 16, 4)])
def test_shortcuts_are_dotted_where_dimensions_increase(
    name: str, shortcut: ShortcutKind, count: int, dotted: int
) -> None:
    _, axes = drawn(name, shortcut)
    lines = [curve.get_linestyle() for curve in curves(axes)]
    assert len(lines) == count
    assert sum(line not in ("-", "solid") for line in lines) == dotted


def test_projections_have_a_colour_of_their_own() -> None:
    colours = {
        kind: {curve.get_edgecolor() for curve in curves(drawn("resnet34", kind)[1])} for kind in ("A", "B", "C")
    }
    assert [len(colours[kind]) for kind in ("A", "B", "C")] == [1, 2, 1]
    assert colours["B"] == colours["A"] | colours["C"]


def test_a_plain_network_has_no_shortcuts_and_nothing_to_explain() -> None:
    _, axes = drawn("plain34")
    assert curves(axes) == []
    assert not {"identity", "projection: 1x1 convolution"} & set(texts(axes))


@pytest.mark.parametrize(("name", "shortcut"), READ)
def test_every_network_fits_one_page(name: str, shortcut: ShortcutKind | None) -> None:
    figure, axes = drawn(name, shortcut)
    assert figure.get_figwidth() <= A4[0]
    assert figure.get_figheight() <= A4[1]
    page = figure.bbox.padded(1)
    for text in axes.texts:
        box = text.get_window_extent()
        assert page.contains(box.x0, box.y0), text.get_text()
        assert page.contains(box.x1, box.y1), text.get_text()


@pytest.mark.parametrize(("name", "shortcut"), READ)
def test_no_text_lies_on_another_or_on_a_box_that_is_not_its_own(name: str, shortcut: ShortcutKind | None) -> None:
    _, axes = drawn(name, shortcut)
    places = [text.get_window_extent() for text in axes.texts]
    assert not [pair for pair in combinations(places, 2) if Bbox.intersection(*pair)]
    for box in (box.get_window_extent() for box in boxes(axes)):
        met = [place for place in places if Bbox.intersection(place, box)]
        assert len(met) == 1
        assert box.x0 < met[0].x0 < met[0].x1 < box.x1


@pytest.mark.parametrize(("name", "times"), [("resnet152", [2, 7, 35, 2]), ("plain152", [2, 7, 35, 2])])
def test_a_network_too_deep_for_a_page_has_alike_blocks_folded(name: str, times: list[int]) -> None:
    _, axes = drawn(name)
    assert [text for text in texts(axes) if text.startswith("x ")] == [f"x {number}" for number in times]


@pytest.mark.parametrize(("name", "shortcut"), DRAWN)
def test_no_block_is_lost_or_torn_by_the_layout(name: str, shortcut: ShortcutKind | None) -> None:
    stages = stages_of(name, shortcut)
    pieces = [piece for column in columns_of(stages) for piece in column]
    assert sum(piece.times for piece in pieces) == sum(len(stage.parts) for stage in stages)
    kept = {piece.layers for piece in pieces}
    assert {block.layers for block in blocks_of(stages)} >= {layers for layers in kept if len(layers) > 1}
    if all(piece.times == 1 for piece in pieces):
        assert [piece.layers for piece in pieces if len(piece.layers) > 1] == [
            block.layers for block in blocks_of(stages)
        ]


def test_columns_begin_with_a_stage_where_that_is_near() -> None:
    columns = columns_of(stages_of("cifar-resnet110", None))
    assert [column[0].stage for column in columns] == [0, 2, 3]
