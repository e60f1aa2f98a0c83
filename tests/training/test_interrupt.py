import os
import signal
import threading

import pytest

from reslab.training.interrupt import noted_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_interrupts_nothing(number: signal.Signals) -> None:
    with noted_signals() as answer:
        assert answer() is None
        signal.raise_signal(number)
        assert answer() == number


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_interrupts_at_once(second: signal.Signals) -> None:
    with noted_signals() as answer:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
        assert answer() == signal.SIGTERM


def test_the_handlers_that_were_there_come_back_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    within: list[object] = []

    def fail() -> None:
        with noted_signals():
            within.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert within
    assert not set(within) & set(before)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_the_answer_is_none_and_no_handler_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def look() -> None:
        with noted_signals() as answer:
            seen.extend([answer(), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [None, before]
