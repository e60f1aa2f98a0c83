"""One run of a queue: what it is, how it travels to another process, and how it ended."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from reslab.core.errors import RunError
from reslab.core.experiment import Experiment
from reslab.core.rundir import Record, RunDirectory
from reslab.experiments.job import Job
from reslab.training import checkpoint

ATTEMPTS: Final = 3  # processes that one run may cost
FOLDER: Final = ".queue"  # beside the runs: what each says while it goes on
CARRIED: Final = tuple(field.name for field in fields(Job) if field.name not in ("out", "data", "resume", "weights"))


@dataclass(frozen=True)
class Task:
    """An experiment and how its run is carried out; ``job.out`` is the run's own directory."""

    experiment: Experiment
    job: Job

    @property
    def title(self) -> str:
        """Network and seed."""
        return f"{self.experiment.model.name} seed {self.experiment.seed}"

    @property
    def steps(self) -> int:
        """Updates in all."""
        return self.experiment.recipe.steps

    @property
    def notices(self) -> Path:
        """Where the run says what is no number: JSON lines."""
        return self.job.out.parent / FOLDER / f"{self.job.out.name}.jsonl"

    @property
    def log(self) -> Path:
        """Where its process's other words go."""
        return self.notices.with_suffix(".log")

    def result(self) -> Record | None:
        """The finished run's result, or None."""
        begun = (self.job.out / "spec.json").exists()
        return RunDirectory.open(self.job.out).result() if begun else None

    def saved(self) -> int:
        """The step from which the run would go on."""
        newest = checkpoint.steps(self.job.out / "checkpoints")[:1]
        return self.steps if self.result() else sum(newest)

    def ahead(self) -> Experiment:
        """The experiment as its run goes on: in the precision that was chosen when it began."""
        noted: Record | None = None
        if self.saved():
            with suppress(RunError):  # a damaged one is the run's own to name
                noted = RunDirectory.open(self.job.out).environment()
        if self.experiment.recipe.precision != "auto" or noted is None or "precision" not in noted:
            return self.experiment
        return self.experiment.but({"recipe": {"precision": noted["precision"]}})

    def order(self, device: str | None = None) -> Record:
        """The task as plain JSON, with absolute paths.

        Args:
            device: another than the job's.
        """
        assert self.job.weights is None, "weights to begin from do not travel"
        data = self.job.data if self.job.data == "embedded" else str(Path(self.job.data).absolute())
        how: dict[str, Any] = {name: getattr(self.job, name) for name in CARRIED}
        how |= {"data": data, "out": str(self.job.out.absolute())} | ({"device": device} if device else {})
        return {"experiment": self.experiment.model_dump(mode="json"), "job": how}


def read_order(order: Record) -> Task:
    """The task that `Task.order` wrote; it goes on where its run stopped."""
    job = Job(**{**order["job"], "out": Path(order["job"]["out"]), "resume": True})
    return Task(Experiment.parse(order["experiment"], "the queue's order"), job)


def tasks_for(experiments: Sequence[Experiment], folders: Sequence[Path], job: Job) -> list[Task]:
    """One task an experiment, each in its folder."""
    pairs = zip(experiments, folders, strict=True)
    return [Task(experiment, replace(job, out=folder, resume=True)) for experiment, folder in pairs]


@dataclass(frozen=True)
class Ending:
    """How a run ended: ``failed``, and then ``why`` and as which exit code; the ``signal`` that came, if any.

    A run that a signal did not stop any more, because it was at its end, is ``done``.
    """

    state: Literal["done", "stopped", "failed"]
    why: str = ""
    exit_code: int = 0
    signal: int | None = None


def threads_each(cores: int, jobs: int) -> int:
    """Threads of one of ``jobs`` processes: what OMP_NUM_THREADS says, else an even share of ``cores``.

    The number is recorded in every run and decides a result's last bits.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(asked) if asked.isdecimal() and int(asked) else max(1, cores // jobs)
