"""Testing: every view of every picture scored exactly once, and means over the views of each group."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reslab.core.errors import EvaluationError
from reslab.core.protocol import Average
from reslab.core.units import counted
from reslab.evaluation.answers import Answering
from reslab.evaluation.scores import Scores

Floats = NDArray[np.float32]
ROWS: Final = 1_000  # pictures averaged together: of 1,000 classes and 5 groups, 20 MB


class View(NamedTuple):
    """A view of some pictures as the network takes it: ``images`` float32 (B, 3, H, W); ``indices`` int64 (B,)."""

    images: Tensor
    indices: Tensor
    group: int = 0


class Allocate(Protocol):
    """Makes room for an array of float32: in memory, or in a file."""

    def __call__(self, name: str, shape: tuple[int, ...], /) -> Floats:
        """Zeros of ``shape``; ``name`` is the array's."""


def in_memory(_name: str, shape: tuple[int, ...]) -> Floats:
    """Room in memory."""
    return np.zeros(shape, np.float32)


@dataclass(frozen=True)
class Wanted:
    """What a test must see: the pictures ``which``, and of each so many ``views`` in each of ``groups`` groups."""

    which: range
    groups: int = 1
    views: int = 1


@dataclass(frozen=True, eq=False)
class ViewScores:
    """Means over the views of each group.

    Args:
        logits: float32 (N, groups, classes).
        probabilities: of softmax outputs, float32 (N, groups, classes).
    """

    logits: Floats
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.logits)

    def averaged(self, average: Average, labels: Tensor, groups: Sequence[int] | None = None) -> Scores:
        """`mean` as probabilities, with ``labels`` int64 (N,)."""
        return as_scores(self.mean(average, groups), average, labels)

    def mean(self, average: Average, groups: Sequence[int] | None = None) -> Floats:
        """The mean over ``groups``, all by default, float32 (N, classes).

        Args:
            average: of what.
            groups: places of the groups among all.
        """
        source = self.probabilities if average == "probabilities" else self.logits
        chosen = range(source.shape[1]) if groups is None else groups
        mean = np.zeros((len(source), source.shape[2]), np.float32)
        for start in range(0, len(source), ROWS):
            rows = slice(start, start + ROWS)
            for group in chosen:
                mean[rows] += source[rows, group]
            mean[rows] /= np.float32(len(chosen))
        return mean


def as_scores(mean: Floats, average: Average, labels: Tensor) -> Scores:
    """A mean, float32 (N, classes), as scores: of averaged logits the softmax; ``labels`` int64 (N,)."""
    tensor = torch.from_numpy(mean)
    return Scores(tensor.softmax(dim=1) if average == "logits" else tensor, labels)


def score(
    net: nn.Module,
    answer: Answering,
    views: Iterable[View],
    wanted: Wanted,
    context: torch.autocast,
    allocate: Allocate = in_memory,
) -> ViewScores:
    """Test ``net``, in evaluation mode.

    Args:
        net: the network.
        answer: its answers to images.
        views: together every view that is wanted exactly once, in any order.
        wanted: the pictures, and how many views of each.
        context: the precision of the forward pass.
        allocate: makes room for the scores of all ``wanted`` pictures.

    Raises:
        EvaluationError: a view came twice or never, or a score is not finite.
    """
    net.eval()
    seen = np.zeros((len(wanted.which), wanted.groups), np.int64)
    found: ViewScores | None = None
    with torch.inference_mode(), context:
        for view in views:
            logits, probabilities = answer(view.images)
            if found is None:
                shape = (len(wanted.which), wanted.groups, logits.shape[1])
                found = ViewScores(allocate("logits", shape), allocate("probabilities", shape))
            rows = view.indices.numpy() - wanted.which.start
            _require_known(rows, view.group, wanted)
            seen[rows, view.group] += 1
            for array, scores in ((found.logits, logits), (found.probabilities, probabilities)):
                array[rows, view.group] += _finite(scores.cpu().numpy(), view.indices)
    _require_complete(seen, wanted)
    if found is None:
        return ViewScores(*(allocate(name, (0, wanted.groups, 0)) for name in ("logits", "probabilities")))
    if wanted.views > 1:
        _divide(found, wanted.views)
    return found


def _require_known(rows: NDArray[np.int64], group: int, wanted: Wanted) -> None:
    if ((rows < 0) | (rows >= len(wanted.which))).any() or len(np.unique(rows)) < len(rows):
        raise EvaluationError(f"a batch of views is not of different pictures among {len(wanted.which)}")
    if not 0 <= group < wanted.groups:
        raise EvaluationError(f"a batch of views is of group {group} among {wanted.groups}")


def _require_complete(seen: NDArray[np.int64], wanted: Wanted) -> None:
    if (seen != wanted.views).any():
        whole = int((seen == wanted.views).all(axis=1).sum())
        raise EvaluationError(
            f"{counted(int(seen.sum()), 'view')} of {counted(int(seen.any(axis=1).sum()), 'different picture')},"
            f" {whole} of them as often as they should be; each of {counted(len(wanted.which), 'picture')} has"
            f" {counted(wanted.groups * wanted.views, 'view')}"
        )


def _finite(scores: Floats, indices: Tensor) -> Floats:
    wrong = ~np.isfinite(scores).all(axis=1)
    if wrong.any():
        raise EvaluationError(
            f"the network's scores are not finite, those of picture {int(indices[wrong.argmax()]):,} first"
        )
    return scores


def _divide(found: ViewScores, views: int) -> None:
    for array in (found.logits, found.probabilities):
        for start in range(0, len(array), ROWS):
            rows = array[start : start + ROWS]
            rows /= np.float32(views)
