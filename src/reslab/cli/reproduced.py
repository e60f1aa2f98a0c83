"""What ``reslab reproduce`` makes of its runs when they are over: responses, pages, tables, one JSON document."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import warn
from reslab.cli.report import print_table6, print_verdicts
from reslab.core.errors import ReslabError, one_line
from reslab.core.experiment import Experiment
from reslab.core.rundir import RunDirectory
from reslab.experiments.catalog import Reproduction

if TYPE_CHECKING:
    from reslab.experiments.queue.task import Ending, Task


@dataclass(frozen=True)
class EndedRun:
    """A run, and how it ended."""

    task: "Task"
    ending: "Ending"

    @property
    def done(self) -> bool:
        """Whether it has a result."""
        return self.ending.state == "done"

    def failure_as_json(self) -> dict[str, Any]:
        """A run without a result, as plain values: ``model``, ``seed``, ``why``."""
        experiment = self.task.experiment
        return {"model": experiment.model.name, "seed": experiment.seed, "why": self.ending.why}


def run_folder(folder: Path, experiment: Experiment) -> Path:
    """Where a run of a reproduction lives."""
    return folder / f"{experiment.model.name}-seed{experiment.seed}"


def checked(task: "Task", ending: "Ending") -> EndedRun:
    """How ``task`` ended; a finished run whose files are damaged has failed."""
    from reslab.experiments.queue.task import Ending
    from reslab.report.finished import finished

    if ending.state == "done":
        try:
            finished([RunDirectory.open(task.job.out)])
        except ReslabError as error:
            return EndedRun(task, Ending("failed", str(error), error.exit_code))
    return EndedRun(task, ending)


def measure_responses(runs: list[EndedRun], device: str) -> None:
    """For Figure 7, of the finished runs that have none yet; what goes wrong costs no report."""
    from reslab.experiments.responses import keep_responses

    for task in (run.task for run in runs if run.done):
        try:
            keep_responses(RunDirectory.open(task.job.out), task.job.data, device)
        except (ReslabError, RuntimeError, MemoryError) as error:
            why = one_line(error) or type(error).__name__
            warn(f"{task.title}: its responses were not measured: {why}")


def earlier(home: Reproduction, changes: Mapping[str, Any], folder: Path, but: Collection[Path]) -> list[Path]:
    """Finished runs of ``home`` that lie in ``folder`` from before; those of other settings are named and left out.

    Args:
        home: the experiment whose runs the folder holds.
        changes: to every recipe, as asked for now.
        folder: the folder.
        but: run directories that are known already.
    """
    there = sorted(spec.parent for spec in folder.glob("*/spec.json"))
    return [place for place in there if place not in but and _belongs(place, home, changes)]


def _belongs(place: Path, home: Reproduction, changes: Mapping[str, Any]) -> bool:
    from reslab.report.finished import finished

    try:
        run = RunDirectory.open(place)
        name, seed = run.experiment.model.name, run.experiment.seed
        if place != run_folder(place.parent, run.experiment) or name not in home.models or run.result() is None:
            return False
        if [run.experiment] == home.experiments([seed], [name], changes):
            return bool(finished([run]))
        why = "it has other settings"
    except ReslabError as error:
        why = one_line(error)
    warn(f"{place} is left out of the report: {why}")
    return False


def report(runs: list[EndedRun], kept: list[Path], folder: Path, *, paper_points: bool, as_json: bool) -> None:
    """The report of those that finished and of those ``kept`` from before, if any."""
    from reslab.report.finished import finished
    from reslab.report.page import write_report
    from reslab.report.table import HEADINGS, rows_of

    places = [run.task.job.out for run in runs if run.done] + kept
    read = finished([RunDirectory.open(place) for place in places])
    written = write_report(read, folder / "report.html", paper_points) if read else None
    if as_json:
        results = [{**(RunDirectory.open(place).result() or {}), "directory": str(place)} for place in places]
        print_json(
            {
                "runs": results,
                "claims": [verdict.as_json() for verdict in written.verdicts] if written else [],
                "table6": written.table6.as_json() if written and written.table6 else None,
                "report": str(written.html) if written else None,
                "failed": [run.failure_as_json() for run in runs if not run.done],
            }
        )
    elif written:
        print_table6(written.table6)
        print_table(HEADINGS, [row.cells for row in rows_of(read)], read[0].setting)
        stdout().print()
        print_verdicts(written.verdicts)
        figures = "   ".join(f"figure: {figure}" for figure in written.figures if figure.suffix == ".png")
        stdout().print(f"\npage: {written.html}   table: {written.markdown}   {figures}")
