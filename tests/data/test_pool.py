import gc
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ctypes import c_int
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.listening import tell
from reslab.data.pool import At, Buffer, in_order

CALM = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
MOST = 100  # tasks that one test has


def nothing(_task: int) -> None:
    return None


@dataclass
class Squares:
    """Fills its buffer with the task's number and returns its square; ``act`` is what happens on the way.

    ``begun`` and ``done`` count in memory that workers share.
    """

    act: Callable[[int], None] = nothing
    room: int = 5000
    begun: Any = field(default_factory=lambda: RawArray(c_int, MOST))
    done: Any = field(default_factory=lambda: RawArray(c_int, MOST))

    def __call__(self, task: int, out: Buffer, at: At) -> int:
        at(task)
        self.begun[task] += 1
        self.act(task)
        out[: self.room] = task
        self.done[task] += 1
        return task**2

    def describe(self, item: int) -> str:
        return f"picture {item}"


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether ``condition`` comes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@contextmanager
def reading(*arguments: Any) -> Iterator[Iterator[tuple[int, Buffer]]]:
    """What `in_order` gives, closed at the end whatever happens."""
    stream = in_order(*arguments)
    with closing(stream):  # type: ignore[type-var]  # a generator
        yield stream


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 a count


def mappings() -> int:
    """Shared memory that is still there."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("deleted" in line or "/dev/zero" in line for line in lines)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    if multiprocessing.active_children():
        gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("tasks", [[], [3, 1, 2], [*range(30), 5, 5, 5]])
def test_results_come_in_the_order_of_the_tasks(tasks: list[int], workers: int) -> None:
    found = [(result, buffer[:5000].tolist()) for result, buffer in in_order(Squares(), tasks, workers)]
    assert found == [(task**2, [task] * 5000) for task in tasks]


def test_results_come_in_order_however_long_each_takes() -> None:
    work = Squares(lambda task: time.sleep(0.02 if task % 3 == 0 else 0.001))
    assert [result for result, _ in in_order(work, range(20), 3)] == [task**2 for task in range(20)]
    assert list(work.begun)[:21] == [1] * 20 + [0]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_buffer_holds_until_the_next_step(workers: int) -> None:
    work = Squares()
    for place, (_, buffer) in enumerate(in_order(work, range(12), workers)):
        time.sleep(0.01)
        assert set(buffer[: work.room].tolist()) == {place}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_result_without_pixels_needs_no_room(workers: int) -> None:
    assert [result for result, _ in in_order(Squares(room=0), range(5), workers)] == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("workers", [1, 3])
def test_never_more_than_two_tasks_a_worker_are_ahead(workers: int) -> None:
    work = Squares()
    for place, _ in enumerate(in_order(work, range(30), workers)):
        time.sleep(0.005)
        assert sum(work.begun) <= place + 2 * workers


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_go_on_while_their_reader_is_busy(workers: int) -> None:
    work = Squares()
    with reading(work, range(30), workers) as stream:
        for _ in range(6):
            next(stream)
            time.sleep(0.02)
        assert wait_until(lambda: sum(work.done) == 5 + 2 * workers, 2), f"{sum(work.done)} are done"


def test_reading_ahead_hides_the_time_that_the_reader_takes() -> None:
    """Two workers of 0.04 s a task and a reader of 0.02 s: 20 tasks take 0.4 s together, 0.8 s one after the other."""
    best = math.inf
    for _ in range(3):
        with reading(Squares(lambda _task: time.sleep(0.04)), range(21), 2) as stream:
            next(stream)
            begun = time.monotonic()
            for _ in stream:
                time.sleep(0.02)
        best = min(best, time.monotonic() - begun)
        if best < 0.6:
            break
    assert best < 0.6


@pytest.mark.parametrize(("bad", "workers"), [(0, 1), (5, 0), (5, 3)])
def test_an_exception_is_raised_at_its_turn_after_the_results_before_it(bad: int, workers: int) -> None:
    def refuse(task: int) -> None:
        if task == bad:
            raise ValueError(f"task {task} cannot be done")

    with reading(Squares(refuse), range(10), workers) as stream:
        assert [next(stream)[0] for _ in range(bad)] == [task**2 for task in range(bad)]
        with pytest.raises(ValueError, match=f"^task {bad} cannot be done") as error:
            next(stream)
        assert str(error.value) == f"task {bad} cannot be done"
        assert list(stream) == []


class NeedsTwo(Exception):  # noqa: N818 what matters is how it is made
    """Can be pickled, and not be made again from its pickle."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class Unpicklable(Exception):  # noqa: N818 likewise
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.reason = lambda: text


@pytest.mark.parametrize("error", [NeedsTwo("pixel", "odd"), Unpicklable("pixel: odd")], ids=["unmade", "unpicklable"])
def test_an_exception_that_cannot_travel_is_told_at_its_turn_all_the_same(error: Exception) -> None:
    def refuse(task: int) -> None:
        if task == 3:
            raise error

    warnings: list[str] = []
    with reading(Squares(refuse), range(10), 2, warnings.append) as stream:
        assert [next(stream)[0] for _ in range(3)] == [0, 1, 4]
        with pytest.raises(Exception, match="pixel: odd"):
            next(stream)
    assert warnings == []


@pytest.mark.parametrize("taken", [0, 5])
def test_closing_early_leaves_no_child(taken: int) -> None:
    with reading(Squares(lambda _task: time.sleep(0.01)), range(50), 3) as stream:
        for _ in range(taken):
            next(stream)
        assert len(multiprocessing.active_children()) == (3 if taken else 0)
    assert multiprocessing.active_children() == []


def test_a_reader_that_fails_leaves_no_child() -> None:
    def read() -> None:
        for result, _ in in_order(Squares(), range(50), 2):
            if result == 9:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    gc.collect()
    assert multiprocessing.active_children() == []


def test_many_pools_leak_neither_files_nor_memory() -> None:
    def use() -> None:
        list(in_order(Squares(), range(4), 2))
        with reading(Squares(), range(4), 2) as stream:
            next(stream)

    use()
    before = open_files(), mappings()
    for _ in range(5):
        use()
    assert open_files() == before[0]
    assert mappings() <= before[1]


def test_two_pools_that_take_turns_do_not_disturb_each_other() -> None:
    """A test on the way has workers of its own while those of training wait."""
    for place, (result, buffer) in enumerate(in_order(Squares(), range(6), 2)):
        assert [result for result, _ in in_order(Squares(), range(3), 2)] == [0, 1, 4]
        assert (result, set(buffer.tolist())) == (place**2, {place})


@CALM
@given(st.lists(st.integers(0, 90), max_size=25), st.integers(1, 4), st.integers(0, 3))
def test_any_tasks_give_the_same_for_any_number_of_workers(tasks: list[int], workers: int, slow: int) -> None:
    def act(task: int) -> None:
        time.sleep(0.001 * (task % 4 == slow))

    alone, together = (
        [(result, bytes(buffer[:9])) for result, buffer in in_order(Squares(act, room=9), tasks, number)]
        for number in (0, workers)
    )
    assert alone == together


@pytest.mark.parametrize("workers", [0, 2])
def test_what_work_tells_is_heard_while_it_is_still_at_it(workers: int) -> None:
    """The task ends only when it was heard."""
    answered = RawArray(c_int, 1)

    def act(task: int) -> None:
        if task == 3:
            tell("storage is away")
            assert wait_until(lambda: bool(answered[0]))

    def heard(text: str) -> None:
        texts.append(text)
        answered[0] = 1

    texts: list[str] = []
    assert [found for found, _ in in_order(Squares(act), range(8), workers, heard)] == [n**2 for n in range(8)]
    assert texts == ["storage is away"]
