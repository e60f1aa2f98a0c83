"""From a network's output to one answer a view: logits and probabilities."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Answer(NamedTuple):
    """``logits`` and ``probabilities``, float32 (B, classes)."""

    logits: Tensor
    probabilities: Tensor


Forward = Callable[[Tensor], Tensor]
Answering = Callable[[Tensor], Answer]


def classified(forward: Forward) -> Answering:
    """Answers of a network that returns logits (B, classes): at any size it pools the whole map, then classifies."""

    def answer(images: Tensor) -> Answer:
        logits = forward(images).float()
        return Answer(logits, logits.softmax(dim=1))

    return answer


def classified_in_places(score_map: Forward) -> Answering:
    """Answers of a network that returns logits of every place (B, classes, h, w): each is classified, then averaged.

    The mean of the places' logits and the mean of their softmax outputs (VGG's form of dense testing).
    """

    def answer(images: Tensor) -> Answer:
        places = score_map(images).float()
        return Answer(places.mean(dim=(2, 3)), places.softmax(dim=1).mean(dim=(2, 3)))

    return answer
