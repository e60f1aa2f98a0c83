"""The training loop: a paragraph, read from top to bottom."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from reslab.core.experiment import TRAIN_WINDOW, Recipe
from reslab.core.intervals import Count
from reslab.core.listening import unheard
from reslab.training.guard import Guard
from reslab.training.optimizer import set_rate
from reslab.training.schedule import learning_rate, note_errors, warm_up_ends
from reslab.training.step import Training


class Indexed(Protocol):
    """A batch that says which pictures it is made of."""

    @property
    def indices(self) -> Tensor:
        """Places in the data set, int64 (B,)."""


B = TypeVar("B", bound=Indexed)


@dataclass(frozen=True)
class Watch:
    """What happens beside training. None of it may change a number.

    Args:
        record: takes each line of metrics.
        test: the test error's count, or None where nothing is tested.
        save: keeps a checkpoint.
        save_every: steps between checkpoints.
        stop: the signal that asks for a stop, or None; asked after every step.
        stepped: told the number of every finished step.
    """

    record: Callable[[dict[str, Any]], None] = unheard
    test: Callable[[], Count | None] = unheard
    save: Callable[[Training], None] = unheard
    save_every: int = field(default=500)
    stop: Callable[[], int | None] = unheard
    stepped: Callable[[int], None] = unheard


def fit(
    training: Training, batches: Iterable[B], recipe: Recipe, update: Callable[[B], tuple[Tensor, Tensor]], watch: Watch
) -> int | None:
    """Train until ``recipe.steps`` updates are done or a stop is asked for; the last state is always saved.

    Args:
        training: where to begin; holds the result.
        batches: those that follow the ones already consumed.
        recipe: rates, groups and intervals.
        update: makes one update from one batch: its mean loss and number of errors, scalars on the device.
        watch: recording, testing and saving on the way.

    Returns:
        The signal that stopped it, or None when it is finished.

    Raises:
        TrainingError: the loss is not finite; the update has not been made.
    """
    training.net.train()
    begun, timed, guard = time.perf_counter() - training.seconds, Pace(training.step), Guard(training)
    for batch in batches:
        rate = learning_rate(recipe, training.step, training.warm_up_ended, len(training.plateau.drops))
        set_rate(training.optimizer, rate)
        loss, errors = update(batch)
        training.window.put(training.step, loss, errors)
        training.step += 1
        guard.note(rate, batch.indices)
        watch.stepped(training.step)
        stopped, finished = watch.stop(), training.step == recipe.steps
        tested = due(training.step, recipe.evaluate_every) or finished
        recorded = due(training.step, recipe.log_every) or tested
        saved = due(training.step, watch.save_every) or finished or stopped is not None
        if guard.watchful or recorded or saved or due(training.step, TRAIN_WINDOW):
            guard.check()
        heed_errors(training, recipe)
        training.seconds = time.perf_counter() - begun
        if recorded:
            line = metrics(training, recipe, rate, timed)
            if tested:
                line |= with_test(watch.test())
                training.net.train()
            watch.record(line)
            training.seconds = time.perf_counter() - begun
            timed = Pace(training.step)
        if saved:
            watch.save(training)
        if finished or stopped is not None:
            return stopped if not finished else None
    return None


def due(step: int, every: int) -> bool:
    """Whether something that happens every so many steps happens after ``step``."""
    return step % every == 0


class Pace:
    """Training speed since ``step``."""

    def __init__(self, step: int) -> None:
        self.step, self.begun = step, time.perf_counter()

    def images_per_second(self, step: int, batch: int) -> float:
        """Pictures trained on a second, up to ``step``."""
        return (step - self.step) * batch / (time.perf_counter() - self.begun)


def metrics(training: Training, recipe: Recipe, rate: float, pace: Pace) -> dict[str, Any]:
    """One line of ``metrics.jsonl``: loss and training error are means over the window of ``train_n`` pictures."""
    reading = training.window.read(training.step, recipe.batch)
    return {
        "step": training.step,
        "samples": training.step * recipe.batch,
        "lr": rate,
        "loss": reading.loss,
        "train_error": reading.count.error,
        "train_n": reading.count.n,
        "seconds": round(training.seconds, 3),
        "images_per_second": round(pace.images_per_second(training.step, recipe.batch), 1),
    }


def with_test(count: Count | None) -> dict[str, Any]:
    """What a test on the way, if there was one, adds to a line."""
    return {"test_error": count.error, "test_n": count.n} if count else {}


def heed_errors(training: Training, recipe: Recipe) -> None:
    """What the training error decides about the rate: plateaus and the warm-up's end, from whole windows only."""
    if recipe.schedule.plateau is not None and due(training.step, TRAIN_WINDOW):
        note_errors(recipe, training.plateau, training.step, training.window.read(training.step, recipe.batch).count)
    rule = recipe.schedule.warm_up
    if rule is None or training.warm_up_ended is not None or not due(training.step, rule.window):
        return
    if warm_up_ends(recipe, training.step, training.window.read(training.step, recipe.batch, rule.window).count.error):
        training.warm_up_ended = training.step
