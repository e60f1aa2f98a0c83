"""Networks with every value drawn, running statistics too, and what they compute."""

import torch
from torch import Tensor

from reslab.models.architecture import Architecture, Kind, StrideOn, cifar, imagenet
from reslab.models.network import ResNet
from reslab.models.resnet import blueprint, build
from reslab.weights.layout import Tensors


def photo_net(
    depth: int = 18, *, shortcut: Kind = "B", stride_on: StrideOn = "3x3", width: int = 4, classes: int = 10
) -> Architecture:
    """A narrow network of Table 1 as torchvision has it."""
    return imagenet(
        depth, shortcut=shortcut, stride_on=stride_on, pool="pad1", width=width, classes=classes, bn_eps=1e-5
    )


def small_net(depth: int = 8, *, shortcut: Kind = "A", width: int = 4) -> Architecture:
    """A network of section 4.2."""
    return cifar(depth, shortcut=shortcut, block="basic", stride_on="1x1", width=width, classes=10, bn_eps=1e-5)


def stirred(architecture: Architecture, seed: int = 0) -> Tensors:
    """Tensors for it, counters of batches too."""
    draw = torch.Generator().manual_seed(seed)
    return {name: _drawn(name, tensor.shape, draw) for name, tensor in blueprint(architecture).state_dict().items()}


def _drawn(name: str, shape: torch.Size, draw: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if name.endswith("running_var"):
        return torch.empty(shape).uniform_(0.5, 2, generator=draw)
    if len(shape) == 1:
        return torch.empty(shape).uniform_(-0.5, 1.5, generator=draw)
    return torch.randn(shape, generator=draw) * (2 / shape[1:].numel()) ** 0.5


def network(architecture: Architecture, tensors: Tensors) -> ResNet:
    """In double precision and evaluation mode."""
    net = build(architecture)
    net.load_state_dict(tensors)
    return net.double().eval().requires_grad_(requires_grad=False)


def pictures(side: int = 32, count: int = 2) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def require_equal(found: Tensors, wanted: Tensors) -> None:
    """The same names, types and bits."""
    assert found.keys() == wanted.keys()
    unequal = [
        name for name in wanted if found[name].dtype != wanted[name].dtype or not torch.equal(found[name], wanted[name])
    ]
    assert unequal == []
