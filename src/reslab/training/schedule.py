"""The learning rate: a pure function of the step, of the warm-up's end and of plateaus."""

import math
from dataclasses import dataclass, field

from reslab.core.experiment import Recipe
from reslab.core.intervals import Count


@dataclass
class Progress:
    """What a rule about plateaus has seen: a part of every checkpoint.

    Args:
        drops: the steps after which the rate was divided.
        best: the lowest error of a whole window, in percent; None: there was no whole window yet.
        stale: whole windows since.
        errors: of the window that has begun.
        n: its pictures.
    """

    drops: list[int] = field(default_factory=list)
    best: float | None = None
    stale: int = 0
    errors: int = 0
    n: int = 0


def learning_rate(recipe: Recipe, step: int, warm_up_ended: int | None, plateaus: int = 0) -> float:
    """The rate of the update that follows ``step`` updates (section 4.2).

    Args:
        recipe: base rate and schedule.
        step: updates done so far.
        warm_up_ended: the step at which the warm-up ended; None: not yet, or there is none.
        plateaus: how often the rate was divided because the error had not fallen.
    """
    schedule, ramp = recipe.schedule, round(recipe.schedule.ramp * recipe.steps)
    drops = sum(step >= drop for drop in recipe.drop_steps()) + plateaus
    rate = recipe.optim.lr / schedule.divide_by**drops
    if step < ramp:
        rate *= (step + 1) / ramp
    elif schedule.cosine:
        rate *= (1 + math.cos(math.pi * (step - ramp) / (recipe.steps - ramp))) / 2
    warming = schedule.warm_up is not None and warm_up_ended is None
    return min(schedule.warm_up.lr, rate) if warming and schedule.warm_up else rate


def note_errors(recipe: Recipe, progress: Progress, step: int, count: Count) -> None:
    """Where the recipe heeds plateaus: add ``count`` to the present window, and decide where that ends.

    Args:
        recipe: its ``schedule.plateau``, if any.
        progress: changed in place.
        step: updates done so far.
        count: training errors since the last call, a part of one window.
    """
    rule = recipe.schedule.plateau
    if rule is None:
        return
    progress.errors, progress.n = progress.errors + count.errors, progress.n + count.n
    if step % rule.window:
        return
    error = Count(progress.errors, progress.n).error
    progress.errors = progress.n = 0
    if progress.best is None or error <= progress.best - rule.by:
        progress.best, progress.stale = error, 0
        return
    progress.stale += 1
    if progress.stale >= rule.patience and len(progress.drops) < rule.most:
        progress.drops.append(step)
        progress.stale = 0


def warm_up_ends(recipe: Recipe, step: int, window_error: float) -> bool:
    """Whether the warm-up ends after ``step`` updates: the error of a whole window fell below the threshold.

    Args:
        recipe: its ``schedule.warm_up``, if any.
        step: updates done so far; only multiples of the window decide.
        window_error: training error in percent over the last ``window`` batches.
    """
    rule = recipe.schedule.warm_up
    return rule is not None and step % rule.window == 0 and window_error < rule.until_error
