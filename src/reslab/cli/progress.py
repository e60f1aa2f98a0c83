"""A run's progress: a live line on a terminal, plain lines elsewhere; always on standard error."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from reslab.cli.advancing import Lines, say_found
from reslab.cli.output import say, terminal
from reslab.core.units import counted, duration_text
from reslab.experiments.notify import Notify

INTERVAL = 10.0  # seconds between lines about a test, or about batch statistics


def progress() -> Notify:
    """The right kind for where standard error goes."""
    console = terminal()
    return PlainProgress() if console is None else LiveProgress(console)


def warn(text: str) -> None:
    """A warning on standard error."""
    say(f"reslab: warning: {text}")


def numbers(line: dict[str, Any]) -> str:
    """Loss, errors and speed of one line of metrics."""
    test = f"  test {line['test_error']:5.2f} %" if "test_error" in line else ""
    return (
        f"loss {line['loss']:.3f}  train {line['train_error']:5.2f} %{test}  {line['images_per_second']:,.0f} images/s"
    )


class PlainProgress(Notify):
    """One line an interval, for logs."""

    def __init__(self) -> None:
        self.part = Lines(INTERVAL)

    def scored(self, views: int, of: int) -> None:
        """Print how far a long test is, and the time left."""
        self._far(views, of, f"{views:,} of {of:,} views")

    def averaged(self, pictures: int, of: int) -> None:
        """Print how far a long recomputing is, and the time left."""
        self._far(pictures, of, f"batch statistics over {pictures:,} of {of:,} pictures")

    def _far(self, done: int, of: int, text: str) -> None:
        left = self.part.left(done, of)
        if left is not None:
            say(f"{text}, {left} left")
        if done == of:
            self.part = Lines(INTERVAL)

    def begun(self, title: str, step: int, steps: int) -> None:
        """Say what starts, and where."""
        self.title, self.steps, self.first, self.since = title, steps, step, time.monotonic()
        say(f"{title}: {counted(steps, 'step')}" + (f", going on after step {step:,}" if step else ""))

    def recorded(self, line: dict[str, Any]) -> None:
        """Print the line's numbers and the time left."""
        done, step = line["step"] - self.first, line["step"]
        left = (time.monotonic() - self.since) / done * (self.steps - step)
        ending = f"{duration_text(left)} left" if step < self.steps else f"done in {duration_text(line['seconds'])}"
        say(f"{self.title}  step {step:,}/{self.steps:,}  {numbers(line)}  {ending}")

    def warned(self, text: str) -> None:
        """Print the warning."""
        warn(text)

    def found(self, pictures: int) -> None:
        """Print how far the search is."""
        say_found(pictures)


class LiveProgress(Notify):
    """A bar with step, loss, error, speed and time left; below it, when training is done, one of batch statistics."""

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
        self.statistics: TaskID | None = None

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
        """Move the bar of batch statistics."""
        if self.statistics is None:
            self.statistics = self.bars.add_task("batch statistics", total=of, numbers="pictures")
        self.bars.update(self.statistics, completed=pictures)

    def ended(self) -> None:
        """Leave the bars as they stand."""
        self.bars.stop()
        self.task = self.statistics = None

    def found(self, pictures: int) -> None:
        """Print how far the search is."""
        self.bars.console.print(f"{pictures:,} pictures found so far")

    def warned(self, text: str) -> None:
        """Print the warning above the bar."""
        self.bars.console.print(Text(f"reslab: warning: {text}", style="yellow"))
