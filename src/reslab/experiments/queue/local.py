"""Runs in processes of their own on this machine: spawned, so that torch starts anew with its share of the threads."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch

from reslab.core.files import storing
from reslab.core.process import ending_text
from reslab.core.rundir import Record
from reslab.experiments.queue.follow import Tail
from reslab.experiments.queue.task import ATTEMPTS, Ending, Task, threads_each


@dataclass
class _Child:
    task: Task
    slot: int
    process: "subprocess.Popen[bytes]"
    attempts: int = 1


class Processes:
    """At most ``jobs`` runs at a time.

    Each process has cores//jobs threads, unless OMP_NUM_THREADS says otherwise; the number is recorded in the run and
    decides a result's last bits. Where no number of a CUDA device is named and there are several, runs take turns. A
    process that dies without a word is started again, twice at most; its run goes on from the newest checkpoint.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs, self.stopping = jobs, False
        threads = threads_each(len(os.sched_getaffinity(0)), jobs)
        self.environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.devices = torch.cuda.device_count()
        self.children: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for child in self.children:
            child.process.kill()
            child.process.wait()

    def start(self, task: Task) -> None:
        """Begin a run, or go on with it."""
        slot = min(set(range(self.jobs)) - {child.slot for child in self.children})
        self.children.append(_Child(task, slot, self._spawn(task, slot)))

    def ended(self) -> list[tuple[Task, Ending]]:
        """The runs that are over since the last time."""
        over = []
        for child in list(self.children):
            if (code := child.process.poll()) is None:
                continue
            ending = self._ending(child, code)
            if ending is None:
                child.attempts += 1
                child.process = self._spawn(child.task, child.slot)
            else:
                self.children.remove(child)
                over.append((child.task, ending))
        return over

    def stop(self) -> None:
        """Ask every run to save and stop."""
        self.stopping = True
        for child in self.children:
            child.process.terminate()

    def _spawn(self, task: Task, slot: int) -> "subprocess.Popen[bytes]":
        """In a session of its own: a signal from the terminal reaches it once, through this process."""
        words = [sys.executable, "-m", "reslab.experiments.queue.child", str(os.getpid())]
        with storing(task.log):
            task.log.parent.mkdir(parents=True, exist_ok=True)
            log = task.log.open("ab")
        with log:
            child = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        order = json.dumps(task.order(self._device(task, slot))).encode()
        with contextlib.suppress(BrokenPipeError):  # a process that is dead already is found by `ended`
            assert child.stdin is not None
            with child.stdin as pipe:
                pipe.write(order)
        return child

    def _device(self, task: Task, slot: int) -> str | None:
        return f"cuda:{slot % self.devices}" if task.job.device in ("auto", "cuda") and self.devices > 1 else None

    def _ending(self, child: _Child, code: int) -> Ending | None:
        """How it ended, or None where it has to be started again."""
        said: list[Record] = [line["ended"] for line in Tail(child.task.notices).lines() if "ended" in line]
        if said:
            return Ending(**said[-1])
        if child.task.result() is not None:
            return Ending("done")
        if self.stopping:
            return Ending("stopped")
        if child.attempts < ATTEMPTS:
            return None
        why = f"its process died {ATTEMPTS} times, last by {ending_text(code)}; {child.task.log} has its last words"
        return Ending("failed", why, 1)
