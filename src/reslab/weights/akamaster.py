"""akamaster/pytorch_resnet_cifar10: the best-known CIFAR networks that follow section 4.2, options A and B.

Their option A puts half of the new zero channels before the real ones and half behind; ours puts all behind. One is the
other with channels in another order, so weights are mapped exactly by permuting what writes to and reads from the
shortcuts.
"""

import re
from typing import Final

import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.core.units import counted
from reslab.models.architecture import Architecture, Kind, blocks_a_stage, cifar
from reslab.transforms.cifar import CifarForm
from reslab.weights.imported import Imported
from reslab.weights.layout import Tensors, fitted

MEAN: Final = (0.485, 0.456, 0.406)  # theirs, of pixels in [0, 1]: ImageNet's, although the pictures are CIFAR's
STD: Final = (0.229, 0.224, 0.225)
PAD: Final = 4
SIDE: Final = 32
MOST_BLOCKS: Final = 1_000  # a stage; the paper's 1202 layers have 200
CIFAR10_CLASSES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def from_akamaster(tensors: Tensors, place: object) -> Imported:
    """Their names and order of channels as ours.

    Args:
        tensors: by their names, ``module.`` taken off.
        place: where they are from, for messages.

    Raises:
        DataError: they are of no such network.
    """
    if "linear.weight" not in tensors:
        raise DataError(f"{place} has no linear.weight as akamaster's networks have")
    renamed = {_our_name(name): tensor for name, tensor in tensors.items()}
    architecture = _identify(renamed, place)
    ours = fitted(renamed, architecture, place)
    if architecture.shortcut == "A":
        _put_zeros_behind(ours, architecture)
    return Imported(architecture, ours, _form(), CIFAR10_CLASSES if architecture.classes == 10 else None)


def _our_name(name: str) -> str:
    return re.sub(r"^linear\.", "fc.", name.replace(".shortcut.", ".downsample."))


def _identify(tensors: Tensors, place: object) -> Architecture:
    stem, head = tensors.get("conv1.weight"), tensors.get("fc.weight")
    if stem is None or head is None or stem.dim() != 4 or head.dim() != 2:
        raise DataError(f"{place} has no conv1.weight and linear.weight of shapes as akamaster's networks have")
    blocks = {name.split(".")[1] for name in tensors if re.match(r"layer1\.\d+\.conv1\.weight", name)}
    depth = 6 * len(blocks) + 2
    shortcut: Kind = "B" if any(".downsample." in name for name in tensors) else "A"
    width, classes = stem.shape[0], head.shape[0]
    if not 0 < len(blocks) <= MOST_BLOCKS or width % 2:
        raise DataError(
            f"{place} has {counted(len(blocks), 'block')} of {counted(width, 'filter')} in its first stage,"
            " as no such network has"
        )
    return cifar(depth, shortcut=shortcut, block="basic", stride_on="1x1", width=width, classes=classes, bn_eps=1e-5)


def _put_zeros_behind(tensors: Tensors, architecture: Architecture) -> None:
    """Reorder, in place, the channels that each stage's shortcuts carry; those inside a block stay."""
    order = torch.arange(architecture.width)
    blocks = blocks_a_stage(architecture.depth, "basic")
    for stage in (2, 3):
        before, zeros = order, len(order) // 2
        order = torch.cat((before + zeros, torch.arange(zeros), torch.arange(zeros) + 3 * zeros))
        for block in range(blocks):
            place, coming = f"layer{stage}.{block}", before if block == 0 else order
            tensors[f"{place}.conv1.weight"] = _taken(tensors[f"{place}.conv1.weight"], 1, coming)
            tensors[f"{place}.conv2.weight"] = _taken(tensors[f"{place}.conv2.weight"], 0, order)
            for part in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"{place}.bn2.{part}"] = _taken(tensors[f"{place}.bn2.{part}"], 0, order)
    tensors["fc.weight"] = _taken(tensors["fc.weight"], 1, order)


def _taken(tensor: Tensor, axis: int, order: Tensor) -> Tensor:
    return tensor.index_select(axis, order).contiguous()


def _form() -> CifarForm:
    mean = torch.tensor([255 * value for value in MEAN]).reshape(3, 1, 1).expand(3, SIDE, SIDE).contiguous()
    return CifarForm(mean, PAD, tuple(255 * value for value in STD))
