"""How far work is whose end is known: a bar on a terminal, now and then a plain line in a log; on standard error."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from rich.progress import Progress, TaskID

from reslab.cli.output import say, terminal
from reslab.core.units import bytes_text, duration_text

INTERVAL: Final = 30.0  # seconds between lines
LATELY: Final = 10  # lines over which the speed is taken: what was passed over at once says nothing of the rest


class Lines:
    """When a line is due, and how long the rest takes by what was done lately.

    Args:
        interval: seconds between lines.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.said: deque[tuple[float, int]] = deque(maxlen=LATELY)

    def left(self, done: int, of: int) -> str | None:
        """The time left, where a line is due; None: it is not, or all is done."""
        now = time.monotonic()
        if not self.said:
            self.said.append((now, done))
        since, first = self.said[0]
        if not first < done < of or now - self.said[-1][0] < self.interval:
            return None
        self.said.append((now, done))
        return duration_text((now - since) / (done - first) * (of - done))


def in_pictures(part: str, done: int, of: int) -> str:
    """How far a part is, on a line."""
    return f"{part}: {done:,} of {of:,} pictures"


def in_bytes(part: str, done: int, of: int) -> str:
    """The same, counted in bytes."""
    return f"{part}: {bytes_text(done)} of {bytes_text(of)}"


@contextmanager
def advancing_parts(
    *begun: str, text: Callable[[str, int, int], str] = in_pictures
) -> Iterator[Callable[[str, int, int], None]]:
    """What is told of each part how much of how much is done.

    Args:
        begun: parts that have a bar before anything is told of them.
        text: what a line says.
    """
    console = terminal()
    if console is None:
        yield _plainly(text)
        return
    with Progress(console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {part: bar.add_task(part, total=None) for part in begun}

        def advanced(part: str, done: int, of: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part)
            bar.update(tasks[part], completed=done, total=of)

        yield advanced


@contextmanager
def advancing(part: str) -> Iterator[Callable[[int, int], None]]:
    """What is told how many of how many pictures are done."""
    with advancing_parts(part) as advanced:
        yield partial(advanced, part)


def say_found(pictures: int) -> None:
    """Say how far a search is, whose end is not known."""
    say(f"{pictures:,} pictures found so far")


def _plainly(text: Callable[[str, int, int], str]) -> Callable[[str, int, int], None]:
    parts: dict[str, Lines] = {}

    def advanced(part: str, done: int, of: int) -> None:
        left = parts.setdefault(part, Lines(INTERVAL)).left(done, of)
        if left is not None:
            say(f"{text(part, done, of)}, {left} left")

    return advanced
