"""What becomes of workers when their parent ends, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)

BEGIN = """
import multiprocessing, os, signal, sys, time
from reslab.data import pool
from reslab.data.pool import in_order

class Work:
    room = 10
    def __call__(self, task, out, at):
        at(task)
        time.sleep(PAUSE)
        return bytes([task % 256]) * SIZE
    def describe(self, item):
        return str(item)

def say(*words):
    print(*words, flush=True)
"""


@contextmanager
def program(text: str, **names: object) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own."""
    lines = [f"{name} = {value!r}" for name, value in {"SIZE": 10, "PAUSE": 0.0, **names}.items()]
    command = [sys.executable, "-c", "\n".join([*lines, BEGIN, text])]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def first_line(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_end(processes: list[int], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(alive, processes))


@pytest.mark.parametrize(("size", "pause"), [(10, 0.0), (10, 0.3), (8_000_000, 0.0), (10, 1e6)])
def test_workers_end_within_two_seconds_when_their_parent_is_killed(size: int, pause: float) -> None:
    """Idle, at work, sending, and hung."""
    ahead = "stream = in_order(Work(), range(99), 3)\nimport threading\n"
    tell = "threading.Timer(0.15, lambda: say(*[c.pid for c in multiprocessing.active_children()])).start()\n"
    with program(ahead + tell + "next(stream)\ntime.sleep(60)", SIZE=size, PAUSE=pause) as process:
        workers = first_line(process)
        assert len(workers) == 3
        process.kill()
        ended = all_end(workers, 2)
        for worker in workers:
            if alive(worker):
                os.kill(worker, signal.SIGKILL)
        assert ended


def test_signals_to_the_group_leave_workers_alive_until_their_parent_ends() -> None:
    text = """
came = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _frame: came.append(number))
stream = in_order(Work(), range(40), 2, say)
found = [next(stream)[0][0] for _ in range(6)]
say(*[child.pid for child in multiprocessing.active_children()])
while len(came) < 2:
    time.sleep(0.01)
found += [result[0] for result, _ in stream]
assert found == list(range(40)), found
say("done")
"""
    with program(text, PAUSE=0.005) as process:
        workers = first_line(process)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.killpg(process.pid, number)
            time.sleep(0.1)
        out, err = process.communicate(timeout=20)
        assert (out, err, process.returncode) == ("done\n", "", 0)
        assert all_end(workers, 1)


def test_a_group_that_was_stopped_and_goes_on_loses_no_worker() -> None:
    """As Ctrl-Z and `fg` do, for longer than our patience."""
    text = """
pool.LOOK = 0.05
stream = in_order(Work(), range(9), 2, say, 0.3)
found = [next(stream)[0][0] for _ in range(3)]
say(1)
found += [result[0] for result, _ in stream]
assert found == list(range(9)), found
say("done")
"""
    with program(text, PAUSE=0.1) as process:
        first_line(process)
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(0.7)
        os.killpg(process.pid, signal.SIGCONT)
        out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("done\n", "", 0)


def test_an_interpreter_ends_although_a_stream_is_left_open() -> None:
    """One worker has sent its result, and the other is in the middle of a task."""
    text = "stream = in_order(Work(), range(99), 2)\nnext(stream)\nnext(stream)\nsys.exit(3)"
    with program(text, PAUSE=0.2) as process:
        out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("", "", 3)


def test_an_interpreter_ends_although_a_stream_and_its_error_are_kept() -> None:
    text = """
stream = in_order(Work(), range(99), 2)
try:
    for _ in stream:
        raise ValueError("kept")
except ValueError as error:
    kept = error
"""
    with program(text) as process:
        out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("", "", 0)
