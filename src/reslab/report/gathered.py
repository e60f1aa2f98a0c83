"""The finished runs among those that a user names and those that lie in folders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reslab.core.errors import ReslabError, RunError, one_line
from reslab.core.rundir import RunDirectory, find_places
from reslab.core.text import few
from reslab.report.finished import FinishedRun, in_order, read_finished


@dataclass(frozen=True)
class Gathered:
    """Finished runs in the paper's order; why others, which lie in the same folders, are ``left_out``."""

    runs: list[FinishedRun]
    left_out: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """Which are left out, on one line; None: none are."""
        some = f"left out ({len(self.left_out):,} of {len(self.left_out) + len(self.runs):,} runs)"
        return f"{some}: {few(self.left_out, between='; ')}" if self.left_out else None


def gather(paths: Sequence[Path], *checks: Callable[[FinishedRun], object]) -> Gathered:
    """Read the runs at ``paths``, each once; one that lies in a folder and cannot be used is left out.

    Args:
        paths: run directories, or folders of them.
        checks: what else must be possible with a run; each raises a RunError where it is not.

    Raises:
        RunError: a run that was named is missing, not finished or damaged; no run is finished; or as `in_order` says.
        SpecError: the ``spec.json`` of a run that was named holds what cannot be.
    """
    runs: dict[Path, FinishedRun] = {}
    left_out: dict[Path, str] = {}
    for place, named in find_places(paths).items():
        try:
            run = read_finished(RunDirectory.open(place))
            for check in checks:
                check(run)
        except ReslabError as error:
            if named:
                raise
            left_out[place.resolve()] = one_line(error)
        else:
            runs[place.resolve()] = run
    if not runs:
        places = few([str(path) for path in paths])
        raise RunError(f"there is no finished run in {places}: {few(list(left_out.values()), between='; ')}")
    return Gathered(in_order(list(runs.values())), tuple(left_out.values()))
