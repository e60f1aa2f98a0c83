"""Whether a run can be kept in the directory that is asked for."""

from reslab.core.errors import RunError
from reslab.core.experiment import Experiment
from reslab.core.files import require_writable, storing
from reslab.core.rundir import Record, RunDirectory
from reslab.experiments.job import Job
from reslab.experiments.world import World
from reslab.training import checkpoint


def check_place(experiment: Experiment, job: Job, world: World) -> Record | None:
    """That the run can be kept in ``job.out``, without making anything there; of a finished run, its result.

    Raises:
        RunError: the place holds something else, or what this run has saved, and the job is not to go on.
        StorageError: it takes no files.
    """
    run = _found(experiment, job, world)
    if run is not None and (result := run.result()):
        if not job.resume:
            raise RunError(f"{job.out} holds this run, finished; take another --out, or --resume to see its result")
        return result
    if run is not None and not job.resume:
        require_unbegun(run)
    if world.first:
        require_writable(job.out)
    return None


def _found(experiment: Experiment, job: Job, world: World) -> RunDirectory | None:
    """The run, if it is there. The first process judges a place without: its trial file may be seen by the others."""
    with storing(job.out):
        if not world.first and not (job.out / "spec.json").exists():
            return None
        return RunDirectory.find(job.out, experiment)


def require_unbegun(run: RunDirectory) -> None:
    """Refuse to begin a run that has saved something.

    Raises:
        RunError: it has.
    """
    if saved := checkpoint.steps(run.checkpoints):
        at = f"step {saved[0]} of {run.experiment.recipe.steps}"
        raise RunError(f"{run.path} holds this run, at {at}; --resume goes on from there")
