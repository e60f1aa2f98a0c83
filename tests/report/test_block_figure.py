"""Figure 5 by our hand, and figures as files."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

from reslab.core.errors import SpecError, StorageError
from reslab.models.anatomy import BlockAnatomy, Layer, Shortcut
from reslab.report.block_figure import Panel, block_figure
from reslab.report.figure_file import check_figure_name, save


def layer(kernel: int, inputs: int, outputs: int) -> Layer:
    return Layer(f"conv{kernel}", "conv", kernel, 1, inputs, outputs, 56, kernel**2 * inputs * outputs)


BASIC = BlockAnatomy("", (layer(3, 64, 64), layer(3, 64, 64)), Shortcut("identity", widens=False))
REDUCED = (layer(1, 256, 64), layer(3, 64, 64), layer(1, 64, 256))
PROJECTED = BlockAnatomy("", REDUCED, Shortcut("projection", widens=False, layer=layer(1, 256, 256)))


def figure_5() -> Figure:
    return block_figure([Panel("block-basic", BASIC, asked=True), Panel("block-bottleneck", PROJECTED, asked=False)])


def texts(figure: Figure, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].texts]


def additions(figure: Figure) -> list[int]:
    return [sum(isinstance(patch, Circle) for patch in axes.patches) for axes in figure.axes]


def test_the_basic_block_is_drawn_with_its_identity() -> None:
    drawn = texts(figure_5(), 0)
    assert drawn.count("3x3, 64") == 2
    assert drawn.count("relu") == 2
    assert {"block-basic", "64-d, 56x56", "identity", "73,728 weights a position"} <= set(drawn)


def test_the_bottleneck_is_drawn_with_its_projection() -> None:
    drawn = texts(figure_5(), 1)
    assert [text for text in drawn if "x" in text and ", " in text] == [
        *("256-d, 56x56", "1x1, 64", "3x3, 64", "1x1, 256", "1x1, 256"),
    ]
    assert drawn.count("relu") == 3
    assert "identity" not in drawn
    assert "135,168 weights a position" in drawn


def test_a_plain_block_adds_nothing() -> None:
    plain = block_figure([Panel("plain", BlockAnatomy("", BASIC.layers, None), asked=True)])
    assert (additions(plain), additions(figure_5())) == ([0], [1, 1])
    assert texts(plain, 0).count("relu") == 2
    assert "identity" not in texts(plain, 0)


def test_the_block_that_was_asked_for_stands_out() -> None:
    asked, other = (axes.texts[0] for axes in figure_5().axes)
    assert asked.get_color() != other.get_color()


def test_a_figure_is_written_as_its_name_says(tmp_path: Path) -> None:
    for name in ("a.svg", "b.PNG", "deep/er/c.pdf"):
        save(figure_5(), tmp_path / name)
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("}svg")  # noqa: S314 our own
    with Image.open(tmp_path / "b.PNG") as picture:
        assert picture.format == "PNG"
        assert picture.width / picture.height == pytest.approx(5.5 / 3.6, abs=0.01)
    assert (tmp_path / "deep" / "er" / "c.pdf").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_figure_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    save(figure_5(), first)
    save(figure_5(), second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["figure", "figure.jpg", "svg", ".svg"])
def test_another_kind_of_file_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match=rf"ends in .svg, .png or .pdf, not {name}$"):
        check_figure_name(Path("some") / name)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        save(figure_5(), tmp_path / "file" / "a.svg")
