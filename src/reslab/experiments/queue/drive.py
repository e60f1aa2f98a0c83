"""The queue itself: runs are started, followed and counted until all are over or a signal comes."""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from reslab.experiments.queue.follow import Audience, Followed, look
from reslab.experiments.queue.task import Ending, Task
from reslab.training.interrupt import noted_signals

PAUSE: Final = 0.1  # seconds between questions whether a run is over
LOOK: Final = 1.0  # seconds between looks at what the runs have written


class Place(Protocol):
    """Where runs are carried out."""

    jobs: int

    def start(self, task: Task) -> None:
        """Begin a run, or go on with it."""

    def ended(self) -> list[tuple[Task, Ending]]:
        """The runs that are over since the last time."""

    def stop(self) -> None:
        """Ask every run to save and stop."""


class _Place(Place, AbstractContextManager["Place"], Protocol):
    """A place that is left empty, whatever happens."""


def drive(tasks: Sequence[Task], place: _Place, audience: Audience) -> tuple[list[Ending], int | None]:
    """Carry ``tasks`` out, as many at a time as ``place`` takes; what is finished already is not begun again.

    Returns:
        The ending of each task, in their order, and the signal that stopped the queue before its end, if any.
    """
    for task in tasks:
        task.notices.unlink(missing_ok=True)
        task.log.unlink(missing_ok=True)
    with place, noted_signals() as stop:
        queue = _Queue(tasks, place, audience)
        audience.begun(list(queue.runs))
        try:
            while queue.goes_on():
                if stop() is not None:
                    queue.stop()
                time.sleep(PAUSE)
        finally:
            audience.ended()
        cut_short = any(ending.state == "stopped" for ending in queue.endings())
        return queue.endings(), stop() if cut_short else None


class _Queue:
    def __init__(self, tasks: Sequence[Task], place: Place, audience: Audience) -> None:
        self.place, self.audience = place, audience
        self.runs = [Followed(task) for task in tasks]
        self.stopping, self.active = False, 0
        self.over: dict[int, Ending] = {}
        for number, run in enumerate(self.runs):
            if run.task.result() is not None:
                self.over[number], run.state = Ending("done"), "done"
        self.waiting = deque(number for number in range(len(tasks)) if number not in self.over)
        self.looked = time.monotonic()

    def goes_on(self) -> bool:
        """Take up what ended, begin what waits; whether anything is left to wait for."""
        for task, ending in self.place.ended():
            self._close(task, ending)
        while self.waiting and self.active < self.place.jobs and not self.stopping:
            self.place.start(self.runs[self.waiting.popleft()].task)
            self.active += 1
        if time.monotonic() - self.looked >= LOOK:
            self._look()
        return self.active > 0

    def stop(self) -> None:
        """Let what runs save itself; begin nothing more."""
        if not self.stopping:
            self.stopping = True
            self.place.stop()

    def endings(self) -> list[Ending]:
        """In the order of the tasks; what was never begun counts as stopped."""
        return [self.over.get(number, Ending("stopped")) for number in range(len(self.runs))]

    def _close(self, task: Task, ending: Ending) -> None:
        number = next(number for number, run in enumerate(self.runs) if run.task is task)
        run = self.runs[number]
        look(run, self.audience)
        self.over[number], run.state, run.why = ending, ending.state, ending.why
        self.active -= 1
        self.audience.closed(run)
        self.audience.looked()

    def _look(self) -> None:
        self.looked = time.monotonic()
        for number, run in enumerate(self.runs):
            if number not in self.over:
                look(run, self.audience)
        self.audience.looked()
