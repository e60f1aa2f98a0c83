"""How pages are filled in: HTML with everything from elsewhere escaped, Markdown as plain text."""

from collections.abc import Mapping
from typing import Any, Final

import jinja2

from reslab._version import __version__
from reslab.core.imagenet import title_of
from reslab.report.labels import markdown, shortened, shown
from reslab.report.thumbnail import kind_of

CLASS: Final = 60  # characters of a class
LEAST: Final = 1e-300  # below it a p-value may have become 0


def rendered(name: str, values: Mapping[str, Any]) -> str:
    """The template called ``name`` with ``values``, and reslab's ``version``, in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reslab.report"),
        autoescape=name.endswith(".html.j2"),  # Markdown is not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = {"md": markdown, "shown": shown, "class_title": class_title, "p_value": p_value, "kind_of": kind_of}
    environment.filters.update(filters)
    return environment.get_template(name).render(values, version=__version__)


def class_title(name: str) -> str:
    """A class as tables show it: ``Shih-Tzu (n02086240)`` for a wnid, on one line, not too long."""
    return shortened(shown(title_of(name)), CLASS)


def p_value(value: float) -> str:
    """A p-value as people read it: ``0.0312``, ``4e-07``."""
    if value < LEAST:
        return f"below {LEAST:.0e}"
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}" if value >= 0.001 else f"{value:.0e}"
