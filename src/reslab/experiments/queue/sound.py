"""What would go wrong in every run is found before the first begins."""

from collections.abc import Sequence

from reslab.core.files import require_writable
from reslab.core.rundir import RunDirectory
from reslab.data.source import Reading
from reslab.experiments.environment import choose_device
from reslab.experiments.networks import build, weights_generator
from reslab.experiments.notify import Notify
from reslab.experiments.queue.task import Task
from reslab.experiments.ready import source_for
from reslab.experiments.session import begin, feed_for


def require_sound(tasks: Sequence[Task], *, here: bool = True) -> None:
    """Check the data, every run's directory and, on a processor, the first experiment.

    Args:
        tasks: at least one; all of them on the same pictures.
        here: the runs are carried out on this machine, and need its devices.

    Raises:
        ReslabError: as `execute` would.
    """
    experiment, job = tasks[0].experiment, tasks[0].job
    device = choose_device(job.device) if here or job.device not in ("auto", "cuda") else None
    source = source_for(experiment, job.data)
    require_writable(job.out)
    for task in tasks:
        RunDirectory.find(task.job.out, task.experiment)
    train, _ = source.read("train", Reading()), source.read("val", Reading())
    if device is not None and device.type == "cpu":
        net = build(experiment.model, len(train.classes), weights_generator(experiment.seed))
        begin(net, train, experiment.recipe, feed_for(train, device, job.workers, Notify()))
