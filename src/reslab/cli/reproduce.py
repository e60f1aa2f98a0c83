"""``reslab reproduce``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import progress
from reslab.cli.report import print_verdicts
from reslab.cli.train import say_how_to_resume
from reslab.core.errors import SpecError
from reslab.core.experiment import Experiment
from reslab.core.rundir import RunDirectory
from reslab.experiments.catalog import Reproduction, find_reproduction

if TYPE_CHECKING:
    from reslab.experiments.execute import Job


def reproduce(
    name: str,
    /,
    *,
    scale: str = "embedded",
    data: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    only: list[str] | None = None,
    steps: int | None = None,
    out: Path | None = None,
    device: str = "auto",
    workers: int = 0,
    checkpoint_every: int = 500,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Carry out one experiment of the paper and report it beside the paper.

    Runs that are already in the folder are kept if finished and resumed if not.

    Args:
        name: as `reslab list experiments` has it.
        scale: embedded (minutes, on the pictures inside reslab) or cifar (the paper's, on CIFAR-10).
        data: where the pictures lie; the embedded scale needs none.
        seed: the first seed.
        seeds: how many seeds.
        only: train only these networks.
        steps: another number of updates; the rate drops at the same fractions of it.
        out: folder for runs and report; by default NAME-SCALE.
        device: auto, cpu or cuda.
        workers: processes that gather batches.
        checkpoint_every: steps between checkpoints.
        dry_run: print what would run and stop.
        json: print one JSON document.
    """
    found = find_reproduction(name, scale)
    if seeds < 1:
        raise SpecError(f"--seeds must be at least 1, not {seeds}")
    planned = found.experiments(range(seed, seed + seeds), only or ())
    if steps is not None:
        planned = [experiment.but({"recipe": {"steps": steps}}) for experiment in planned]
    folder = out or Path(f"{name}-{scale}")
    if dry_run:
        _print_plan(found, planned, folder, as_json=json)
        return 0
    if data is None and found.data != "embedded":
        raise SpecError(f"--scale {scale} needs --data, a {found.data} folder in the official binary layout")
    from reslab.experiments.execute import Job

    job = Job(
        data=data or "embedded",
        out=folder,
        resume=True,
        device=device,
        workers=workers,
        checkpoint_every=checkpoint_every,
    )
    return _carry_out(planned, job, as_json=json)


def run_folder(folder: Path, experiment: Experiment) -> Path:
    """Where a run of a reproduction lives."""
    return folder / f"{experiment.model.name}-seed{experiment.seed}"


def _carry_out(planned: list[Experiment], job: "Job", *, as_json: bool) -> int:
    from reslab.experiments.execute import execute

    results: list[dict[str, Any]] = []
    for experiment in planned:
        outcome = execute(experiment, replace(job, out=run_folder(job.out, experiment)), progress())
        if outcome.signal is not None:
            say_how_to_resume(outcome.signal, outcome.step, experiment.recipe.steps)
            return 128 + outcome.signal
        assert outcome.result is not None
        results.append(outcome.result)
    _report(planned, results, job.out, as_json=as_json)
    return 0


def _report(planned: list[Experiment], results: list[dict[str, Any]], folder: Path, *, as_json: bool) -> None:
    from reslab.report.finished import finished
    from reslab.report.page import write_report
    from reslab.report.table import HEADINGS, rows_of

    runs = finished([RunDirectory.open(run_folder(folder, experiment)) for experiment in planned])
    written = write_report(runs, folder / "report.html")
    if as_json:
        claims = [verdict.as_json() for verdict in written.verdicts]
        print_json({"runs": results, "claims": claims, "report": str(written.html)})
        return
    print_table(HEADINGS, [row.cells for row in rows_of(runs)], runs[0].setting)
    stdout().print()
    print_verdicts(written.verdicts)
    stdout().print(f"\npage: {written.html}   table: {written.markdown}   figure: {written.figures[-1]}")


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
    print_table(("network", "seed", "steps", "multiply-adds", "directory"), rows, found.cost)
