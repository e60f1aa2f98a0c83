"""``reslab reproduce``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from reslab.cli.flags import given
from reslab.cli.output import print_json, print_table, say
from reslab.cli.progress import progress
from reslab.cli.reproduced import EndedRun, checked, earlier, measure_responses, report, run_folder
from reslab.cli.train import say_how_to_resume, stopped_after
from reslab.core.errors import SpecError, one_line
from reslab.core.experiment import Experiment
from reslab.core.rundir import held_alone
from reslab.core.units import counted
from reslab.experiments.catalog import REPRODUCTIONS, TABLE6, Reproduction, find_reproduction

if TYPE_CHECKING:
    from reslab.experiments.queue.task import Ending, Task


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class HowFlags:
    """How the runs are carried out.

    Args:
        jobs: runs at a time, each in a process of its own; they share the cores, and the number of threads decides a
            result's last bits. Several CUDA devices take turns; several runs may share one. By default one; on Ray
            one for every GPU, or for every node of a cluster without GPUs.
        on: local; or ray, the cluster that RAY_ADDRESS names or one on this machine. All nodes must see the folder.
        device: auto, cpu or cuda.
        workers: processes that gather batches.
        activation_checkpointing: keep one tensor a block for the backward pass and compute the rest again: less memory.
        checkpoint_every: steps between checkpoints.
    """

    jobs: int | None = None
    on: Literal["local", "ray"] = "local"
    device: str = "auto"
    workers: int = 0
    activation_checkpointing: bool = False
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise SpecError(f"--jobs must be at least 1, not {self.jobs}")

    def of_each_run(self) -> dict[str, Any]:
        """What is the same for every run."""
        return {key: value for key, value in given(self).items() if key not in ("jobs", "on")}

    @property
    def in_turn(self) -> bool:
        """One run after the other, in this process."""
        return self.on == "local" and self.jobs in (None, 1)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class WhatFlags:
    """Which runs.

    Args:
        seed: the first seed.
        seeds: how many seeds.
        only: train only these networks.
        steps: another number of updates; the rate drops at the same fractions of it.
        validation: training pictures set aside to validate on, such as the 5000 of section 4.2's 45k/5k split.
    """

    seed: int = 0
    seeds: int = 1
    only: list[str] | None = None
    steps: int | None = None
    validation: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise SpecError(f"--seeds must be at least 1, not {self.seeds}")

    @property
    def changes(self) -> dict[str, Any]:
        """To every recipe."""
        return {key: value for key, value in given(self).items() if key in ("steps", "validation")}

    def of(self, found: Reproduction) -> list[Experiment]:
        """The runs of ``found``."""
        if self.only == []:
            raise SpecError(f"--only which networks? {', '.join(found.models)}")
        return found.experiments(range(self.seed, self.seed + self.seeds), self.only or (), self.changes)


def reproduce(
    name: str,
    /,
    *,
    scale: str | None = None,
    data: str | None = None,
    what: WhatFlags | None = None,
    out: Path | None = None,
    how: HowFlags | None = None,
    paper_points: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Carry out one experiment of the paper and report it beside the paper.

    Runs that are already in the folder are kept if finished and resumed if not. A run that fails stops no other. The
    report also shows those of the same settings that are there from before.

    Args:
        name: as `reslab list experiments` has it.
        scale: embedded (minutes, on the pictures inside reslab) or cifar (the paper's, on CIFAR-10); by default the
            smallest that there is.
        data: where the pictures lie; the embedded scale needs none.
        what: which runs.
        out: folder for runs and report; by default NAME-SCALE, and table6-cifar for figure6 and figure7.
        how: how the runs are carried out.
        paper_points: draw the paper's own points, as read off Figures 6 and 7, over these.
        dry_run: print what would run and stop.
        json: print one JSON document.
    """
    found = find_reproduction(name, scale)
    scale = next(key for key, one in REPRODUCTIONS[name].items() if one is found)
    asked = what or WhatFlags()
    planned = asked.of(found)
    folder = out or Path(f"{found.home}-{scale}")
    if dry_run:
        _print_plan(found, planned, folder, as_json=json)
        return 0
    if data is None and found.data != "embedded":
        raise SpecError(f"--scale {scale} needs --data, a {found.data} folder in the official binary layout")
    way = how or HowFlags()
    tasks = _tasks(planned, folder, data or "embedded", way)
    code, endings = _carry_out(tasks, folder, way)
    if code is not None:
        return code
    runs = [checked(*pair) for pair in zip(tasks, endings, strict=True)]
    if found.home == TABLE6.home:
        measure_responses(runs, "auto" if way.on == "ray" else way.device)
    kept = earlier(REPRODUCTIONS[found.home][scale], asked.changes, folder, {task.job.out for task in tasks})
    report(runs, kept, folder, paper_points=paper_points, as_json=json)
    return _exit_code(runs)


def _tasks(planned: list[Experiment], folder: Path, data: str, how: HowFlags) -> "list[Task]":
    from reslab.experiments.job import Job
    from reslab.experiments.queue.task import tasks_for

    job = Job(data=data, out=folder, **how.of_each_run())
    return tasks_for(planned, [run_folder(folder, experiment) for experiment in planned], job)


def _carry_out(tasks: "list[Task]", folder: Path, how: HowFlags) -> "tuple[int | None, list[Ending]]":
    """How every run ended; the exit code where a signal stopped them."""
    from reslab.experiments.queue.sound import require_sound
    from reslab.experiments.queue.task import FOLDER

    require_sound(tasks, here=how.on == "local")
    _announce(tasks, how)
    with held_alone(folder / FOLDER):
        endings, signal = _in_turn(tasks) if how.in_turn else _side_by_side(tasks, folder, how)
    if signal is None:
        return None, endings
    at = tasks[len(endings) - 1 :][:1] if how.in_turn else tasks
    say_how_to_resume(signal, stopped_after(sum(task.saved() for task in at), sum(task.steps for task in at)))
    return 128 + signal, endings


def _exit_code(runs: list[EndedRun]) -> int:
    failures = [run for run in runs if not run.done]
    for run in failures:
        say(f"reslab: {run.task.title} {run.ending.state}: {one_line(run.ending.why)}")
    hopeless = len(failures) == len(runs) and all(run.ending.exit_code == 2 for run in failures)
    return 2 if hopeless else min(len(failures), 1)


def _announce(tasks: "list[Task]", how: HowFlags) -> None:
    """What is ahead, and what it costs on this machine, one run after the other."""
    from reslab.experiments.cost import estimate
    from reslab.experiments.environment import choose_device
    from reslab.experiments.queue.on_ray import own_cluster

    done = sum(task.result() is not None for task in tasks)
    saved = [task.saved() for task in tasks]
    ahead: object = f"{counted(len(tasks), 'run')}, {counted(sum(task.steps for task in tasks) - sum(saved), 'step')}"
    if (how.on == "local" or own_cluster()) and done < len(tasks):
        again = how.activation_checkpointing
        ahead = estimate([task.ahead() for task in tasks], choose_device(how.device), saved, recompute=again)
    say(f"{ahead}; {done} finished already")


def _in_turn(tasks: "list[Task]") -> "tuple[list[Ending], int | None]":
    """One run after the other, in this process."""
    from reslab.experiments.queue.attempt import attempt

    endings: list[Ending] = []
    for task in tasks:
        ending = attempt(task, progress())
        endings.append(ending)
        if ending.state == "stopped" or (ending.signal is not None and task is not tasks[-1]):
            return endings, ending.signal
    return endings, None


def _side_by_side(tasks: "list[Task]", folder: Path, how: HowFlags) -> "tuple[list[Ending], int | None]":
    """In other processes, here or on Ray."""
    from reslab.cli.live_table import audience
    from reslab.experiments.queue.drive import drive
    from reslab.experiments.queue.local import Processes
    from reslab.experiments.queue.on_ray import OnRay

    if how.on == "ray":
        return drive(tasks, OnRay(how.jobs, len(tasks), folder, how.device), audience())
    assert how.jobs is not None, "one run at a time needs no process of its own"
    return drive(tasks, Processes(min(how.jobs, len(tasks))), audience())


def _print_plan(found: Reproduction, planned: list[Experiment], folder: Path, *, as_json: bool) -> None:
    from reslab.experiments.networks import blueprint
    from reslab.models.sizes import size_of

    pixels = found.input_size
    plan = [
        {
            "model": experiment.model.name,
            "seed": experiment.seed,
            "steps": experiment.recipe.steps,
            "multiply_adds": size_of(blueprint(experiment.model), pixels).multiply_adds,
            "input_size": pixels,
            "directory": str(run_folder(folder, experiment)),
        }
        for experiment in planned
    ]
    if as_json:
        print_json({"plan": plan, "cost": found.cost})
        return
    rows = [
        (
            str(run["model"]),
            str(run["seed"]),
            f"{run['steps']:,}",
            f"{run['multiply_adds']:,} at {pixels}x{pixels}",
            str(run["directory"]),
        )
        for run in plan
    ]
    print_table(("network", "seed", "steps", "multiply-adds", "directory"), rows, f"in full: {found.cost}")
