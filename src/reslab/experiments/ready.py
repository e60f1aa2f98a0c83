"""What is looked at before a run begins or goes on: its pictures, its weights, and what it noted before."""

from reslab.core.errors import RunError, SpecError
from reslab.core.experiment import Experiment, Photographs, Recipe
from reslab.core.listening import unheard
from reslab.core.rundir import Record, RunDirectory
from reslab.data.source import Reading, Source, find_data
from reslab.experiments.averaging import pictures_averaged
from reslab.experiments.fine_tune import require_fitting
from reslab.experiments.job import Job
from reslab.experiments.keep import INDICES
from reslab.experiments.notify import Notify
from reslab.training import checkpoint
from reslab.transforms.mean_image import MeanImage


def source_for(experiment: Experiment, data: str) -> Source:
    """What ``data`` says, as ``--data`` does.

    Raises:
        DataError: there are no pictures there.
        RunError: they are not those that ``experiment`` is on.
    """
    source = find_data(data)
    if source.name != experiment.data:
        raise RunError(f"the experiment needs {experiment.data}; --data {data} is {source.name}")
    return source


def check_start(experiment: Experiment, job: Job) -> None:
    """That the weights to begin from are there, and are those that the experiment names."""
    weights, start = job.weights, experiment.start
    if weights is not None:
        require_fitting(weights, experiment)
    if weights is not None and (start is None or start.weights != weights.digest):
        raise RunError(f"the experiment does not begin from the weights in {weights.place}")
    lacking = weights is None or weights.tensors is None
    if start is not None and lacking and not checkpoint.steps(job.out / "checkpoints"):
        raise RunError(f"{job.out} has no checkpoint yet, and the weights that it begins from are not given")


def cautions(recipe: Recipe) -> list[str]:
    """What of a recipe is hardly meant, a line each."""
    told, plateau, photographs = [], recipe.schedule.plateau, recipe.photographs
    trained, averaged = recipe.steps * recipe.batch, pictures_averaged(recipe)
    if averaged > trained:
        told.append(
            f"batch statistics will be averaged over {averaged:,} pictures after training on {trained:,}:"
            " --bn-average takes fewer, or 0 for the moving averages"
        )
    if plateau is not None and (least := (1 + plateau.patience) * plateau.window) >= recipe.steps:
        told.append(
            f"the rate will never be divided: a plateau takes {least:,} steps to be known, and there are"
            f" {recipe.steps:,}; schedule.plateau.window is {plateau.window:,} steps"
        )
    if photographs is not None and photographs.contract.crop < photographs.sides[0]:
        first, last = photographs.sides
        told.append(
            f"training takes crops of {first} to {last} pixels and testing of {photographs.contract.crop}:"
            " --progressive changes the former"
        )
    return told


def reading_for(experiment: Experiment, job: Job, source: Source, notify: Notify) -> Reading:
    """A folder that was searched for this run is not searched again, once there is something to go on from."""
    settings = experiment.recipe.photographs or Photographs()
    before = noted_before(RunDirectory.open(job.out)) if (job.out / "spec.json").exists() else None
    begun = bool(checkpoint.steps(job.out / "checkpoints"))
    same = begun and before is not None and before["data"].get("place") == source.place
    return Reading(settings.held_out, job.out / INDICES if same else None, notify.found)


def mean_image_for(experiment: Experiment, job: Job) -> MeanImage | None:
    """What the experiment subtracts from crops, where that is an image: the job's, the weights' or the checkpoint's.

    Raises:
        SpecError: there is none.
    """
    photographs = experiment.recipe.photographs
    if photographs is None or photographs.contract.mean_image is None:
        return None
    brought = job.mean_image or (None if job.weights is None else job.weights.mean_image)
    if brought is None and job.resume and (found := checkpoint.newest(job.out / "checkpoints", unheard)):
        kept = found.parts.get(checkpoint.FORM, {})
        brought = MeanImage(kept["mean"]) if "mean" in kept else None
    if brought is None:
        raise SpecError("the experiment subtracts a mean image: give it with --mean-image")
    return brought


def noted_before(run: RunDirectory) -> Record | None:
    """What the run's environment was, where it has begun."""
    before = run.environment()
    if before is not None and not (isinstance(before.get("data"), dict) and isinstance(before.get("resumed"), list)):
        raise RunError(f"{run.path / 'environment.json'} is damaged: it does not say what the run is of")
    return before
