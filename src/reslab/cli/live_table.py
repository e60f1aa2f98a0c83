"""The progress of many runs: a live table on a terminal, plain lines elsewhere; always on standard error."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from reslab.cli.output import say, terminal
from reslab.cli.progress import numbers, warn
from reslab.core.rundir import Record
from reslab.core.units import counted, duration_text
from reslab.experiments.queue.follow import ACTIVE, Audience, Followed

HEADINGS = ("network", "seed", "step", "loss", "train %", "test %", "images/s", "left", "state")
STYLES = {"running": "green", "restarted": "yellow", "failed": "red", "waiting": "dim", "stopped": "dim"}
MARGIN = 4  # lines of the terminal that are left to headings and totals


def audience() -> Audience:
    """The right kind for where standard error goes."""
    console = terminal()
    return PlainTable() if console is None else LiveTable(console)


class PlainTable(Audience):
    """One line a run and interval, for logs."""

    def started(self, run: Followed) -> None:
        """Say which run starts, and where."""
        say(f"{run.task.title}: {counted(run.task.steps, 'step')}" + _going_on(run))

    def restarted(self, run: Followed) -> None:
        """Say that its process died."""
        say(_died(run))

    def recorded(self, run: Followed, line: Record) -> None:
        """Print the line's numbers and the time left."""
        ending = f"done in {duration_text(line['seconds'])}" if run.step == run.task.steps else f"{_left(run)} left"
        say(f"{run.task.title}  step {run.step:,}/{run.task.steps:,}  {numbers(line)}  {ending}")

    def warned(self, run: Followed, text: str) -> None:
        """Print the warning."""
        warn(f"{run.task.title}: {text}")


class LiveTable(Audience):
    """One row a run with step, loss, errors, speed, time left and state."""

    def __init__(self, console: Console) -> None:
        self.console, self.runs = console, list[Followed]()
        self.live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def begun(self, runs: list[Followed]) -> None:
        """Show the table."""
        self.runs = runs
        self.live.start()
        self.looked()

    def looked(self) -> None:
        """Show the newest numbers."""
        self.live.update(table(self.runs, self.console.height - MARGIN), refresh=True)

    def ended(self) -> None:
        """Leave the table as it stands, all of it."""
        self.live.update(table(self.runs, len(self.runs)), refresh=True)
        self.live.stop()

    def restarted(self, run: Followed) -> None:
        """Print above the table that its process died."""
        self.console.print(Text(_died(run), style="yellow"))

    def warned(self, run: Followed, text: str) -> None:
        """Print the warning above the table."""
        self.console.print(Text(f"reslab: warning: {run.task.title}: {text}", style="yellow"))


def table(runs: Sequence[Followed], most: int) -> Table:
    """A row a run, with totals below; where there are more than ``most`` runs, those that run or failed come first."""
    counts = Counter(run.state for run in runs)
    shown = list(runs)
    if len(runs) > most:
        first = sorted(runs, key=lambda run: run.state not in (*ACTIVE, "failed"))[: max(most, 1)]
        shown = [run for run in runs if run in first]
    totals = ", ".join(f"{count} {state}" for state, count in counts.items())
    drawn = Table(*HEADINGS, box=None, pad_edge=False, padding=(0, 2, 0, 0), caption=totals, caption_justify="left")
    for run in shown:
        drawn.add_row(*_cells(run), Text(run.state, style=STYLES.get(run.state, "")))
    return drawn


def _cells(run: Followed) -> list[str]:
    line, experiment = run.line, run.task.experiment
    places = {"loss": ".3f", "train_error": ".2f", "test_error": ".2f", "images_per_second": ",.0f"}
    shown = [format(line[key], form) if key in line else "" for key, form in places.items()]
    left = _left(run) if run.state in ACTIVE else ""
    return [experiment.model.name, str(experiment.seed), f"{run.step:,}/{run.task.steps:,}", *shown, left]


def _left(run: Followed) -> str:
    return "?" if run.left is None else duration_text(run.left)


def _going_on(run: Followed) -> str:
    return f", going on after step {run.since:,}" if run.since else ""


def _died(run: Followed) -> str:
    return f"reslab: warning: {run.task.title}: its process died; it was started again, from its newest checkpoint"
