"""Networks of ours with every value drawn, and those of other libraries with the same values."""

from collections.abc import Callable
from typing import Final

import timm
import torch
import torchvision
from tests.tested import stir
from torch import Tensor, nn

from reslab.models.architecture import BN_EPS, Pool, StrideOn
from reslab.models.network import ResNet
from reslab.models.resnet import resnet

LIBRARIES: Final[dict[str, Callable[[int], nn.Module]]] = {
    "torchvision": lambda depth: torchvision.models.get_model(f"resnet{depth}", weights=None),
    "timm": lambda depth: timm.create_model(f"resnet{depth}", pretrained=False),
}


def ours(depth: int, stride_on: StrideOn = "3x3", pool: Pool = "pad1", bn_eps: float = BN_EPS) -> ResNet:
    """Random weights, scales, shifts and statistics: batch normalisation is far from the identity."""
    net, source = (
        resnet(depth, stride_on=stride_on, pool=pool, bn_eps=bn_eps).double(),
        torch.Generator().manual_seed(1),
    )
    stir(net, source)
    net.get_parameter("fc.bias").data.normal_(0, 0.1, generator=source)
    return net


def counterpart(library: str, net: ResNet, depth: int) -> nn.Module:
    """The library's network with a copy of our weights."""
    with torch.device("meta"):
        theirs = LIBRARIES[library](depth)
    theirs.to_empty(device="cpu").double().load_state_dict(net.state_dict(), strict=True)
    return theirs


def pictures(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def difference(one: Tensor, other: Tensor) -> float:
    """The largest, of the largest entry; tensors of zeros would show nothing."""
    largest = other.abs().max()
    assert largest > 0
    return float((one - other).abs().max() / largest)
