"""Which classes a network takes for which: integers counted from labels and answers."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reslab.core.intervals import Count

MOST_PAIRS: Final = 20

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """``count`` pictures of class ``label`` that were taken for class ``answer``; as errors among its pictures."""

    label: int
    answer: int
    count: Count


def confusion(labels: Labels, answers: Labels, classes: int) -> NDArray[np.int64]:
    """How many pictures of each class got each answer.

    Args:
        labels: true classes (N,), from 0 to ``classes`` - 1.
        answers: the most probable classes (N,).
        classes: how many there are.

    Returns:
        Counts (classes, classes): rows are true classes, columns answers.
    """
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def row_shares(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each row in percent of its sum; a class without pictures has zeros."""
    shares: NDArray[np.float64] = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def most_confused(labels: Labels, answers: Labels, classes: int, most: int = MOST_PAIRS) -> list[Pair]:
    """The pairs with the most pictures, those of smaller classes first among equals, then in the order of labels.

    Only pairs that occur take memory, so that any number of classes will do.
    """
    wrong = labels != answers
    codes, counts = np.unique(labels[wrong] * classes + answers[wrong], return_counts=True)
    totals = np.bincount(labels, minlength=classes)[codes // classes]
    order = np.lexsort((codes, totals, -counts))[:most]
    return [
        Pair(int(codes[i] // classes), int(codes[i] % classes), Count(int(counts[i]), int(totals[i]))) for i in order
    ]
