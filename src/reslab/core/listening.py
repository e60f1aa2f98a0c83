"""Who hears what code deep below has to say."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


def unheard(*_: object) -> None:
    """Take anything and do nothing with it: the listener where nobody listens."""


def _as_python_does(text: str) -> None:
    warnings.warn(text, stacklevel=3)


_listener: Final[ContextVar[Callable[[str], None]]] = ContextVar("listener", default=_as_python_does)


def tell(text: str) -> None:
    """Say a warning to whoever listens here; where nobody does, as Python's warnings are said."""
    _listener.get()(text)


@contextmanager
def heard_by(listener: Callable[[str], None]) -> Iterator[None]:
    """What is told in here, in this thread, ``listener`` hears."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)
