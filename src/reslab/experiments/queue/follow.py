"""What runs do, read from their files: the same for every place where they may run. Only what is new is read."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reslab.core.rundir import Record, is_line
from reslab.experiments.queue.task import Task

State = Literal["waiting", "running", "restarted", "stopped", "done", "failed"]
ACTIVE: tuple[State, ...] = ("running", "restarted")


class Tail:
    """JSON lines that are new in a file that grows, and that may be replaced by another."""

    def __init__(self, path: Path) -> None:
        self.path, self.read, self.inode = path, 0, -1

    def lines(self) -> Iterator[Record]:
        """Those since the last time; a line that is not whole waits, one that a crash damaged is passed over."""
        try:
            stream = self.path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            there = os.fstat(stream.fileno())
            if there.st_ino != self.inode or there.st_size < self.read:
                self.read, self.inode = 0, there.st_ino
            stream.seek(self.read)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.read += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                if isinstance(value := json.loads(line), dict):
                    yield value


@dataclass
class Followed:
    """A run as its files show it; ``line`` is the newest of its metrics, with the newest test error."""

    task: Task
    state: State = "waiting"
    step: int = 0
    line: Record = field(default_factory=dict)
    attempts: int = 0
    why: str = ""

    def __post_init__(self) -> None:
        self.metrics, self.notices = Tail(self.task.job.out / "metrics.jsonl"), Tail(self.task.notices)
        self.clock: list[tuple[int, float]] = [(0, 0.0)]
        for line in self._lines():
            self._take(line)
        self._begin(self.step)

    @property
    def left(self) -> float | None:
        """Seconds to the end at the pace of this session; None before its first line."""
        step, seconds = self.before
        if self.step <= step:
            return None
        return float((self.line["seconds"] - seconds) / (self.step - step) * (self.task.steps - self.step))

    def new_lines(self) -> Iterator[Record]:
        """Lines of metrics for steps that were not seen before; a run that was killed makes some of them again."""
        for line in self._lines():
            if line["step"] > self.step:
                self._take(line)
                yield line

    def new_notices(self) -> Iterator[Record]:
        """What else it has said."""
        for notice in self.notices.lines():
            if "started" in notice:
                self.attempts += 1
                self.state = "running" if self.attempts == 1 else "restarted"
            if "begun" in notice:
                self._begin(notice["begun"])
            yield notice

    def _lines(self) -> Iterator[Record]:
        return (line for line in self.metrics.lines() if is_line(line) and isinstance(line.get("seconds"), float))

    def _begin(self, step: int) -> None:
        """The run goes on after ``step``; what a killed process did after it is not part of this session's pace."""
        self.since = step
        self.before = max(moment for moment in self.clock if moment[0] <= step)

    def _take(self, line: Record) -> None:
        self.clock.append((line["step"], line["seconds"]))
        kept = {key: self.line[key] for key in ("test_error",) if key in self.line}
        self.line, self.step = {**kept, **line}, line["step"]


class Audience:
    """Hears what the runs of a queue do and says nothing; the command line overrides what it shows."""

    def begun(self, runs: list[Followed]) -> None:
        """The queue starts."""

    def started(self, run: Followed) -> None:
        """A run begins or goes on, after step ``run.since``."""

    def restarted(self, run: Followed) -> None:
        """A run's process died, and another was started."""

    def recorded(self, run: Followed, line: Record) -> None:
        """A run has a new line of metrics."""

    def warned(self, run: Followed, text: str) -> None:
        """A run has something that the user should know."""

    def closed(self, run: Followed) -> None:
        """A run is done, stopped or failed."""

    def looked(self) -> None:
        """Every run was looked at."""

    def ended(self) -> None:
        """The queue is over, or stopped."""


def look(run: Followed, audience: Audience) -> None:
    """Tell ``audience`` what is new about ``run``."""
    for notice in run.new_notices():
        if "started" in notice and run.attempts > 1:
            audience.restarted(run)
        if "begun" in notice:
            audience.started(run)
        if "warned" in notice:
            audience.warned(run, notice["warned"])
    for line in run.new_lines():
        audience.recorded(run, line)
