"""Workers that die or hang: named, replaced, and no result changes."""

import gc
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ctypes import c_int
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.errors import WorkerError
from reslab.data import pool
from reslab.data.pool import At, Buffer, in_order

pytestmark = pytest.mark.timeout(60)

CALM = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
TASKS = 12
ITEMS = 3  # of a task
PATIENCE = 0.4


@dataclass
class Batches:
    """Three items a task; ``act`` hears of each task's item and of how often the task was begun before."""

    act: Callable[[int, int], None] = lambda _item, _before: None
    size: int = 10  # bytes of a result
    room: int = 3000
    begun: Any = field(default_factory=lambda: RawArray(c_int, TASKS))

    def __call__(self, task: int, out: Buffer, at: At) -> bytes:
        before = self.begun[task]
        self.begun[task] += 1
        for item in range(ITEMS * task, ITEMS * task + ITEMS):
            at(item)
            self.act(item, before)
            out[1000 * (item % ITEMS) :][:1000] = item
        return bytes([task]) * self.size

    def describe(self, item: int) -> str:
        return f"picture {item}"


@contextmanager
def reading(work: Batches, *options: Any) -> Iterator[Iterator[tuple[bytes, Buffer]]]:
    """What `in_order` gives, closed at the end whatever happens."""
    stream = in_order(work, range(TASKS), *options)
    with closing(stream):  # type: ignore[type-var]  # a generator
        yield stream


def results_of(work: Batches, workers: int, heard: list[str], patience: float = 60.0) -> list[tuple[bytes, bytes]]:
    with reading(work, workers, heard.append, patience) as found:
        return [(result, bytes(buffer[: work.room])) for result, buffer in found]


def undisturbed(size: int = 10) -> list[tuple[bytes, bytes]]:
    return results_of(Batches(size=size), 0, [])


def children() -> list[int]:
    return sorted(child.pid or 0 for child in multiprocessing.active_children())


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    if multiprocessing.active_children():
        gc.collect()
    assert multiprocessing.active_children() == []


def die(number: int) -> None:
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)  # pytest prints a traceback where a process crashes
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("end", "called", "workers"),
    [
        (lambda: die(signal.SIGKILL), "SIGKILL", 1),
        (lambda: die(signal.SIGKILL), "SIGKILL", 3),
        (lambda: die(signal.SIGSEGV), "SIGSEGV", 2),
        (lambda: die(signal.SIGRTMIN + 6), str(signal.SIGRTMIN + 6), 2),
        (lambda: os._exit(3), "exit code 3", 2),
    ],
    ids=["SIGKILL of one", "SIGKILL of three", "SIGSEGV", "a signal without a name", "exit"],
)
def test_a_worker_that_dies_at_an_item_is_named_and_replaced_and_no_result_changes(
    end: Callable[[], None], called: str, workers: int
) -> None:
    heard: list[str] = []
    work = Batches(lambda item, before: end() if item == 13 and not before else None)
    assert results_of(work, workers, heard) == undisturbed()
    (line,) = heard
    assert line.startswith("loader worker ")
    assert line.endswith(" at picture 13; it was replaced, and no batch changes")
    assert called in line
    assert list(work.begun) == [1] * 4 + [2] + [1] * 7


def test_every_task_may_cost_two_workers() -> None:
    heard: list[str] = []
    work = Batches(lambda item, before: die(signal.SIGKILL) if item in (1, 4, 7) and before < 2 else None)
    assert results_of(work, 2, heard) == undisturbed()
    assert list(work.begun) == [3] * 3 + [1] * 9
    assert len(heard) == 6


def test_an_item_that_kills_three_workers_is_an_error_that_names_it() -> None:
    heard: list[str] = []
    work = Batches(lambda item, _before: die(signal.SIGKILL) if item == 17 else None)
    with pytest.raises(WorkerError) as error:
        results_of(work, 3, heard)
    said = r"loader worker \d+ died \(SIGKILL\) at picture 17; so did 2 others before it on the same batch"
    assert re.fullmatch(said, str(error.value))
    assert work.begun[5] == 3
    assert len(heard) == 2


def test_what_comes_before_an_item_that_kills_three_workers_still_comes() -> None:
    def act(item: int, _before: int) -> None:
        if item == 12:
            time.sleep(0.3)
        if item == 17:
            die(signal.SIGKILL)

    with reading(Batches(act), 2) as stream:
        assert [next(stream)[0] for _ in range(5)] == [bytes([task]) * 10 for task in range(5)]
        with pytest.raises(WorkerError, match="at picture 17"):
            next(stream)


def test_a_worker_killed_while_it_is_idle_changes_no_result() -> None:
    heard: list[str] = []
    with reading(Batches(), 2, heard.append) as stream:
        found = [bytes(next(stream)[1]) for _ in range(4)]
        time.sleep(0.1)  # they have done what they could
        killed = children()
        for process in killed:
            os.kill(process, signal.SIGKILL)
        found += [bytes(buffer) for _, buffer in stream]
    assert found == [buffer for _, buffer in undisturbed()]
    assert 1 <= len(heard) <= 2
    assert all(any(f"loader worker {process} died (SIGKILL)" in line for process in killed) for line in heard)


def test_a_worker_killed_while_it_sends_a_large_result_changes_no_result() -> None:
    """A pipe holds 64 KiB: the rest of 1 MB waits until the parent reads, which it does at the next step."""
    heard: list[str] = []
    size = 1_000_000
    work = Batches(size=size)
    with reading(work, 2, heard.append) as stream:
        found = [next(stream)[0]]
        time.sleep(0.1)
        os.kill(children()[0], signal.SIGKILL)
        found += [result for result, _ in stream]
    assert found == [bytes([task]) * size for task in range(TASKS)]
    assert len(heard) <= 1


@CALM
@given(st.dictionaries(st.integers(0, TASKS - 1), st.floats(0.0005, 0.03), max_size=6), st.sampled_from([10, 200_000]))
def test_workers_killed_at_any_moment_change_no_result(fates: dict[int, float], size: int) -> None:
    """A worker sets a clock at some tasks and dies when it rings: at an item, sending, waiting, or at a later task."""

    def act(item: int, before: int) -> None:
        task = item // ITEMS
        if item % ITEMS == 0 and not before and task in fates:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, fates[task])
        time.sleep(0.001)

    heard: list[str] = []
    assert results_of(Batches(act, size), 2, heard) == undisturbed(size)
    assert len(heard) <= len(fates)
    assert all("died (SIGALRM)" in line for line in heard)


def hang(_item: int) -> None:
    time.sleep(60)


def stop(_item: int) -> None:
    die(signal.SIGSTOP)


@pytest.mark.parametrize(("way", "look"), [(hang, pool.LOOK), (stop, 0.05)])
def test_a_worker_that_hangs_is_named_with_its_item_and_replaced_a_second_after_our_patience(
    way: Callable[[int], None], look: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of three: what else the machine does must not decide."""
    monkeypatch.setattr(pool, "LOOK", look)
    times = []
    for _ in range(3):
        heard: list[str] = []
        work = Batches(lambda item, before: way(item) if item == 4 and not before else None)
        begun = time.monotonic()
        assert results_of(work, 2, heard, PATIENCE) == undisturbed()
        times.append(time.monotonic() - begun)
        (line,) = heard
        assert "has hung for " in line
        assert line.endswith(" at picture 4; it was replaced, and no batch changes")
        if PATIENCE <= times[-1] < PATIENCE + 1:
            break
    assert PATIENCE <= min(times) < PATIENCE + 1


def test_patience_is_for_an_item_and_not_for_a_task() -> None:
    heard: list[str] = []
    work = Batches(lambda item, _before: time.sleep(0.5 if item in (3, 4, 5) else 0))
    assert results_of(work, 2, heard, 1.2) == undisturbed()
    assert heard == []


def test_a_reader_that_takes_its_time_loses_no_worker() -> None:
    heard: list[str] = []
    for place, _ in enumerate(in_order(Batches(), range(TASKS), 2, heard.append, 0.1)):
        time.sleep(0.3 if place in (0, 3) else 0)
    assert heard == []


def test_an_item_that_hangs_three_workers_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LOOK", 0.05)
    work = Batches(lambda item, _before: hang(item) if item == 2 else None)
    with pytest.raises(WorkerError, match=r"has hung for \d+ s at picture 2; so did 2 others"):
        results_of(work, 2, [], 0.1)
