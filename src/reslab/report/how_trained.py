"""What was done to the pictures and the weights, in sentences."""

from collections.abc import Sequence
from typing import Final

from reslab.core.experiment import Photographs, Recipe, Start
from reslab.core.units import counted
from reslab.report.finished import FinishedRun

DIGITS: Final = 12  # of a digest: enough to tell files apart


def how_trained(runs: Sequence[FinishedRun]) -> str:
    """How comparable runs were trained and tested."""
    experiment = runs[0].experiment
    sentences = [
        f"{'; '.join([*_training(experiment.recipe), _warm_up(runs)])}.",
        *(_plateaus(run) for run in runs if experiment.recipe.schedule.plateau),
        _start(experiment.start) if experiment.start else "",
        f"The error is that of the last step, on {_view(experiment.recipe.photographs)}.",
        _averaged(runs[0]),
        *(_replaced(run) for run in runs if run.result.get("replaced")),
    ]
    return " ".join(filter(None, sentences))


def _training(recipe: Recipe) -> tuple[str, ...]:
    smoothed = f"labels smoothed by {recipe.label_smoothing:g}"
    return (
        f"Rate {recipe.optim.lr}{_course(recipe)}",
        f"momentum {recipe.optim.momentum}",
        f"weight decay {recipe.optim.weight_decay}",
        _crops(recipe),
        f"batch normalisation over {counted(recipe.bn_group, 'picture')}",
        *((smoothed,) if recipe.label_smoothing else ()),
    )


def _course(recipe: Recipe) -> str:
    schedule, steps = recipe.schedule, ", ".join(f"{step:,}" for step in recipe.drop_steps())
    ramp = f", reached after {counted(round(schedule.ramp * recipe.steps), 'step')}" if schedule.ramp else ""
    if schedule.cosine:
        return f"{ramp}, falling to zero as a cosine"
    if schedule.plateau:
        return f"{ramp}, divided by {schedule.divide_by:g} where the training error no longer fell"
    return f"{ramp}, divided by {schedule.divide_by:g} at steps {steps}" if steps else f"{ramp}, constant"


def _plateaus(run: FinishedRun) -> str:
    steps = ", ".join(f"{step:,}" for step in run.divisions) or "none"
    return f"{run.called}, seed {run.experiment.seed}: the rate was divided at steps {steps}."


def _warm_up(runs: Sequence[FinishedRun]) -> str:
    warmed = {run.called: bool(run.experiment.recipe.schedule.warm_up) for run in runs}
    if len(set(warmed.values())) == 1:
        return "warm-up" if all(warmed.values()) else "no warm-up"
    return f"warm-up of {', '.join(title for title, warm in warmed.items() if warm)} alone"


def _crops(recipe: Recipe) -> str:
    photographs = recipe.photographs
    if photographs is None:
        mirrored = " and mirror images" if recipe.augment.flip else ""
        return f"crops from {counted(recipe.augment.pad, 'padded pixel')}{mirrored}"
    mirrored = " and mirror images" if photographs.flip else ""
    if photographs.area is not None:
        (low, high), (narrow, wide) = photographs.area.share, photographs.area.aspect
        shape = f"{100 * low:g} to {100 * high:g} % of its area, {narrow:.2f} to {wide:.2f} times as wide as high"
        return f"random parts of a picture ({shape}) resized to {_side(photographs)}{mirrored}{_colours(photographs)}"
    low, high = photographs.scale
    scale = f"of {low}" if low == high else f"drawn from {low} to {high}"
    of = "" if photographs.progressive is None else f" for a crop of {photographs.contract.crop}"
    where = f"pictures with a shorter side {scale}{of}"
    return f"random crops of {_side(photographs)}{mirrored}, of {where}{_colours(photographs)}"


def _side(photographs: Photographs) -> str:
    first, last = photographs.sides
    if photographs.progressive is None:
        return f"{last}x{last} pixels"
    begin, end = (f"{100 * part:.0f} %" for part in photographs.progressive.between)
    return f"{first}x{first} pixels (growing to {last}x{last} between {begin} and {end} of all steps)"


def _colours(photographs: Photographs) -> str:
    how = photographs.colour
    if how is None:
        return ""
    of = "ImageNet's" if how.published else "other"
    measured = f" (of the pictures with digest {how.measured_on[:DIGITS]})" if how.measured_on else ""
    times = "roots of eigenvalues" if how.scale == "sqrt" else "eigenvalues"
    return f", their colours changed along {of} principal colours{measured} by draws of {how.std:g} times {times}"


def _view(photographs: Photographs | None) -> str:
    if photographs is None:
        return "a single view"
    crop, side = photographs.contract.crop, photographs.contract.shorter_side
    return f"the central {crop}x{crop} pixels of pictures with a shorter side of {side}"


def _averaged(run: FinishedRun) -> str:
    if run.averaged is None:
        return ""
    return (
        "Before that test the means and variances of batch normalisation were recomputed, as the authors did: true"
        f" averages over the groups of the {counted(run.averaged['pictures'], 'training picture')} that would have"
        " come next."
    )


def _start(start: Start) -> str:
    began = f"Training began from trained weights (sha256 {start.weights[:DIGITS]}) with a new classifier;"
    rest = "all other layers learned at the same rate" if start.body_rate == 1 else ""
    rest = rest or f"all other layers learned at {start.body_rate:g} of its rate"
    frozen = f", but {', '.join(start.freeze)} kept what they had" if start.freeze else ""
    return f"{began} {rest}{frozen}."


def _replaced(run: FinishedRun) -> str:
    samples = run.experiment.recipe.steps * run.experiment.recipe.batch
    samples += run.averaged["pictures"] if run.averaged else 0
    return (
        f"{run.called}, seed {run.experiment.seed}: in {run.result['replaced']:,} of"
        f" {counted(samples, 'training sample')} another picture took the place of one that could not be used;"
        " the run's replaced_pictures.json names them."
    )
