"""A device whose memory runs out: what was asked for, and what would fit, found by trying."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

from reslab.core.errors import TrainingError, ran_out
from reslab.core.heap import hand_back
from reslab.experiments.session import Session
from reslab.models.network import ResNet
from reslab.training.optimizer import MOMENTUM
from reslab.training.step import Batch, gradients

LEAST: Final = 2  # pictures a group: the statistics of one may be none


@contextmanager
def within_memory(session: Session, title: str) -> Iterator[None]:
    """Around training: where memory runs out, one line says what would fit.

    What fits is found by passing smaller groups forward and backward; neither weights nor batch statistics change.

    Args:
        session: what is trained.
        title: of its network, as people write it.

    Raises:
        TrainingError: in the place of the device's own error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
        raise TrainingError(advice(session, title)) from None


def advice(session: Session, title: str) -> str:
    """One line: that ``session`` does not fit, and what would."""
    group, device = session.recipe.bn_group, session.feed.device
    asked = f"{title} in groups of {group}, batch {session.recipe.batch}, "
    if fits(session, group):
        return (
            f"the memory of {device} ran out, although {asked}fits alone: it is needed for more than training,"
            " or another program holds it"
        )
    return f"{asked}does not fit into the memory of {device}: {_what_would(session, group)}"


def _what_would(session: Session, group: int) -> str:
    again = can_recompute(session)
    if again and fits(session, group, recompute=True):
        first = "--activation-checkpointing would (it changes no number)"
        smaller = _largest(session, group)
        return f"{first}, or reslab train --bn-group {smaller}" if smaller else first
    if smaller := _largest(session, group):
        return f"reslab train --bn-group {smaller} would"
    if again and (smaller := _largest(session, group, recompute=True)):
        return f"reslab train --activation-checkpointing --bn-group {smaller} would"
    return f"nor does any smaller group, down to {LEAST} pictures"


def can_recompute(session: Session) -> bool:
    """Whether activation checkpointing is there to be had: not on yet, and not left to torch.compile."""
    net = session.net
    if not isinstance(net, ResNet) or session.training.forward is not net:
        return False
    return not any(stage.activation_checkpointing for stage in net.stages().values())


def _largest(session: Session, group: int, *, recompute: bool = False) -> int | None:
    """The largest of the smaller groups that fits, each at most half the one before and a divisor of it."""
    while (group := max((size for size in range(LEAST, group // 2 + 1) if group % size == 0), default=0)) >= LEAST:
        if fits(session, group, recompute=recompute):
            return group
    return None


def fits(session: Session, group: int, *, recompute: bool = False) -> bool:
    """Whether a step in groups of ``group`` pictures fits into the device's memory; nothing is changed by trying.

    Args:
        session: what is trained.
        group: pictures that pass together.
        recompute: with activation checkpointing.
    """
    net, before = session.net, [buffer.clone() for buffer in session.net.buffers()]
    _release(session)
    if recompute and isinstance(net, ResNet):
        net.checkpoint_activations()
    try:
        _try(session, group)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)
        return False
    finally:
        if recompute and isinstance(net, ResNet):
            net.checkpoint_activations(on=False)
        with torch.no_grad():
            for buffer, value in zip(net.buffers(), before, strict=True):
                buffer.copy_(value)
        _release(session)
    return True


def _try(session: Session, group: int) -> list[Tensor]:
    """Forward and backward of two groups, the second beside the gradients of the first, with room for the momentum."""
    recipe, device, side = session.recipe, session.feed.device, session.inputs.sides[1]
    room = _room_for_momentum(session)
    images = torch.zeros(recipe.batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(recipe.batch, dtype=torch.int64, device=device)
    session.net.train()
    gradients(
        session.training, Batch(*(part[: 2 * group] for part in (images, labels, labels))), group, session.precision
    )
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return room


def _room_for_momentum(session: Session) -> list[Tensor]:
    """As much memory as the momentum will take that is not there yet."""
    optimizer = session.training.optimizer
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [torch.zeros_like(one) for one in parameters if optimizer.state.get(one, {}).get(MOMENTUM) is None]


def _release(session: Session) -> None:
    """Give back gradients, and what is kept for later."""
    session.net.zero_grad(set_to_none=True)
    release_memory(session.feed.device)


def release_memory(device: torch.device) -> None:
    """Give back what is kept of the device's memory for later."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    else:
        hand_back()
