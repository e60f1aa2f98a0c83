"""Trained weights from Python: into a network, or as one."""

from os import PathLike
from pathlib import Path

from reslab.core.errors import DataError
from reslab.experiments.weights import network_of, other_network, read_weights, refusal
from reslab.models.network import ResNet
from reslab.weights.layout import fitted_to

Place = str | PathLike[str]


def pretrained(place: Place) -> ResNet:
    """The network whose trained weights are at ``place``, with them in it, in evaluation mode.

    Args:
        place: a run, whose newest whole checkpoint is taken; or weights that ``reslab weights import`` made.

    Raises:
        DataError: there are none, they are damaged, or they do not say what they are of.
        RunError: the folder is no run.
        CheckpointError: every checkpoint is damaged.
    """
    return network_of(read_weights(Path(place))).eval()


def load_weights(net: ResNet, place: Place, *, force: bool = False) -> ResNet:
    """Put trained weights into ``net``; refused where they are of another network, although names and shapes agree.

    Args:
        net: changed in place, and returned.
        place: as for `pretrained`; also a safetensors file with torchvision's names, which says nothing of its network.
        force: load them although they say that they are of another network.

    Raises:
        DataError: there are none, they are damaged, of another network (one line that names both), or of other shapes.
        RunError: the folder is no run.
        CheckpointError: every checkpoint is damaged.
    """
    weights = read_weights(Path(place))
    theirs, ours = weights.architecture, net.architecture
    if theirs is not None and ours is not None and theirs != ours and not force:
        raise DataError(refusal(weights, [other_network(theirs, ours)]))
    assert weights.tensors is not None
    name = "this network" if ours is None else ours.name
    net.load_state_dict(fitted_to(net.state_dict(), weights.tensors, place, name))
    return net
