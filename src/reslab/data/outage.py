"""Since when storage has been away: known to all worker processes, which meet that at different times."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double
from multiprocessing.sharedctypes import RawValue
from typing import Final

FORGOTTEN: Final = (
    300.0  # seconds without a failure after which the next is another outage; ours: as long as one may last
)
LONG: Final = 1.0  # seconds that the lock is waited for; ours: it is held for a microsecond


class Outage:
    """How long storage has been away; a copy in a child process is the same one.

    A worker may meet an outage only when another has given up the shard that both wait for. Counted from the first
    failure of all, it does not wait once more.
    """

    def __init__(self) -> None:
        self._lock = multiprocessing.get_context("fork").Lock()
        self._since, self._last = RawValue(c_double, 0.0), RawValue(c_double, 0.0)

    def met(self) -> tuple[float, bool]:
        """Note a failure: seconds since the first of this outage, and whether it is the first."""
        with self._alone():
            now = time.monotonic()  # the same clock in all processes
            first = not self._since.value or now - self._last.value > FORGOTTEN
            if first:
                self._since.value = now
            self._last.value = now
            return now - self._since.value, first

    def over(self) -> None:
        """Note that storage has answered."""
        with self._alone():
            self._since.value = 0.0

    @contextmanager
    def _alone(self) -> Iterator[None]:
        held = self._lock.acquire(timeout=LONG)  # whoever had it may have been killed
        try:
            yield
        finally:
            if held:
                self._lock.release()
