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


class StopAveraging(Notify):
    """Hears over how many pictures batch statistics have been averaged, and presses Ctrl-C at ``pictures``."""

    def __init__(self, pictures: int | None = None) -> None:
        self.pictures, self.heard = pictures, list[int]()

    def averaged(self, pictures: int, of: int) -> None:  # noqa: ARG002 the total is the same each time
        self.heard.append(pictures)
        if pictures == self.pictures:
            signal.raise_signal(signal.SIGINT)
