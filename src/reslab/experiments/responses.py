"""A finished run's layer responses, kept beside its result for Figure 7."""

from typing import Final

from reslab.analysis.responses import responses
from reslab.core.errors import DataError
from reslab.core.listening import unheard
from reslab.core.protocol import find_protocol
from reslab.core.rundir import RunDirectory
from reslab.data.source import find_data
from reslab.experiments.environment import choose_device
from reslab.experiments.feed import Feed
from reslab.experiments.testing import trained
from reslab.experiments.weights import read_weights

RESPONSES: Final = "responses.json"


def keep_responses(run: RunDirectory, data: str, device: str) -> None:
    """Measure the responses of ``run``'s network on its test pictures (Figure 7), unless that was done.

    Args:
        run: a finished run with its last checkpoint.
        data: what ``--data`` says.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DataError: there are no such pictures, or they are not those that the run was tested on.
        CheckpointError: the network of the last step is not there any more.
        StorageError: they could not be written.
    """
    if (run.path / RESPONSES).exists():
        return
    home = choose_device(device)
    network = trained(read_weights(run.path, unheard), home)
    pictures, noted = find_data(data).read("val"), (run.environment() or {}).get("data")
    if not isinstance(noted, dict) or noted.get("val") != pictures.digest:
        raise DataError(f"{data} holds other test pictures than those that {run.path} was tested on")
    usual = find_protocol(None, network.inputs.native)
    views = network.inputs.views(pictures, usual, range(len(pictures)), Feed(home))
    found = responses(network.net, (view.images for view in views))
    kept = {
        "pictures": len(pictures),
        "part": "val",
        "statistics": "running",
        "step": network.step,
        "layers": [{"name": one.layer, "std": one.std} for one in found],
    }
    run.write(RESPONSES, kept)
