"""Who hears what code deep below tells."""

import contextlib
import threading

import pytest

from reslab.core.listening import heard_by, tell


def test_the_innermost_listener_hears_and_the_one_before_comes_back() -> None:
    outer: list[str] = []
    inner: list[str] = []
    with heard_by(outer.append):
        tell("one")
        with contextlib.suppress(RuntimeError), heard_by(inner.append):
            tell("two")
            raise RuntimeError
        tell("three")
    assert (outer, inner) == (["one", "three"], ["two"])


def test_where_nobody_listens_python_warns_and_names_the_teller() -> None:
    with pytest.warns(UserWarning, match="^away$") as told:
        tell("away")
    assert told[0].filename == __file__


def test_another_thread_has_its_own_listener() -> None:
    heard: list[str] = []

    def work() -> None:
        with pytest.warns(UserWarning, match="away"):
            tell("away")

    with heard_by(heard.append):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert heard == []
