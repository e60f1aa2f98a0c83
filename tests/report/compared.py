"""Two networks compared, made by hand, and what a page holds, tag by tag."""

import base64
import io
from html.parser import HTMLParser
from typing import Any, Final

from PIL import Image

from reslab.core.intervals import Count
from reslab.report.comparison import ClassRow, Comparison, Differing, Side

CLASSES: Final = ("ash", "birch", "cedar")
CELLS: Final = {"both": 60, "only_first": 5, "only_second": 25, "neither": 10}
STATEMENT: Final = "new has a smaller error than old"
SENTENCE: Final = "new has the smaller error by 20.00 points [10.00, 30.00], p = 3e-04, n=100: holds"


def thumbnail(kind: str = "PNG", shade: int = 0) -> str:
    """A picture of one colour as a page takes it."""
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 120, 90)).save(stream, kind)
    return base64.b64encode(stream.getvalue()).decode()


def side(name: str, hits: int, n: int = 100) -> Side:
    """The test of a network that has ``hits`` pictures right."""
    count = Count(n - hits, n)
    facts = {"weights": f"runs/{name}", "step": "64,000", "command": f"reslab evaluate runs/{name} --data embedded"}
    return Side(name, count.error, count.interval, 1.25, hits, n, facts)


def class_row(name: str, difference: float = 10.0, p_value: float = 0.031) -> ClassRow:
    """A class on which the first network's error is 40 %."""
    return ClassRow(name, 30, 40.0, 40.0 - difference, difference, p_value)


def differing(right: int, number: int = 0, certainty: float = 0.75, **changes: Any) -> Differing:
    """A picture of an ash that one network takes for a birch, with ``certainty``."""
    values: dict[str, Any] = {"picture": f"val/ash/{number}.png", "label": "ash", "thumbnail": thumbnail(shade=number)}
    names = ("first", "second") if right == 0 else ("second", "first")
    for name, answer, probability in zip(names, ("ash", "birch"), (0.5, certainty), strict=True):
        values |= {name: answer, f"{name}_probability": probability}
    return Differing(**{**values, **changes})


def comparison(**changes: Any) -> Comparison:
    """``old`` with an error of 35 % against ``new`` with one of 15 %."""
    values: dict[str, Any] = {
        "data": "trees",
        "protocol": "center",
        "first": side("old", 65),
        "second": side("new", 85),
        **CELLS,
        "difference": 20.0,
        "interval": (10.0, 30.0),
        "p_value": 3.3e-4,
        "verdict": "holds",
        "statement": STATEMENT,
        "sentence": SENTENCE,
        "by_class": tuple(class_row(name) for name in CLASSES),
        "only_first_shown": tuple(differing(0, number) for number in range(2)),
        "only_second_shown": tuple(differing(1, number) for number in range(3)),
    }
    return Comparison(**{**values, **changes})


class Page(HTMLParser):
    """The tags of a page, what it would load or run, the text it shows, and its tables, cell by cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.popovers: list[str] = []
        self.targets: list[str] = []
        self.hints: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.rows: list[list[str]] = []
        self.cell = False
        self.text = ""
        self.facts: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.handlers += [name for name in found if name.startswith("on")]
        self.loaded += [found[name] for name in ("src", "href", "xlink:href", "srcset", "data") if name in found]
        self.ids += [found["id"]] if "id" in found else []
        self.popovers += [found["id"]] if "popover" in found else []
        if "popovertarget" in found:
            self.targets.append(found["popovertarget"])
            self.hints.append(found.get("title", ""))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True
        elif tag == "html":
            self.facts = found

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data.strip()
