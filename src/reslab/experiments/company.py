"""What a run in company of other processes needs: one voice, stops that all agree on, and a word when one is stuck."""

import contextlib
import faulthandler
import sys
from collections.abc import Callable, Iterator

import torch
from torch import distributed

from reslab.core.errors import WorkerError
from reslab.core.listening import unheard
from reslab.experiments.notify import Notify
from reslab.experiments.world import World


class Other(Notify):
    """What a process other than the first has to say: warnings alone, each with the process's number."""

    def __init__(self, notify: Notify, rank: int) -> None:
        self.notify, self.rank = notify, rank

    def warned(self, text: str) -> None:
        """Pass it on."""
        self.notify.warned(f"process {self.rank}: {text}")


class _Agreement:
    """Which signal came to any process, as all of them hear it: one call later, so that nobody waits for an answer."""

    def __init__(self, stop: Callable[[], int | None]) -> None:
        self.stop, self.said = stop, torch.zeros(1, dtype=torch.int64)
        self.pending: distributed.Work | None = None

    def __call__(self) -> int | None:
        self.wait()
        answer = int(self.said) or None
        self.said.fill_(answer or self.stop() or 0)
        self.pending = distributed.all_reduce(self.said, distributed.ReduceOp.MAX, async_op=True)
        return answer

    def wait(self) -> None:
        if self.pending is not None:
            self.pending.wait()
            self.pending = None


@contextlib.contextmanager
def agreed_stop(world: World, stop: Callable[[], int | None]) -> Iterator[Callable[[], int | None]]:
    """``stop`` as all processes of ``world`` hear it; each must ask as often as the others."""
    if world.size == 1:
        yield stop
        return
    agreement = _Agreement(stop)
    yield agreement
    agreement.wait()


@contextlib.contextmanager
def watched(world: World, timeout: float) -> Iterator[Callable[..., None]]:
    """Give a function that says "alive"; a process that does not say it for ``timeout`` seconds ends.

    It then writes the stacks of all its threads to stderr, and exits with 1. One that waits for a process that is stuck
    is silent too, so all of them tell where they are.
    """
    if world.size == 1:
        yield unheard
        return

    def alive(*_: object) -> None:
        faulthandler.dump_traceback_later(timeout, exit=True, file=sys.stderr)

    alive()
    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def losses_told(world: World) -> Iterator[None]:
    """Say in one line that another process is gone, where torch has only its sockets to speak of.

    Raises:
        WorkerError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if world.size == 1 or not _of_connection(error):
            raise
        raise WorkerError("another process of this training has ended; see what it said") from None


def _of_connection(error: RuntimeError) -> bool:
    return isinstance(error, distributed.DistError) or any(word in str(error) for word in ("gloo", "NCCL", "onnection"))
