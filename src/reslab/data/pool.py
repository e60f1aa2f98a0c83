"""Work done ahead, in order, by processes that may die or hang.

torch's ``DataLoader`` gives up when a worker dies, raising at whatever line the main process has reached, and cannot
say what a worker was doing. Here a worker's death or silence costs that worker alone: it is named, replaced, and its
task is done again. Tasks are pure, so results are the same for any number of workers and any number of deaths.

Processes, not threads: two of them decode about as much as two threads (docs/speed.md), but a decoder that crashes
takes only itself along.
"""

import atexit
import contextlib
import mmap
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from ctypes import c_int64
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import RawValue
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import ReslabError, SpecError, WorkerError
from reslab.core.listening import heard_by, unheard
from reslab.core.process import end_with, ending_text

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
Buffer = NDArray[np.uint8]
At = Callable[[int], None]
Reply = tuple[Exception | None, str, Any]
"""What a task raised, where, and what it made."""

PATIENCE: Final = 60.0  # seconds on one item; ours: the slowest picture that is accepted decodes in about ten
ATTEMPTS: Final = 3  # workers that one task may cost
QUEUE: Final = 2  # tasks a worker holds
LOOK: Final = 0.5  # seconds between looks at silent workers


class Told(NamedTuple):
    """A warning from the middle of a task."""

    text: str


class Work(Protocol[R_co]):
    """What a worker does: fill ``out`` (uint8, flat) and return the rest; ``at`` is told each item before it begins."""

    @property
    def room(self) -> int:
        """Bytes that ``out`` needs."""

    def __call__(self, task: int, out: Buffer, at: At, /) -> R_co:
        """One task; depends on ``task`` alone."""

    def describe(self, item: int) -> str:
        """The item as people know it: a path."""


def in_order(
    work: Work[R],
    tasks: Sequence[int],
    workers: int = 0,
    warn: Callable[[str], None] = unheard,
    patience: float = PATIENCE,
) -> Generator[tuple[R, Buffer], None, None]:
    """What ``work`` makes of each of ``tasks``, in their order; a buffer holds until the next step of the iteration.

    Args:
        work: pure.
        tasks: any numbers.
        workers: processes; 0 works in this one.
        warn: hears of every worker that was replaced, and what ``work`` tells on the way.
        patience: seconds after which a worker that is still on the same item has hung.

    Raises:
        WorkerError: one task cost three workers; the line names the item.
        Exception: whatever ``work`` raised, when its task's turn comes.
    """
    if not workers:
        own = np.empty(work.room, np.uint8)
        for task in tasks:
            with heard_by(warn):
                made = work(task, own, unheard)
            yield made, own
        return
    pool = _Pool(work, tasks, workers, warn, patience)
    atexit.register(pool.close)
    try:
        yield from pool.results()
    finally:
        pool.close()
        atexit.unregister(pool.close)


class _Worker(Generic[R]):
    """One process: ``turns`` are the places of its tasks in the order, the one at hand first."""

    def __init__(self, work: Work[R], slots: list[Buffer], others: Sequence["_Worker[R]"]) -> None:
        context = multiprocessing.get_context("fork")
        requests, self.requests = context.Pipe(duplex=False)
        self.replies, replies = context.Pipe(duplex=False)
        self.item = RawValue(c_int64, -1)
        foreign = [end for other in others for end in (other.requests, other.replies)]
        own = (self.requests, self.replies)
        self.process = context.Process(
            target=_serve, args=(work, slots, requests, replies, self.item, (*foreign, *own), os.getpid()), daemon=True
        )
        self.process.start()
        requests.close()
        replies.close()
        self.turns: deque[int] = deque()
        self.seen, self.looked, self.silence = -1, time.monotonic(), 0.0

    def begin(self, turn: int, task: int, slot: int) -> None:
        """Give it a task; a worker that is already dead is found by whoever waits for it."""
        if not self.turns:
            self.item.value = self.seen = -1
            self.looked, self.silence = time.monotonic(), 0.0
        self.turns.append(turn)
        with contextlib.suppress(OSError):
            self.requests.send((task, slot))

    def silent_for(self) -> float:
        """Seconds on the present item; time in which nobody looked does not count: we may have been stopped too."""
        now = time.monotonic()
        passed, self.looked = min(now - self.looked, 2 * LOOK), now
        self.silence = self.silence + passed if self.item.value == self.seen else 0.0
        self.seen = self.item.value
        return self.silence

    def end(self) -> None:
        """Kill it: it ignores milder signals, which are meant for its parent."""
        self.process.kill()
        self.process.join()
        self.requests.close()
        self.replies.close()


class _Pool(Generic[R]):
    def __init__(
        self, work: Work[R], tasks: Sequence[int], workers: int, warn: Callable[[str], None], patience: float
    ) -> None:
        self.work, self.tasks, self.warn, self.patience = work, tasks, warn, patience
        room = max(work.room, 1)
        memory = np.frombuffer(mmap.mmap(-1, QUEUE * workers * room), np.uint8)  # shared with every child, gone with us
        self.slots = [memory[start : start + room] for start in range(0, len(memory), room)]
        self.workers: list[_Worker[R]] = []
        for _ in range(workers):
            self.workers.append(self._new())
        self.costs: dict[int, int] = {}
        self.done: dict[int, Reply] = {}

    def results(self) -> Iterator[tuple[R, Buffer]]:
        begun = 0
        for turn in range(len(self.tasks)):
            limit = min(turn + len(self.slots), len(self.tasks))
            for worker in list(self.workers):  # what came while the taker was busy
                while worker.turns and worker.replies.poll():
                    self._receive(worker)
            begun = self._hand_out(begun, limit)
            while turn not in self.done:
                self._collect()
                begun = self._hand_out(begun, limit)
            error, trace, result = self.done.pop(turn)
            if error is not None:
                raise error from (RuntimeError(trace) if trace else None)
            yield result, self.slots[turn % len(self.slots)]

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers = []

    def _new(self) -> _Worker[R]:
        return _Worker(self.work, self.slots, self.workers)

    def _hand_out(self, begun: int, limit: int) -> int:
        """Tasks up to ``limit``, at most two a worker: one at hand and one to go on with while the taker is busy."""
        for queued in range(QUEUE):
            for worker in self.workers:
                if len(worker.turns) == queued and begun < limit:
                    worker.begin(begun, self.tasks[begun], begun % len(self.slots))
                    begun += 1
        return begun

    def _collect(self) -> None:
        busy = [worker for worker in self.workers if worker.turns]
        wait([end for worker in busy for end in (worker.replies, worker.process.sentinel)], timeout=LOOK)
        for worker in busy:
            if worker.replies.poll():
                self._receive(worker)
            elif not worker.process.is_alive():
                self._replace(worker, f"died ({ending_text(worker.process.exitcode)})")
            elif (silent := worker.silent_for()) > self.patience:
                self._replace(worker, f"has hung for {silent:.0f} s")

    def _receive(self, worker: _Worker[R]) -> None:
        try:
            reply = worker.replies.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._replace(worker, f"died ({ending_text(worker.process.exitcode)})")
            return
        if isinstance(reply, Told):
            self.warn(reply.text)
        else:
            self.done[worker.turns.popleft()] = reply

    def _replace(self, worker: _Worker[R], what: str) -> None:
        turn = worker.turns[0]
        place = f" at {self.work.describe(worker.item.value)}" if worker.item.value >= 0 else ""
        line = f"loader worker {worker.process.pid} {what}{place}"
        worker.end()
        self.costs[turn] = self.costs.get(turn, 0) + 1
        if self.costs[turn] >= ATTEMPTS:
            lost = WorkerError(f"{line}; so did {ATTEMPTS - 1} others before it on the same batch")
            self.done[worker.turns.popleft()] = lost, "", None
        else:
            self.warn(f"{line}; it was replaced, and no batch changes")
        position = self.workers.index(worker)
        self.workers.remove(worker)
        replacement = self._new()
        self.workers.insert(position, replacement)
        while worker.turns:
            waiting = worker.turns.popleft()
            replacement.begin(waiting, self.tasks[waiting], waiting % len(self.slots))


def _serve(
    work: Work[Any],
    slots: list[Buffer],
    requests: Connection,
    replies: Connection,
    item: Any,
    foreign: Sequence[Connection],
    parent: int,
) -> None:
    """A worker's life: until its parent closes the pipe, or is gone."""
    end_with(parent, signal.SIGKILL)  # even in the middle of a picture; elsewhere than on Linux the pipe's end says so
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for end in foreign:  # copies that would keep pipes open
        end.close()

    def at(number: int) -> None:
        item.value = number

    def tell(text: str) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: found soon enough
            replies.send(Told(text))

    while True:
        try:
            task, slot = requests.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            with heard_by(tell):
                reply: Reply = (None, "", work(task, slots[slot], at))
        except Exception as error:  # raised again in the parent
            trace = "" if isinstance(error, ReslabError) else traceback.format_exc()
            reply = (_fit_to_travel(error), trace, None)
        item.value = -1
        try:
            replies.send(reply)
        except OSError:
            os._exit(0)


def _fit_to_travel(error: Exception) -> Exception:
    """The error, or its words where it cannot be pickled and unpickled."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def check_workers(workers: int | None) -> None:
    """Refuse a number of workers that cannot be.

    Raises:
        SpecError: it is negative.
    """
    if workers is not None and workers < 0:
        raise SpecError(f"--workers must be 0 or more, not {workers}")
