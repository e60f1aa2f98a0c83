"""A run's progress: a live line on a terminal, plain lines elsewhere; always on standard error."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from reslab.cli.output import say
from reslab.core.units import duration_text
from reslab.experiments.notify import Notify

INTERVAL = 10.0  # seconds between lines about a test


def progress() -> Notify:
    """The right kind for where standard error goes."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else PlainProgress()


def warn(text: str) -> None:
    """A warning on standard error."""
    say(f"reslab: warning: {text}")


@contextlib.contextmanager
def advancing(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told how many of how many are done; on a terminal alone."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def numbers(line: dict[str, Any]) -> str:
    """Loss, errors and speed of one line of metrics."""
    test = f"  test {line['test_error']:5.2f} %" if "test_error" in line else ""
    return (
        f"loss {line['loss']:.3f}  train {line['train_error']:5.2f} %{test}  {line['images_per_second']:,.0f} images/s"
    )


def averaging(pictures: int, of: int) -> str:
    """How far the recomputing of batch normalisation's statistics is."""
    return f"batch statistics over {pictures:,} of {of:,} pictures"


class PlainProgress(Notify):
    """One line an interval, for logs."""

    def __init__(self) -> None:
        self.test: tuple[float, int] | None = None  # when a test was first heard of, and how far it was
        self.told = time.monotonic()

    def scored(self, views: int, of: int) -> None:
        """Print how far a long test is."""
        now = time.monotonic()
        since, first = self.test = self.test or (now, views)
        if first < views < of and now - self.told >= INTERVAL:
            self.told = now
            say(f"{views:,} of {of:,} views, {duration_text((now - since) / (views - first) * (of - views))} left")
        if views == of:
            self.test = None

    def averaged(self, pictures: int, of: int) -> None:
        """Print how far a long recomputing is."""
        now = time.monotonic()
        if pictures < of and now - self.told >= INTERVAL:
            self.told = now
            say(averaging(pictures, of))

    def begun(self, title: str, step: int, steps: int) -> None:
        """Say what starts, and where."""
        self.title, self.steps, self.first, self.since = title, steps, step, time.monotonic()
        say(f"{title}: {steps:,} steps" + (f", going on after step {step:,}" if step else ""))

    def recorded(self, line: dict[str, Any]) -> None:
        """Print the line's numbers and the time left."""
        done, step = line["step"] - self.first, line["step"]
        self.told = time.monotonic()
        left = (self.told - self.since) / done * (self.steps - step)
        ending = f"{duration_text(left)} left" if step < self.steps else f"done in {duration_text(line['seconds'])}"
        say(f"{self.title}  step {step:,}/{self.steps:,}  {numbers(line)}  {ending}")

    def warned(self, text: str) -> None:
        """Print the warning."""
        say(f"reslab: warning: {text}")

    def found(self, pictures: int) -> None:
        """Print how far the search is."""
        say(f"{pictures:,} pictures found so far")


class LiveProgress(Notify):
    """A bar with step, loss, error, speed and time left."""

    def __init__(self, console: Console) -> None:
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=console,
        )
        self.task: TaskID | None = None

    def begun(self, title: str, step: int, steps: int) -> None:
        """Start a bar."""
        self.bars.start()
        self.task = self.bars.add_task(title, total=steps, completed=step, numbers="")

    def scored(self, views: int, of: int) -> None:
        """Move the bar of a test, and take it away at the end."""
        if self.task is None:
            self.begun("views", 0, of)
        self.stepped(views)
        if views == of and self.task is not None:
            self.bars.remove_task(self.task)
            self.ended()

    def stepped(self, step: int) -> None:
        """Move the bar."""
        if self.task is not None:
            self.bars.update(self.task, completed=step)

    def recorded(self, line: dict[str, Any]) -> None:
        """Show the newest numbers."""
        if self.task is not None:
            self.bars.update(self.task, numbers=numbers(line))

    def averaged(self, pictures: int, of: int) -> None:
        """Say how far it is behind the whole bar."""
        if self.task is not None:
            self.bars.update(self.task, numbers=averaging(pictures, of))

    def ended(self) -> None:
        """Leave the bar as it stands."""
        self.bars.stop()
        self.task = None

    def found(self, pictures: int) -> None:
        """Print how far the search is."""
        self.bars.console.print(f"{pictures:,} pictures found so far")

    def warned(self, text: str) -> None:
        """Print the warning above the bar."""
        self.bars.console.print(Text(f"reslab: warning: {text}", style="yellow"))
