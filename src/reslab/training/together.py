"""One training by several processes: gradients, losses and running statistics of whole batches, whoever made them."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from reslab.training.across import across
from reslab.training.split import Split, split

_KNOWN: Final = inspect.signature(DistributedDataParallel).parameters
_SETTLED: Final[dict[str, Any]] = {  # buffers are ours to settle; torch names their exchange anew from 2.13 on
    "forward_sync_buffers" if "forward_sync_buffers" in _KNOWN else "broadcast_buffers": False
}


class Alone:
    """All of each batch is this process's."""

    part: Split | None = None

    def share(self, pictures: int) -> float:
        """What a sum over ``pictures`` is divided by, so that gradients are those of the mean over the whole batch."""
        return pictures

    @contextlib.contextmanager
    def passing(self, *, last: bool) -> Iterator[None]:  # noqa: ARG002 of no matter here
        """Around each forward and backward pass of a batch."""
        yield

    def settle(self, loss: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """After the last pass: loss and errors of the whole batch from this process's shares of them."""
        return loss, errors

    def over_all(self, sums: Tensor, groups: int) -> tuple[Tensor, int]:
        """What is known of all groups, from ``sums`` over those ``groups`` that this process takes part in."""
        return sums, groups


class Together(Alone):
    """A part of each batch is this process's, and the rest that of others, in torch's default process group.

    Gradients are added up by `DistributedDataParallel`, once a step. Running statistics become those that one process
    would have, which passes the groups of a batch one after the other: a moving average is linear in what it sees.

    Args:
        net: on its device, equal in all processes. Where a group is shared its batch normalisation is exchanged for
            one over those processes.
        batch: pictures of a whole batch.
        group: pictures that share batch statistics.

    Raises:
        SpecError: there are more processes than pictures.
    """

    part: Split

    def __init__(self, net: nn.Module, batch: int, group: int) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.batch, self.groups = batch, batch // group
        self.part = split(batch, group, self.rank, self.size)
        if self.size > self.groups:
            across(net, _shared_group(batch, group, self.rank, self.size))
        self.norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        self.kept = 1 - _momentum(self.norms)
        place = next(net.parameters()).device
        devices = [place] if place.type == "cuda" else None
        self.passed = DistributedDataParallel(net, devices, **_SETTLED)
        self.before: Tensor | None = None

    @property
    def forward(self) -> Callable[[Tensor], Tensor]:
        """The network's forward pass; the gradients of what it gives are added up."""
        return self.passed

    def share(self, pictures: int) -> float:  # noqa: ARG002 it is of the whole batch
        """DDP divides by the number of processes itself."""
        return self.batch / self.size

    @contextlib.contextmanager
    def passing(self, *, last: bool) -> Iterator[None]:
        """Gradients travel with the last pass of a step alone."""
        if self.before is None:
            self.before = self._statistics()
        with contextlib.nullcontext() if last else self.passed.no_sync():
            yield

    @torch.no_grad()
    def settle(self, loss: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """After the last pass: loss and errors of the whole batch, and its running statistics; one sum for all."""
        assert self.before is not None
        own, part = self._statistics(), self.part
        later = self.groups - part.first_group - part.groups
        seen = (own - self.kept**part.groups * self.before) * self.kept**later
        tells = self.rank == part.members[0]  # of those that share a group one says what it saw
        total = torch.cat([seen * tells, torch.stack([loss.float() / self.size, errors.float()])])
        distributed.all_reduce(total)
        self._set(self.kept**self.groups * self.before + total[:-2])
        self.before = None
        return total[-2], total[-1].to(errors.dtype)

    def over_all(self, sums: Tensor, groups: int) -> tuple[Tensor, int]:
        """Of those that share a group one says what it saw."""
        total = torch.cat([sums, sums.new_tensor([groups])]) * (self.rank == self.part.members[0])
        distributed.all_reduce(total)
        return total[:-1], int(total[-1])

    def _learning(self) -> list[nn.BatchNorm2d]:
        """Frozen ones learn nothing."""
        return [norm for norm in self.norms if norm.training]

    def _places(self) -> list[Tensor]:
        names = ("running_mean", "running_var")
        return [norm.get_buffer(name) for norm in self._learning() for name in names]

    def _statistics(self) -> Tensor:
        return torch.cat(self._places())

    def _set(self, statistics: Tensor) -> None:
        places = self._places()
        for place, values in zip(places, statistics.split([len(place) for place in places]), strict=True):
            place.copy_(values)
        for norm in self._learning():
            norm.get_buffer("num_batches_tracked").add_(self.groups - self.part.groups)


def _momentum(norms: Sequence[nn.BatchNorm2d]) -> float:
    (one,) = {norm.momentum for norm in norms}
    assert one is not None
    return one


def _shared_group(batch: int, group: int, rank: int, size: int) -> distributed.ProcessGroup:
    """The processes that make a group of pictures together with ``rank``; every process makes all such groups."""
    members = dict.fromkeys(split(batch, group, other, size).members for other in range(size))
    made: dict[tuple[int, ...], distributed.ProcessGroup] = {}
    for ranks in members:
        made[ranks] = distributed.new_group(list(ranks))
    return made[split(batch, group, rank, size).members]
