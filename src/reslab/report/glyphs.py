"""What the figures' font can draw, and how wide it comes out."""

import functools
from typing import Final

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font, LoadFlags

from reslab.report.labels import shortened, shown

MISSING: Final = "\N{REPLACEMENT CHARACTER}"


def drawable(text: str) -> bool:
    """Whether the font has every letter of ``text``."""
    return all(_font().get_char_index(ord(letter)) for letter in text)


def drawn(text: str) -> str:
    """``text`` with a sign in the place of each letter that the font lacks."""
    return "".join(letter if drawable(letter) else MISSING for letter in shown(text))


def fitted(text: str, ems: float) -> str:
    """`shortened` so far that ``text`` is at most ``ems`` wide, in multiples of the font's size."""
    most = len(text)
    while most > 1 and width(shortened(text, most)) > ems:
        most -= 1
    return shortened(text, most)


def width(text: str) -> float:
    """How wide ``text`` is, in multiples of the font's size."""
    return sum(map(_advance, text))


@functools.lru_cache(maxsize=4096)
def _advance(letter: str) -> float:
    return _font().load_char(ord(letter), flags=LoadFlags.NO_SCALE).horiAdvance / _font().units_per_EM


@functools.cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont("DejaVu Sans"))
