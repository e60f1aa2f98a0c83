"""Names from elsewhere, fit to be printed."""

import os
from collections.abc import Sequence


def printable(text: str) -> str:
    """A path or name on one line that every terminal can show: control characters and foreign bytes are escaped."""
    clean = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in clean)


def few(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """The first names of many, and how many more there are, fit to be printed."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return between.join(map(printable, names[:most])) + more
