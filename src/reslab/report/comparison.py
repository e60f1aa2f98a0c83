"""Two networks on the same pictures, as one self-contained HTML page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reslab.core.files import require_file, write_text
from reslab.core.units import counted
from reslab.report.labels import shortened, shown
from reslab.report.provenance import Source
from reslab.report.rendering import rendered

CLASSES: Final = 40  # rows of the table by class
NAME: Final = 40  # characters of a network


@dataclass(frozen=True)
class Side:
    """One network's test; errors in percent.

    Args:
        name: what it is called on the page.
        error: its error.
        interval: the 95 % Wilson interval of `error`.
        top5_error: how often the true class was not among its five most probable.
        hits: its right answers.
        n: the pictures.
        provenance: what a reader is told who asks where its numbers come from, in this order.
    """

    name: str
    error: float
    interval: tuple[float, float]
    top5_error: float
    hits: int
    n: int
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Differing:
    """A picture that only one of two networks gets right.

    Args:
        picture: its path.
        label: its true class.
        first: the first network's answer.
        first_probability: of that answer, at most 1.
        second: the second network's answer.
        second_probability: of that answer.
        thumbnail: a JPEG or PNG in base64.
    """

    picture: str
    label: str
    first: str
    first_probability: float
    second: str
    second_probability: float
    thumbnail: str

    @property
    def answers(self) -> tuple[tuple[str, float], tuple[str, float]]:
        """Both answers, each with its probability."""
        return (self.first, self.first_probability), (self.second, self.second_probability)


@dataclass(frozen=True)
class ClassRow:
    """The errors of a class, in percent; ``difference`` is the first minus the second, ``p_value`` McNemar's."""

    name: str
    n: int
    first_error: float
    second_error: float
    difference: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two tests of the same pictures.

    Args:
        data: what the pictures are called.
        protocol: how both networks were tested.
        first: one network's test.
        second: the other's.
        both: pictures that both get right.
        only_first: pictures that the first alone gets right.
        only_second: pictures that the second alone gets right.
        neither: pictures that neither gets right.
        difference: the first's error minus the second's, in percentage points.
        interval: the 95 % bootstrap interval of `difference`.
        p_value: of McNemar's exact test.
        statement: what was judged.
        verdict: on it, in a word or two, such as ``holds`` or ``not separable``.
        sentence: the verdict with the numbers it rests on.
        by_class: a row a class.
        only_first_shown: some of the pictures that the first alone gets right.
        only_second_shown: some of those that the second alone gets right.
    """

    data: str
    protocol: str
    first: Side
    second: Side
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    statement: str
    verdict: str
    sentence: str
    by_class: tuple[ClassRow, ...]
    only_first_shown: tuple[Differing, ...]
    only_second_shown: tuple[Differing, ...]

    def __post_init__(self) -> None:
        assert self.first.hits == self.both + self.only_first
        assert self.second.hits == self.both + self.only_second
        assert self.first.n == self.second.n == self.both + self.only_first + self.only_second + self.neither
        assert math.isclose(self.difference, self.first.error - self.second.error, abs_tol=0.01)
        assert all(one.first == one.label != one.second for one in self.only_first_shown)
        assert all(one.second == one.label != one.first for one in self.only_second_shown)


def write_comparison(found: Comparison, out: Path) -> Path:
    """Render ``found`` as the page ``out``: one file that needs no other.

    Raises:
        DataError: a thumbnail is neither JPEG nor PNG; nothing is written.
        StorageError: the page could not be written.
    """
    require_file(out)
    names = _names(found)
    values = {
        "found": found,
        "names": names,
        "sources": _sources(found, names),
        "classes": sorted(found.by_class, key=lambda row: -abs(row.difference))[:CLASSES],
        "galleries": [
            _gallery(0, found.only_first_shown, found.only_first),
            _gallery(1, found.only_second_shown, found.only_second),
        ],
    }
    write_text(out, rendered("compare.html.j2", values))
    return out


def _names(found: Comparison) -> tuple[str, str]:
    first, second = (shortened(shown(side.name), NAME) for side in (found.first, found.second))
    return (first, second) if first != second else (f"{first} (first)", f"{second} (second)")


def _sources(found: Comparison, names: tuple[str, str]) -> dict[str, Source]:
    """What is told of the first's numbers, of the second's, and of those that rest on both."""
    facts = [
        {"right": f"{side.hits:,} of {side.n:,}"} | {shown(name): shown(fact) for name, fact in side.provenance.items()}
        for side in (found.first, found.second)
    ]
    counts = f"{found.only_first:,} against {counted(found.only_second, 'picture')} that only one gets right"
    sides = dict(zip(names, (";\n".join(map(": ".join, told.items())) for told in facts), strict=True))
    return {
        "first": Source(names[0], facts[0]),
        "second": Source(names[1], facts[1]),
        "paired": Source(" and ".join(names), {"computed from": counts, **sides}),
    }


def _gallery(right: int, entries: Sequence[Differing], of: int) -> dict[str, Any]:
    """Pictures that one alone gets right, the first (0) or the second (1); the other's most certain mistakes first."""
    wrong = 1 - right
    ordered = sorted(entries, key=lambda one: -one.answers[wrong][1])
    return {"entries": ordered, "of": of, "right": right, "wrong": wrong}
