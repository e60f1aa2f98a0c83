"""A figure on its way to the page: as SVG inside it, and as files beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from reslab.core.files import write_bytes, write_text
from reslab.report.figure import as_png, as_svg

FOLDER: Final = "figures"
REM: Final = 6  # to the inch, at 16 pixels of 96 to the inch


@dataclass(frozen=True)
class Drawing:
    """``svg`` for the page, ``picture`` as Markdown links it, the natural ``width`` in rem, and the ``files``."""

    svg: str
    picture: str
    width: float
    files: tuple[Path, Path]


def draw(figure: Figure, beside: Path, name: str) -> Drawing:
    """Save ``figure`` as ``name`` with ``.svg`` and ``.png`` in the folder of figures in ``beside``.

    Raises:
        StorageError: a file could not be written.
    """
    svg, png = (beside / FOLDER / f"{name}{suffix}" for suffix in (".svg", ".png"))
    text = as_svg(figure)
    write_text(svg, text)
    write_bytes(png, as_png(figure))
    return Drawing(text, f"{FOLDER}/{png.name}", REM * figure.get_figwidth(), (svg, png))
