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
        self._since, self._last, self._answered = (RawValue(c_double, 0.0) for _ in range(3))

    def met(self, begun: float) -> tuple[float, bool]:
        """Note that what was asked for at ``begun`` failed: seconds since the outage's first failure; whether it is it.

        Times are `time.monotonic`'s, the same clock in all processes. What was asked for before storage answered others
        begins no outage.
        """
        with self._alone():
            now = time.monotonic()
            going_on = self._since.value and now - self._last.value <= FORGOTTEN
            if not going_on and begun < self._answered.value:
                return 0.0, False
            if not going_on:
                self._since.value = now
            self._last.value = now
            return now - self._since.value, not going_on

    def over(self, begun: float) -> None:
        """Note that what was asked for at ``begun`` is here; where that was before the outage, it goes on."""
        with self._alone():
            if begun >= self._since.value:
                self._since.value, self._answered.value = 0.0, time.monotonic()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        held = self._lock.acquire(timeout=LONG)  # whoever had it may have been killed
        try:
            yield
        finally:
            if held:
                self._lock.release()
