"""Names of classes and files, which come from anywhere, as pages and tables show them."""

import re
from typing import Final

ELLIPSIS: Final = "…"
MARKED: Final = re.compile(r"[\\`*\[\]|~#!$]|(?<!\w)_|_(?!\w)")
ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def shown(text: str) -> str:
    """``text`` on one line that can be written as UTF-8: control characters and lone surrogates are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shortened(text: str, most: int) -> str:
    """``text`` in at most ``most`` characters: the middle gives way to an ellipsis, as names differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return text[: most - 1 - tail].rstrip() + ELLIPSIS + text[len(text) - tail :].lstrip()


def markdown(text: str) -> str:
    """``text`` so that Markdown, in a table too, shows it and does nothing else with it."""
    return re.sub("[&<>]", lambda found: ENTITIES[found[0]], MARKED.sub(r"\\\g<0>", shown(text)))
