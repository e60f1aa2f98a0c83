"""One update, in groups that share batch statistics; nothing in it waits for the device."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

from reslab.training.precision import Resolved, autocast
from reslab.training.schedule import Progress
from reslab.training.together import Alone
from reslab.training.window import Window


class Batch(NamedTuple):
    """Pictures as the network takes them: ``images`` float32 (B, 3, H, W); ``labels``, ``indices`` int64 (B,)."""

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass
class Training:
    """All that changes while training, and so all that a checkpoint keeps.

    ``forward`` is the network's forward pass, or a compiled form of it; ``together`` joins it with what other processes
    make of the same batches; ``halted`` (float32, a scalar on the device) becomes 1 with the first loss that is not
    finite, and from then on no update changes a weight.
    """

    net: nn.Module
    optimizer: optim.SGD
    window: Window
    step: int = 0
    warm_up_ended: int | None = None
    plateau: Progress = field(default_factory=Progress)
    seconds: float = 0.0  # wall-clock of all sessions together
    together: Alone = field(default_factory=Alone)
    forward: Callable[[Tensor], Tensor] = field(init=False)
    halted: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.forward = self.net
        self.halted = torch.zeros((), device=self.window.losses.device)
        self.optimizer.found_inf = self.halted  # type: ignore[attr-defined]  # torch's name: its fused update heeds it


def train_step(
    training: Training, batch: Batch, group: int, precision: Resolved, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """One update from one batch.

    Args:
        training: changed in place.
        batch: on the network's device.
        group: pictures that share batch statistics.
        precision: of the passes.
        smoothing: the part of each label that is shared by all classes (Szegedy et al. 2015); the loss says it too.

    Returns:
        The batch's mean loss and number of errors, scalars on the device.
    """
    loss, errors = gradients(training, batch, group, precision, smoothing)
    training.halted.copy_(torch.maximum(training.halted, (~loss.isfinite()).float()))
    training.optimizer.step()
    return loss, errors


def gradients(
    training: Training, batch: Batch, group: int, precision: Resolved, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The forward and backward passes of `train_step`; the gradients of the step before are forgotten."""
    training.optimizer.zero_grad(set_to_none=True)
    loss_sum, errors = torch.zeros((), device=batch.labels.device), torch.zeros_like(batch.labels[0])
    passes = list(zip(batch.images.split(group), batch.labels.split(group), strict=True))
    for number, (images, labels) in enumerate(passes, start=1):
        with training.together.passing(last=number == len(passes)):
            with autocast(images.device, precision):
                logits = training.forward(images)
                total = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
                loss = total / training.together.share(len(batch.labels))
            loss.backward()
        loss_sum += loss.detach()
        errors += (logits.detach().argmax(dim=1) != labels).sum()
    return training.together.settle(loss_sum, errors)
