"""One outage for all processes: said once, counted from its first failure."""

import multiprocessing
import time
from typing import Any

import pytest

from reslab.data import outage
from reslab.data.outage import Outage

now = time.monotonic


def test_only_the_first_failure_is_the_first() -> None:
    one = Outage()
    away, first = one.met(now())
    assert (away, first) == (0.0, True)
    time.sleep(0.05)
    away, first = one.met(now())
    assert 0.05 <= away < 5
    assert not first
    one.over(now())
    assert one.met(now()) == (0.0, True)


def test_a_copy_in_a_child_process_is_the_same_one() -> None:
    one = Outage()
    child = multiprocessing.get_context("fork").Process(target=one.met, args=(now(),))
    child.start()
    child.join()
    away, first = one.met(now())
    assert away > 0
    assert not first
    child = multiprocessing.get_context("fork").Process(target=one.over, args=(now(),))
    child.start()
    child.join()
    assert one.met(now()) == (0.0, True)


def test_what_was_long_ago_is_another_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Outage()
    one.met(now())
    monkeypatch.setattr(outage, "FORGOTTEN", 0.01)
    time.sleep(0.02)
    assert one.met(now()) == (0.0, True)


def met(one: Outage, gate: Any, firsts: Any) -> None:
    gate.wait()
    firsts.put(one.met(now())[1])


def test_of_many_that_fail_at_once_one_is_the_first() -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        one, gate, firsts = Outage(), context.Barrier(6), context.Queue()
        children = [context.Process(target=met, args=(one, gate, firsts)) for _ in range(6)]
        for child in children:
            child.start()
        found = [firsts.get(timeout=30) for _ in children]
        for child in children:
            child.join()
        assert sum(found) == 1


def test_a_process_killed_in_the_middle_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LONG", 0.05)
    one = Outage()
    one._lock.acquire()
    assert one.met(now()) == (0.0, True)
    one.over(now())


def test_an_answer_from_before_the_outage_does_not_end_it() -> None:
    one, before = Outage(), now()
    one.met(before)
    one.over(before)
    assert not one.met(now())[1]
    one.over(now())
    assert one.met(now())[1]


def test_a_failure_from_before_storage_answered_begins_no_outage() -> None:
    one, before = Outage(), now()
    one.met(before)
    one.over(now())
    assert one.met(before) == (0.0, False)
    assert one.met(now()) == (0.0, True)
