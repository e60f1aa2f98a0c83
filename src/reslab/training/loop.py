"""The training loop: a paragraph, read from top to bottom."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from reslab.core.errors import TrainingError
from reslab.core.experiment import Recipe
from reslab.core.intervals import Count
from reslab.core.listening import unheard
from reslab.training.optimizer import set_rate
from reslab.training.precision import Resolved, autocast
from reslab.training.schedule import learning_rate, warm_up_ends
from reslab.training.window import Window


class Batch(NamedTuple):
    """Pictures as the network takes them: ``images`` float32 (B, 3, H, W); ``labels``, ``indices`` int64 (B,)."""

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass
class Training:
    """All that changes while training, and so all that a checkpoint keeps."""

    net: nn.Module
    optimizer: optim.SGD
    window: Window
    step: int = 0
    warm_up_ended: int | None = None
    seconds: float = 0.0  # wall-clock of all sessions together


@dataclass(frozen=True)
class Watch:
    """What happens beside training. None of it may change a number.

    Args:
        record: takes each line of metrics.
        test: the test error's count, or None where nothing is tested on the way.
        save: keeps a checkpoint.
        save_every: steps between checkpoints.
        stop: the signal that asks for a stop, or None; asked after every step.
        stepped: told the number of every finished step.
    """

    record: Callable[[dict[str, Any]], None] = unheard
    test: Callable[[], Count] | None = None
    save: Callable[[Training], None] = unheard
    save_every: int = field(default=500)
    stop: Callable[[], int | None] = unheard
    stepped: Callable[[int], None] = unheard


def fit(training: Training, batches: Iterable[Batch], recipe: Recipe, precision: Resolved, watch: Watch) -> int | None:
    """Train until ``recipe.steps`` updates are done or a stop is asked for; the last state is always saved.

    Args:
        training: where to begin; holds the result.
        batches: those that follow the ones already consumed.
        recipe: rates, groups and intervals.
        precision: of forward and backward passes.
        watch: recording, testing and saving on the way.

    Returns:
        The signal that stopped it, or None when it is finished.

    Raises:
        TrainingError: the loss is not finite; the update has not been made.
    """
    training.net.train()
    begun, timed = time.perf_counter() - training.seconds, Pace(training.step)
    for batch in batches:
        rate = learning_rate(recipe, training.step, training.warm_up_ended)
        set_rate(training.optimizer, rate)
        loss, errors = train_step(training, batch, recipe.bn_group, precision)
        training.window.put(training.step, loss, errors)
        training.step += 1
        watch.stepped(training.step)
        end_warm_up(training, recipe)
        stopped, finished = watch.stop(), training.step == recipe.steps
        training.seconds = time.perf_counter() - begun
        if due(training.step, recipe.log_every) or due(training.step, recipe.evaluate_every) or finished:
            line = metrics(training, recipe, rate, timed)
            if watch.test and (due(training.step, recipe.evaluate_every) or finished):
                line |= with_test(watch.test())
                training.net.train()
            watch.record(line)
            training.seconds = time.perf_counter() - begun
            timed = Pace(training.step)
        if due(training.step, watch.save_every) or finished or stopped is not None:
            watch.save(training)
        if finished or stopped is not None:
            return stopped if not finished else None
    return None


def train_step(training: Training, batch: Batch, group: int, precision: Resolved) -> tuple[Tensor, Tensor]:
    """One update from one batch, in groups that share batch statistics.

    Returns:
        The batch's mean loss and number of errors, scalars on the device.
    """
    training.optimizer.zero_grad(set_to_none=True)
    loss_sum, errors = torch.zeros((), device=batch.labels.device), torch.zeros_like(batch.labels[0])
    for images, labels, indices in zip(*(part.split(group) for part in batch), strict=True):
        with autocast(images.device, precision):
            logits = training.net(images)
            loss = F.cross_entropy(logits, labels, reduction="sum") / len(batch.labels)
        if not math.isfinite(loss.item()):  # sync: no update may follow a number that is none
            _refuse(training, loss, indices)
        loss.backward()
        loss_sum += loss.detach()
        errors += (logits.detach().argmax(dim=1) != labels).sum()
    training.optimizer.step()
    return loss_sum, errors


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


def with_test(count: Count) -> dict[str, Any]:
    """What a test on the way adds to a line."""
    return {"test_error": count.error, "test_n": count.n}


def end_warm_up(training: Training, recipe: Recipe) -> None:
    """Note the warm-up's end, from the errors of whole windows only."""
    rule = recipe.schedule.warm_up
    if rule is None or training.warm_up_ended is not None or not due(training.step, rule.window):
        return
    if warm_up_ends(recipe, training.step, training.window.read(training.step, recipe.batch, rule.window).count.error):
        training.warm_up_ended = training.step


def _refuse(training: Training, loss: Tensor, indices: Tensor) -> None:
    rate = training.optimizer.param_groups[0]["lr"]
    shown = ", ".join(str(index) for index in indices[:8].tolist())
    more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
    raise TrainingError(
        f"the loss is {loss.item()} at step {training.step + 1}, rate {rate:g}, samples {shown}{more};"
        " no update was made; a lower --optim.lr or a warm-up may help"
    )
