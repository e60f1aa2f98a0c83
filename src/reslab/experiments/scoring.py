"""A network, pictures and a testing protocol brought together: scores of every view."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from reslab.core.errors import SpecError
from reslab.core.heap import hand_back
from reslab.core.listening import unheard
from reslab.core.protocol import Protocol
from reslab.data.source import Dataset
from reslab.evaluation.answers import Answering, classified, classified_in_places
from reslab.evaluation.scores import Scores
from reslab.evaluation.views import Allocate, View, ViewScores, Wanted, in_memory, score
from reslab.experiments.feed import Feed, Inputs
from reslab.models.network import ResNet, require_size
from reslab.models.sizes import size_of
from reslab.training.precision import Resolved, autocast

HANDED_BACK: Final = 8  # batches; ours: at five sizes ResNet-50 grew to 5.5 GB with every 64, to 2.2 (bf16) with these


@dataclass(frozen=True, eq=False)
class Tested:
    """One test: the scores of its view groups, and what the protocol makes of them."""

    views: ViewScores
    scores: Scores
    protocol: Protocol


@dataclass(frozen=True)
class Subject:
    """What is tested: a network that returns logits (B, classes), and the form in which it takes pictures."""

    net: nn.Module
    inputs: Inputs


def score_views(
    subject: Subject,
    pictures: Dataset,
    protocol: Protocol,
    feed: Feed,
    precision: Resolved,
    which: range | None = None,
    allocate: Allocate = in_memory,
    heard: Callable[[int, int], None] = unheard,
) -> ViewScores:
    """Scores of every view.

    Args:
        subject: the network.
        pictures: those to test on.
        protocol: which views.
        feed: how they reach it.
        precision: of the forward pass.
        which: places of the pictures; None: all.
        allocate: makes room for the scores.
        heard: told how many views of how many have been scored.

    Raises:
        DataError: the pictures are not of the form that the network was trained on, or one cannot be used.
        SpecError: views are too small for the network, or it cannot be tested this way.
        EvaluationError: a view was not scored exactly once, or a score is not finite.
    """
    chosen = range(len(pictures)) if which is None else which
    answer = _answering(subject.net, protocol)
    views = subject.inputs.views(pictures, protocol, chosen, feed)
    wanted = Wanted(chosen, len(protocol.groups), protocol.views)
    told = _told(views, len(chosen) * wanted.groups * wanted.views, heard)
    if protocol.dense:
        told = _handing_back(told)
    return score(subject.net, answer, told, wanted, autocast(feed.device, precision), allocate)


def _handing_back(views: Iterator[View]) -> Iterator[View]:
    """Maps of many sizes leave gaps in the memory that is kept for what comes next."""
    for number, view in enumerate(views, start=1):
        yield view
        if number % HANDED_BACK == 0:
            hand_back()


def _told(views: Iterator[View], total: int, heard: Callable[[int, int], None]) -> Iterator[View]:
    done = 0
    for view in views:
        yield view
        done += len(view.indices)
        heard(done, total)


def scored(views: ViewScores, pictures: Dataset, protocol: Protocol, meaning: Sequence[int] = ()) -> Tested:
    """What the protocol makes of scores.

    Args:
        views: of all pictures.
        pictures: the data set.
        protocol: what is averaged.
        meaning: the network's class that each class of ``pictures`` is; none: they are the same.
    """
    return Tested(views, views.averaged(protocol.average, truth(pictures, meaning)), protocol)


def truth(pictures: Dataset, meaning: Sequence[int] = ()) -> Tensor:
    """The network's class of each picture, int64 (N,); -1 where nobody has told it."""
    return pictures.labels if not meaning else torch.tensor(meaning)[pictures.labels]


def _answering(net: nn.Module, protocol: Protocol) -> Answering:
    if isinstance(net, ResNet):
        side = protocol.crop if not protocol.dense else min(protocol.shorter_sides)
        require_size(torch.empty(side, side, device="meta"), net.smallest_input)
    if protocol.dense != "classify-then-average":
        return classified(net)
    if not isinstance(net, ResNet):
        raise SpecError(f"dense {protocol.dense!r} is for reslab's networks; others pool before they classify")
    (window, _) = size_of(net, protocol.crop).stages[-2].output
    return classified_in_places(partial(net.score_map, window=window))
