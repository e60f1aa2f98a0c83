"""The processes that torchrun started for one command, and what they do together."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import numpy as np
import torch
import torch.distributed.nn.functional  # its functions' defaults hold the group that is there when it is first imported
from torch import distributed

from reslab.core.errors import EvaluationError, ReslabError, SpecError
from reslab.core.shares import shares
from reslab.evaluation.views import ROWS, Allocate, Floats, ViewScores

T = TypeVar("T")
PATIENCE: Final = timedelta(days=7)  # one may take long over its share; one that dies ends the others by torchrun


@dataclass(frozen=True)
class World:
    """This process among ``size``; ``local`` of ``neighbours`` are on its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0
    neighbours: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, pictures: int) -> range:
        """This process's part of so many pictures: together the parts are all of them, each exactly once."""
        return shares(pictures, self.size)[self.rank]

    def device(self, asked: str) -> str:
        """The device for what ``--device`` says: of several processes on a machine each has its own."""
        alone = self.size == 1 or asked not in ("auto", "cuda") or not torch.cuda.is_available()
        return asked if alone else f"cuda:{self.local % torch.cuda.device_count()}"

    def agreed(self, work: Callable[[], T]) -> T:
        """Do ``work`` in every process; where it fails in one the first says why, and all end.

        Raises:
            ReslabError: in the first process, what any of them raised.
            SystemExit: in the others.
        """
        if self.size == 1:
            return work()
        result, error = None, None
        try:
            result = work()
        except ReslabError as raised:
            error = raised
        if failed := next((one for one in self.gathered(error) if one is not None), None):
            if self.first:
                raise failed
            sys.exit(failed.exit_code)
        return result  # type: ignore[return-value]  # no error: it is work's

    def gathered(self, value: T) -> list[T]:
        """The ``value`` of every process, in their order; each must have one."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    def collected(self, own: ViewScores, pictures: int, allocate: Allocate) -> ViewScores | None:
        """In the first process, the scores of all pictures; in the others nothing.

        Args:
            own: the scores of this process's share.
            pictures: all of them.
            allocate: makes room for all of them.
        """
        if self.size == 1:
            return own
        parts = {"logits": own.logits, "probabilities": own.probabilities}
        rooms = self.agreed(
            lambda: {name: allocate(name, (pictures, *part.shape[1:])) for name, part in parts.items() if self.first}
        )
        for name, part in parts.items():
            if self.first:
                self._receive(rooms[name], part)
            else:
                for start in range(0, len(part), ROWS):
                    distributed.send(torch.from_numpy(part[start : start + ROWS]), 0)
        return ViewScores(**rooms) if self.first else None

    def require_same(self, what: str, value: object) -> None:
        """Find out whether ``value`` is the same in every process.

        Raises:
            EvaluationError: it is not; the line names ``what`` differs.
        """
        values = self.gathered(value)
        self.agreed(lambda: _require_equal(what, values))

    def _receive(self, whole: Floats, own: Floats) -> None:
        whole[: len(own)] = own
        for rank, share in enumerate(shares(len(whole), self.size)[1:], start=1):
            for start in range(share.start, share.stop, ROWS):
                rows = torch.empty((min(ROWS, share.stop - start), *own.shape[1:]), dtype=torch.float32)
                distributed.recv(rows, rank)
                whole[start : start + len(rows)] = np.asarray(rows)


ALONE: Final = World()


def _require_equal(what: str, values: Sequence[object]) -> None:
    if any(value != values[0] for value in values):
        raise EvaluationError(
            f"the processes have different {what}: each must find the same, and nothing may change it"
        )


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The processes that torchrun started, or this one alone; they talk by gloo, about what lies on GPUs by NCCL.

    Raises:
        SpecError: the environment speaks of several processes, but not as torchrun does.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    said = {name: os.environ.get(name, "") for name in names}
    missing = [name for name, word in said.items() if not word.isdecimal()]
    if missing or "MASTER_ADDR" not in os.environ:
        lacking = (missing or ["MASTER_ADDR"])[0]
        raise SpecError(f"WORLD_SIZE is {said['WORLD_SIZE']}, but {lacking} says nothing: start with torchrun")
    if os.environ.get("OMP_NUM_THREADS") == "1":  # torchrun's own word, where nobody chose
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(said["LOCAL_WORLD_SIZE"])))
    on_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)
    try:
        yield World(*map(int, said.values()))
    finally:
        distributed.destroy_process_group()
        gc.collect()  # threads of a group that still is while the interpreter ends may abort the process
