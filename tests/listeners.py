"""What tests listen to runs with."""

import signal

from reslab.experiments.notify import Notify


class StopAt(Notify):
    """Presses Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, step: int) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGINT)
