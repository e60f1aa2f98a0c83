"""A figure as a file by itself: SVG, PNG or PDF, whichever its name says."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from reslab.core.errors import SpecError
from reslab.core.files import write_bytes
from reslab.report.figure import STYLE, as_png, as_svg


def as_pdf(figure: Figure) -> bytes:
    """The figure as a PDF of one page, the same for the same figure."""
    stream = io.BytesIO()
    with mpl.rc_context({**STYLE, "pdf.fonttype": 42}):  # letters as TrueType: they can be searched and copied
        figure.savefig(stream, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return stream.getvalue()


WRITERS: Final[dict[str, Callable[[Figure], bytes]]] = {
    ".svg": lambda figure: as_svg(figure).encode(),
    ".png": as_png,
    ".pdf": as_pdf,
}


def check_figure_name(path: Path) -> None:
    """Refuse a name that says none of the formats.

    Raises:
        SpecError: it does not.
    """
    if path.suffix.lower() not in WRITERS:
        *first, last = WRITERS
        kinds = f"{', '.join(first)} or {last}"
        raise SpecError(f"--figure writes SVG, PNG or PDF: give it a name that ends in {kinds}, not {path.name}")


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` in the format that the name of ``path`` says.

    Raises:
        SpecError: it says none.
        StorageError: the file could not be written.
    """
    check_figure_name(path)
    write_bytes(path, WRITERS[path.suffix.lower()](figure))
