"""A whole update as one CUDA graph: recorded once, replayed with one launch where there were hundreds."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeVar

import torch
from torch import Tensor

from reslab.training.optimizer import MOMENTUM, keep_on_device
from reslab.training.step import Training

REHEARSALS: Final = 3  # torch's advice: libraries choose their methods and workspaces before the recording
Parts = TypeVar("Parts", bound=tuple[Tensor, ...])
Update = Callable[[Parts], tuple[Tensor, Tensor]]


def recorded(training: Training, update: Update[Parts], example: Parts) -> Update[Parts]:
    """``update`` as a graph that reads its batch, its rates and all state from tensors that stay where they are.

    Recording changes nothing: what the rehearsals did is undone, bit for bit. See torch's notes on CUDA graphs.

    Args:
        training: on a CUDA device, at the step from which it goes on.
        update: makes one update; must not wait for the device.
        example: a batch of the shapes and types of all others: a tuple of tensors on the device.
    """
    keep_on_device(training.optimizer)
    held = type(example)(*(part.clone() for part in example))
    before = [tensor.clone() for tensor in _state(training)]
    graph = torch.cuda.CUDAGraph()
    try:
        _rehearse(partial(update, held))
        training.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            loss, errors = update(held)
    finally:
        with torch.no_grad():
            for tensor, value in zip(_state(training), before, strict=True):
                tensor.copy_(value)

    def replay(batch: Parts) -> tuple[Tensor, Tensor]:
        for place, part in zip(held, batch, strict=True):
            place.copy_(part, non_blocking=True)
        graph.replay()
        return loss, errors

    return replay


def _rehearse(update: Callable[[], object]) -> None:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(REHEARSALS):
            update()
    torch.cuda.current_stream().wait_stream(aside)


def _state(training: Training) -> Iterator[Tensor]:
    """Every tensor that an update changes."""
    yield from (*training.net.parameters(), *training.net.buffers())
    yield from (training.optimizer.state[parameter][MOMENTUM] for parameter in _optimised(training))
    yield training.halted


def _optimised(training: Training) -> Iterator[Tensor]:
    for group in training.optimizer.param_groups:
        yield from group["params"]
