"""Batch normalisation's statistics recomputed after the last step, and what is remembered of the test before it."""

import time
from collections.abc import Callable

from torch import Tensor

from reslab.core.experiment import Recipe
from reslab.core.intervals import Count
from reslab.core.listening import unheard
from reslab.core.rundir import Record
from reslab.data.source import Dataset
from reslab.evaluation.paired import paired
from reslab.experiments.scoring import Tested
from reslab.experiments.session import Session
from reslab.training.average import FACT, average
from reslab.training.checkpoint import Checkpoint, Parts

BEFORE, RIGHT = "before", "right"  # the part of a checkpoint and its tensor


def pictures_averaged(recipe: Recipe) -> int:
    """Those of ``bn_average``, rounded up to whole batches: a smaller last group would count as much as a whole one."""
    return -(-recipe.bn_average // recipe.batch) * recipe.batch


def recompute(
    session: Session,
    pictures: Dataset,
    seed: int,
    stop: Callable[[], int | None] = unheard,
    averaged: Callable[[int, int], None] = unheard,
) -> int | None:
    """Average batch normalisation's statistics over the pictures that training would have taken next, in fp32.

    They are cropped, mirrored and coloured as in training, and pass in its groups; weights do not change.

    Args:
        session: after its last step.
        pictures: the training set.
        seed: that of the training.
        stop: asked after every batch; a signal leaves the statistics as they were.
        averaged: told how many pictures of how many have passed.

    Returns:
        The signal that stopped it, or None when it is finished.
    """
    recipe, count, begun = session.recipe, pictures_averaged(session.recipe), time.perf_counter()
    longer = recipe.but({"steps": recipe.steps + count // recipe.batch})
    batches = session.inputs.training(pictures, longer, seed, recipe.steps * recipe.batch, session.feed)
    done = 0

    def passed() -> int | None:
        nonlocal done
        done += recipe.batch
        session.tested(done, count)
        averaged(done, count)
        return stop()

    stopped = average(session.net, batches, session.passes, session.training.together, passed)
    session.training.seconds += time.perf_counter() - begun
    return stopped


class Averaging:
    """What a run does once after its last step, if its recipe says so.

    ``right``: which answers were right with the moving averages, bool (N,); None in all processes but the first.
    ``passed``: while it goes on, and where it was stopped, how many pictures of how many have passed.
    """

    def __init__(self, session: Session, pictures: Dataset, seed: int) -> None:
        self.session, self.pictures, self.seed = session, pictures, seed
        self.done = False
        self.right: Tensor | None = None
        self.passed: tuple[int, int] | None = None

    @property
    def due(self) -> bool:
        """Whether it is still to be done."""
        return self.session.recipe.bn_average > 0 and not self.done

    def take_up(self, found: Checkpoint) -> None:
        """Remember what a checkpoint says of it."""
        if FACT in found.facts:
            self.done, self.right = True, found.parts[BEFORE][RIGHT]

    def __call__(
        self, before: Tested | None, stop: Callable[[], int | None], averaged: Callable[[int, int], None]
    ) -> int | None:
        """Recompute; the signal that stopped it, or None when it is finished.

        Args:
            before: the test with the moving averages.
            stop: as for `recompute`.
            averaged: as for `recompute`.
        """

        def told(pictures: int, of: int) -> None:
            self.passed = pictures, of
            averaged(pictures, of)

        stopped = recompute(self.session, self.pictures, self.seed, stop, told)
        if stopped is None:
            self.done, self.passed = True, None
            self.right = None if before is None else before.scores.hits()
        return stopped

    def parts(self) -> Parts:
        """What a checkpoint keeps of it."""
        return {} if self.right is None else {BEFORE: {RIGHT: self.right}}

    def facts(self) -> Record:
        """What a checkpoint, and in more words a result, says of it: over what, and the error before."""
        if self.right is None:
            return {}
        recipe, count = self.session.recipe, _count(self.right)
        pictures = pictures_averaged(recipe)
        return {
            FACT: {
                "pictures": pictures,
                "groups": pictures // recipe.bn_group,
                "error_before": count.error,
                "interval_before": list(count.interval),
                "hits_before": count.hits,
                "n": count.n,
            }
        }

    def result(self, after: Tested) -> Record:
        """The facts, and how the answers of the test ``after`` differ from those before, picture by picture."""
        if self.right is None:
            return {}
        found = paired(self.right.numpy(), after.scores.hits().numpy())
        return {FACT: {**self.facts()[FACT], "paired": found.as_json()}}


def _count(right: Tensor) -> Count:
    return Count(len(right) - int(right.sum()), len(right))
