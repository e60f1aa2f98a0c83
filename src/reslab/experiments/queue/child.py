"""One process of a local queue: ``python -m`` this module, its parent's number, and the order on standard input."""

import json
import signal
import sys
from dataclasses import asdict

from reslab.core.heap import keep_freed_memory
from reslab.core.process import end_with
from reslab.experiments.queue.attempt import Noted, attempt, note
from reslab.experiments.queue.task import read_order


def main() -> None:
    """Carry out the order, note how it ended; stop and save when the parent is gone."""
    end_with(int(sys.argv[1]), signal.SIGTERM)
    keep_freed_memory()
    task = read_order(json.load(sys.stdin))
    note(task.notices, {"ended": asdict(attempt(task, Noted(task.notices)))})


if __name__ == "__main__":
    main()
