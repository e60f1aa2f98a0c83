"""The authors' released networks: Caffe's blobs as tensors of ours.

Caffe keeps a convolution's weights as (outputs, inputs, height, width), and splits batch normalisation into a layer of
statistics, whose third blob divides the other two, and one of scale and shift.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

from reslab.core.contract import CONTRACTS
from reslab.core.errors import DataError
from reslab.core.text import few
from reslab.core.units import counted
from reslab.models.architecture import imagenet
from reslab.weights.caffe_names import caffe_layer_names
from reslab.weights.imported import Imported
from reslab.weights.layout import Tensors, fitted

LAST: Final = {152: "res4b35_branch2a", 101: "res4b22_branch2a", 50: "res4f_branch2a"}  # only that depth has it


class Convolution(NamedTuple):
    """``weight`` (outputs, inputs, height, width), ``bias`` (outputs,) or None; of a classifier (outputs, inputs)."""

    weight: Tensor
    bias: Tensor | None


class Normalisation(NamedTuple):
    """Scale, shift, running mean and running variance, (channels,) each."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor


def from_caffe(tensors: Tensors, place: object) -> Imported:
    """Blobs named ``LAYER.0``, ``LAYER.1``, ... (or with ``/`` or ``_``), in Caffe's order, as our tensors.

    Args:
        tensors: the blobs.
        place: where they are from, for messages.

    Raises:
        DataError: they are of none of the authors' networks, or some are missing or misshapen.
    """
    blobs = {re.sub(r"[/_.](\d)$", r".\1", name): tensor for name, tensor in tensors.items()}

    def blob(name: str) -> Tensor:
        if name not in blobs:
            raise DataError(f"{place} lacks the blob {name}")
        return blobs[name]

    def convolution(name: str) -> Convolution:
        return Convolution(blob(f"{name}.0"), blobs.get(f"{name}.1"))

    def normalisation(name: str) -> Normalisation:
        scale = re.sub("^bn", "scale", name)
        total = blob(f"{name}.2")
        if total.numel() != 1:
            raise DataError(f"{place}: the blob {name}.2 has {total.numel()} values instead of 1")
        factor = 1 / total.flatten() if total.any() else torch.zeros(1)  # as Caffe has it
        return Normalisation(
            blob(f"{scale}.0"), blob(f"{scale}.1"), blob(f"{name}.0") * factor, blob(f"{name}.1") * factor
        )

    return assembled({name.rsplit(".", 1)[0] for name in blobs}, convolution, normalisation, place)


def assembled(
    layers: set[str],
    convolution: Callable[[str], Convolution],
    normalisation: Callable[[str], Normalisation],
    place: object,
) -> Imported:
    """A network of the authors from its layers; a convolution's bias moves into the running mean behind it.

    Args:
        layers: the names of those there are.
        convolution: a convolution or the classifier, by the authors' name.
        normalisation: a batch normalisation, by the authors' name.
        place: where they are from, for messages.

    Raises:
        DataError: they are of none of the authors' networks, or some are missing or misshapen.
    """
    depth = next((depth for depth, name in LAST.items() if name in layers), None)
    if depth is None:
        raise DataError(f"{place} has none of the layers that end conv4_x in the authors' ResNet-50, 101 or 152")
    names, ours = caffe_layer_names(depth), Tensors()
    _refuse_others(layers, set(names.values()), place)
    biases: dict[str, Tensor] = {}
    for module, name in names.items():
        if name.startswith("bn"):
            norm = normalisation(name)
            mean = _without(norm.mean, biases.pop(name, torch.zeros_like(norm.mean)), name, place)
            parts = {"weight": norm.weight, "bias": norm.bias, "running_mean": mean, "running_var": norm.variance}
            ours |= {f"{module}.{part}": tensor for part, tensor in parts.items()}
            continue
        weight, bias = convolution(name)
        ours[f"{module}.weight"] = weight
        if module == "fc" and bias is not None:
            ours["fc.bias"] = bias.flatten()
        elif bias is not None:
            biases[re.sub("^res", "bn", name) if name != "conv1" else "bn_conv1"] = bias.flatten()
    if ours["fc.weight"].dim() != 2:
        raise DataError(
            f"{place}: the weights of fc1000 have {counted(ours['fc.weight'].dim(), 'dimension')} instead of 2"
        )
    classes = ours["fc.weight"].shape[0]
    architecture = imagenet(depth, shortcut="B", stride_on="1x1", pool="caffe", width=64, classes=classes, bn_eps=1e-5)
    return Imported(architecture, fitted(ours, architecture, place), CONTRACTS["caffe"])


def _refuse_others(layers: set[str], names: set[str], place: object) -> None:
    known = names | {re.sub("^bn", "scale", name) for name in names}
    if others := sorted(layers - known):
        raise DataError(f"{place} has layers that the authors' network has not: {few([name[:80] for name in others])}")


def _without(mean: Tensor, bias: Tensor, name: str, place: object) -> Tensor:
    """The running mean once the bias in front of it is gone."""
    if bias.shape != mean.shape:
        raise DataError(f"{place}: {name} has a mean of {tuple(mean.shape)} behind a bias of {tuple(bias.shape)}")
    return mean - bias
