"""No update may follow a loss that is no number: the device withholds it, and this says which batch it was."""

from collections import deque
from typing import Final

from torch import Tensor

from reslab.core.errors import TrainingError
from reslab.core.experiment import TRAIN_WINDOW
from reslab.training.step import Training

NAMED: Final = 8  # samples of the batch
WATCHFUL: Final = frozenset({"cpu"})  # kinds of devices that nobody has to wait for


class Guard:
    """Looks after each step where that costs nothing (``watchful``), else at least once a window of batches."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.watchful = training.halted.device.type in WATCHFUL
        self.recent: deque[tuple[int, float, Tensor]] = deque(maxlen=TRAIN_WINDOW)

    def note(self, rate: float, indices: Tensor) -> None:
        """Remember a step that was just made: its rate and its samples."""
        self.recent.append((self.training.step, rate, indices))

    def check(self) -> None:
        """Wait for the device and look.

        Raises:
            TrainingError: a loss was not finite; the line names step, rate and samples. The training is put back to
                the step before it, whose weights it still has.
        """
        if not self.training.halted.item():  # sync
            return
        losses = self.training.window.losses
        step, rate, indices = next(one for one in self.recent if not losses[(one[0] - 1) % TRAIN_WINDOW].isfinite())
        self.training.step = step - 1
        shown = ", ".join(str(index) for index in indices[:NAMED].tolist())
        more = f" and {len(indices) - NAMED} more" if len(indices) > NAMED else ""
        raise TrainingError(
            f"the loss is {losses[(step - 1) % TRAIN_WINDOW].item()} at step {step}, rate {rate:g}, samples {shown}"
            f"{more}; no update was made; a lower --optim.lr or a warm-up may help"
        )
