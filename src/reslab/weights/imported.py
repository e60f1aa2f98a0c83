"""What an importer brings home."""

from dataclasses import dataclass

from torch import Tensor

from reslab.core.contract import Contract
from reslab.models.architecture import Architecture
from reslab.transforms.cifar import CifarForm


@dataclass(frozen=True, eq=False)
class Imported:
    """Another library's weights in our layout.

    Args:
        architecture: the network that they are of.
        tensors: all that it takes, by torchvision's names, float32.
        form: how that library prepares pictures.
        classes: their names, where the file or the kind of file says them.
        notes: what a user should know.
    """

    architecture: Architecture
    tensors: dict[str, Tensor]
    form: Contract | CifarForm
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
