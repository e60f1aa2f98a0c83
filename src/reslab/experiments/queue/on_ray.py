"""Runs as tasks of a Ray cluster, or of a Ray of this machine's own."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import torch

from reslab.core.errors import RunError, SpecError
from reslab.core.files import storing
from reslab.core.heap import keep_freed_memory
from reslab.core.rundir import Record
from reslab.experiments.queue.attempt import Noted, attempt
from reslab.experiments.queue.follow import Tail
from reslab.experiments.queue.shared import Marker, mark, seen
from reslab.experiments.queue.task import ATTEMPTS, FOLDER, Ending, Task, read_order, threads_each

if TYPE_CHECKING:
    import ray

QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do in time; it warns until then
}
LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # so Ray spells: listen on 127.0.0.1 alone
STORE: Final = 80 * 2**20  # bytes of Ray's store of objects: nothing is kept there, and it takes no less
OWN: Final = "local"  # Ray's word for a cluster that begins and ends with its driver
KNOCK: Final = 10.0  # seconds
PATIENCE: Final = 120.0  # seconds for a node to start a worker
_DIED: Final = f"its worker died {ATTEMPTS} times"
LOST: Final = ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "ObjectLostError")


class OnRay:
    """At most ``jobs`` runs at a time, each a task; a worker that dies costs its run the steps since its checkpoint.

    Each task has an even share of the cluster's processors, as many threads, unless OMP_NUM_THREADS says otherwise (the
    number is recorded in the run and decides a result's last bits), and where there are GPUs a share of one. The
    cluster is the one that RAY_ADDRESS names; else one is started here that listens on the loopback interface alone.
    The run directories must be on a file system that all nodes see.

    Args:
        jobs: runs at a time; None: as many as there is `room` for.
        tasks: how many there are; no more run at a time.
        folder: the directory around the run directories.
        device: as ``--device`` says.

    Raises:
        SpecError: Ray is not installed, no cluster answers, or it has not the device.
        RunError: a node does not see the folder.
    """

    def __init__(self, jobs: int | None, tasks: int, folder: Path, device: str) -> None:
        if ":" in device:
            raise SpecError(f"--device {device}: Ray hands out the devices; take cuda")
        self.refs: dict[ray.ObjectRef[Record], Task] = {}
        with contextlib.ExitStack() as opened:
            self.ray = _import_ray()
            opened.enter_context(_words_aside(folder))
            opened.callback(self.ray.shutdown)
            _connect(self.ray)
            nodes = [node for node in self.ray.nodes() if node["Alive"]]
            self.marker = mark(folder / FOLDER)
            _require_shared(self.ray, nodes, self.marker, folder)
            resources = [node["Resources"] for node in nodes]
            self.jobs = min(jobs or room(resources, device), tasks)
            cpus, gpus = shares(resources, self.jobs, device)
            self.threads = threads_each(cpus, 1)
            self.remote = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=ATTEMPTS - 1, max_calls=1)(
                carry_out_there
            )
            self.opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.opened.close()

    def start(self, task: Task) -> None:
        """Begin a run, or go on with it."""
        self.refs[self.remote.remote(task.order(), self.threads, self.marker)] = task

    def ended(self) -> list[tuple[Task, Ending]]:
        """The runs that are over since the last time."""
        if not self.refs:
            return []
        ready, _ = self.ray.wait(list(self.refs), num_returns=len(self.refs), timeout=0)
        return [(self.refs.pop(ref), self._ending(ref)) for ref in ready]

    def stop(self) -> None:
        """Ask every run to save and stop: Ray's cancelling reaches a task as Ctrl-C does."""
        for ref in self.refs:
            self.ray.cancel(ref, force=False)

    def _ending(self, ref: "ray.ObjectRef[Record]") -> Ending:
        try:
            return Ending(**self.ray.get(ref))
        except self.ray.exceptions.TaskCancelledError:
            return Ending("stopped", "it was cancelled before it began", 1)
        except self.ray.exceptions.RayError as error:
            kind = type(error).__name__
            why = _DIED if kind in LOST else f"{kind}: {str(error).splitlines()[-1]}"
            return Ending("failed", why, 1)


def carry_out_there(order: Record, threads: int, marker: Marker) -> Record:
    """The task: in a worker, on whichever node has room."""
    task = read_order(order)
    if not seen(marker):
        return asdict(Ending("failed", _unseen(task.job.out.parent), 2))
    if sum("started" in notice for notice in Tail(task.notices).lines()) >= ATTEMPTS:
        return asdict(Ending("failed", _DIED, 1))  # Ray itself does not count those that it ends for want of memory
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    keep_freed_memory()
    return asdict(attempt(task, Noted(task.notices)))


def room(nodes: Sequence[dict[str, float]], device: str) -> int:
    """Tasks at a time where nobody says: one for every GPU, or else for every node that has processors to give.

    Args:
        nodes: resources of each, as Ray names them.
        device: as ``--device`` says.
    """
    return _gpus(nodes, device) or max(1, sum(node.get("CPU", 0) >= 1 for node in nodes))


def _gpus(nodes: Sequence[dict[str, float]], device: str) -> int:
    return sum(int(node.get("GPU", 0)) for node in nodes) if device != "cpu" else 0


def shares(nodes: Sequence[dict[str, float]], jobs: int, device: str) -> tuple[int, float]:
    """Processors and GPUs of each task, so that ``jobs`` of them fit at once where that can be.

    Args:
        nodes: resources of each, as Ray names them.
        jobs: tasks at a time.
        device: as ``--device`` says.

    Raises:
        SpecError: cuda is asked for, and no node has a GPU.
    """
    gpus = _gpus(nodes, device)
    if device == "cuda" and not gpus:
        raise SpecError("--device cuda: no node of the Ray cluster has a GPU")
    fit = [int(node.get("CPU", 0)) for node in nodes if not gpus or node.get("GPU", 0)]
    most = max(fit, default=1)
    cpus = next((each for each in range(most, 0, -1) if sum(has // each for has in fit) >= jobs), 1)
    return cpus, 1 / ceil(jobs / gpus) if gpus else 0.0


def _import_ray() -> Any:
    """Ray reads its settings when it is imported."""
    for key, value in {**QUIET, **(LOOPBACK if own_cluster() else {})}.items():
        os.environ.setdefault(key, value)
    try:
        import ray
    except ModuleNotFoundError:
        raise SpecError('--on ray needs Ray: pip install "reslab[ray]"') from None
    return ray


def own_cluster() -> bool:
    """Whether the cluster will be one on this machine alone."""
    return _address() == OWN


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or OWN


def _connect(ray: Any) -> None:
    address = _address()
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE} if address == OWN else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except (OSError, RuntimeError, ValueError) as error:
        where = "Ray does not start here" if own else f"no Ray cluster answers at RAY_ADDRESS {address}"
        raise SpecError(f"{where}: {str(error).splitlines()[0]}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray puts its own there


def _require_answer(address: str) -> None:
    """Knock where a host and a port are named: Ray itself would wait for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


@contextlib.contextmanager
def _words_aside(folder: Path) -> Iterator[None]:
    """Ray prints what it hears of dying workers on standard output, whatever it is told: not among the results."""
    path = folder / FOLDER / "ray.log"
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("w", encoding="utf-8")
    with log, contextlib.redirect_stdout(log):
        yield


def _require_shared(ray: Any, nodes: list[dict[str, Any]], marker: Marker, folder: Path) -> None:
    ask = ray.remote(num_cpus=0, max_retries=0)(seen)
    pin = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    for node in nodes:
        name = node["NodeManagerAddress"]
        there = ask.options(scheduling_strategy=pin(node["NodeID"], soft=False)).remote(marker)
        try:
            found = ray.get(there, timeout=PATIENCE)
        except ray.exceptions.RayError as error:
            raise RunError(f"the Ray node {name} cannot run reslab: {str(error).splitlines()[-1]}") from None
        if not found:
            raise RunError(f"{_unseen(folder)}: the Ray node {name} does not")


def _unseen(folder: Path) -> str:
    return f"the run directories must be on a file system that all nodes see, and {folder} is not"
