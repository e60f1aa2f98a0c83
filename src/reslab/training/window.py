"""Loss and errors of the last batches, kept on the device until somebody asks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reslab.core.experiment import TRAIN_WINDOW
from reslab.core.intervals import Count


@dataclass(frozen=True, slots=True)
class Reading:
    """Means over the window: ``loss`` a picture, ``count`` errors among pictures."""

    loss: float
    count: Count


class Window:
    """The last `TRAIN_WINDOW` batches: one definition of training loss and training error for curves and results."""

    def __init__(self, device: torch.device) -> None:
        self.losses = torch.zeros(TRAIN_WINDOW, dtype=torch.float64, device=device)
        self.errors = torch.zeros(TRAIN_WINDOW, dtype=torch.int64, device=device)

    def put(self, step: int, loss: Tensor, errors: Tensor) -> None:
        """Remember batch number ``step``: its mean loss and its errors, scalars on the device."""
        self.losses[step % TRAIN_WINDOW] = loss
        self.errors[step % TRAIN_WINDOW] = errors

    def read(self, steps: int, batch: int, last: int = TRAIN_WINDOW) -> Reading:
        """Means over the ``last`` of ``steps`` batches of ``batch`` pictures each; waits for the device."""
        kept = min(steps, last, TRAIN_WINDOW)
        slots = [step % TRAIN_WINDOW for step in range(steps - kept, steps)]
        loss = float(self.losses[slots].mean())  # sync
        return Reading(loss, Count(int(self.errors[slots].sum()), kept * batch))

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"losses": self.losses, "errors": self.errors}
