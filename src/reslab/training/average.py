"""Batch normalisation's statistics as a true average over training pictures, when the weights are final."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from reslab.core.listening import unheard
from reslab.training.step import Batch
from reslab.training.together import Alone

Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
STATISTICS: Final = ("running_mean", "running_var")
TRACKED: Final = "num_batches_tracked"
FACT: Final = "bn_average"  # of a checkpoint and of a result: that it was done, and what was before


def learning(net: nn.Module) -> list[Norm]:
    """The batch normalisation whose statistics training changes; ``net`` in training mode, its frozen parts aside."""
    return [
        module
        for module in net.modules()
        if isinstance(module, Norm) and module.training and module.track_running_stats
    ]


@torch.no_grad()
def average(
    net: nn.Module,
    batches: Iterable[Batch],
    group: int,
    together: Alone,
    stop: Callable[[], int | None] = unheard,
) -> int | None:
    """Set running means and variances to arithmetic means over the groups of ``batches``; nothing else changes.

    The authors do it "over a sufficiently large training batch" (their repository). A group's mean and unbiased
    variance are those that torch computes in fp32; they are added up in float64, which costs nothing beside the pass
    through the network and leaves no trace of the order in which groups came, or of who saw them.

    Args:
        net: its frozen parts keep their statistics.
        batches: at least one; of each this process's part.
        group: pictures of each pass.
        together: joins it with what other processes see.
        stop: asked after every batch; a signal leaves the statistics as they were.

    Returns:
        The signal that stopped it, or None when it is finished.
    """
    norms = learning(net.train())
    with _last_group_alone(norms):
        sums, groups = torch.zeros_like(_statistics(norms)), 0
        for batch in batches:
            for images in batch.images.split(group):
                net(images)
                sums += _statistics(norms)
                groups += 1
            if (stopped := stop()) is not None:
                return stopped
    sums, groups = together.over_all(sums, groups)
    _set(norms, sums / groups)
    for norm in norms:
        norm.get_buffer(TRACKED).fill_(groups)
    return None


@contextlib.contextmanager
def _last_group_alone(norms: Sequence[Norm]) -> Iterator[None]:
    """Let running statistics be those of the last group that passed, and be what they were in the end."""
    names = (*STATISTICS, TRACKED)
    before = [(norm.momentum, {name: norm.get_buffer(name).clone() for name in names}) for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    try:
        yield
    finally:
        for norm, (momentum, buffers) in zip(norms, before, strict=True):
            norm.momentum = momentum
            for name, value in buffers.items():
                norm.get_buffer(name).copy_(value)


def _places(norms: Sequence[Norm]) -> list[Tensor]:
    return [norm.get_buffer(name) for norm in norms for name in STATISTICS]


def _statistics(norms: Sequence[Norm]) -> Tensor:
    return torch.cat(_places(norms)).double()


def _set(norms: Sequence[Norm], statistics: Tensor) -> None:
    places = _places(norms)
    for place, values in zip(places, statistics.split([len(place) for place in places]), strict=True):
        place.copy_(values)
