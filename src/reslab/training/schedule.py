"""The learning rate: a pure function of the step and of the warm-up's end."""

from reslab.core.experiment import Recipe


def learning_rate(recipe: Recipe, step: int, warm_up_ended: int | None) -> float:
    """The rate of the update that follows ``step`` updates (section 4.2).

    Args:
        recipe: base rate, drops and warm-up.
        step: updates done so far.
        warm_up_ended: the step at which the warm-up ended; None: not yet, or there is none.
    """
    schedule = recipe.schedule
    drops = sum(step >= drop for drop in recipe.drop_steps())
    rate = recipe.optim.lr / schedule.divide_by**drops
    warming = schedule.warm_up is not None and warm_up_ended is None
    return min(schedule.warm_up.lr, rate) if warming and schedule.warm_up else rate


def warm_up_ends(recipe: Recipe, step: int, window_error: float) -> bool:
    """Whether the warm-up ends after ``step`` updates: the error of a whole window fell below the threshold.

    Args:
        recipe: its ``schedule.warm_up``, if any.
        step: updates done so far; only multiples of the window decide.
        window_error: training error in percent over the last ``window`` batches.
    """
    rule = recipe.schedule.warm_up
    return rule is not None and step % rule.window == 0 and window_error < rule.until_error
