"""One attempt at a task in this process: whatever goes wrong becomes an `Ending`."""

import json
import os
import signal
import traceback
from pathlib import Path
from typing import Any

from reslab.core.errors import ReslabError
from reslab.core.files import storing
from reslab.core.rundir import Record
from reslab.experiments.execute import execute
from reslab.experiments.notify import Notify
from reslab.experiments.queue.task import Ending, Task


def attempt(task: Task, notify: Notify) -> Ending:
    """Carry ``task`` out to its end, to a signal, or to what stops it."""
    try:
        outcome = execute(task.experiment, task.job, notify)
    except ReslabError as error:
        return Ending("failed", str(error), error.exit_code)
    except Exception as error:  # one run's bug or lack of memory is no reason to give up the others
        note(task.notices, {"traceback": traceback.format_exc()})
        return Ending("failed", f"{type(error).__name__}: {error} ({task.notices} has the traceback)", 1)
    if outcome.signal is not None and outcome.result is None:
        why = f"stopped by {signal.Signals(outcome.signal).name}, and saved after step {outcome.step:,}"
        return Ending("stopped", why, 1, outcome.signal)
    return Ending("done", signal=outcome.signal)


class Noted(Notify):
    """Writes what a run says, but for its metrics, to a file that others follow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note("started", os.getpid())

    def begun(self, title: str, step: int, steps: int) -> None:  # noqa: ARG002 the follower knows title and steps
        """Note after which step it begins."""
        self._note("begun", step)

    def warned(self, text: str) -> None:
        """Note the warning."""
        self._note("warned", text)

    def _note(self, what: str, value: Any) -> None:
        note(self.path, {what: value})


def note(path: Path, line: Record) -> None:
    """Add one line of JSON to ``path``.

    Raises:
        StorageError: it cannot be written.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
