"""Every rule of initialisation, in one place."""

import math
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from reslab.core.experiment import Init

Net = TypeVar("Net", bound=nn.Module)
USUAL: Final = Init()


def initialise(net: Net, generator: torch.Generator | None = None, init: Init = USUAL) -> Net:
    """Give a network that was built on the meta device its memory and its initial weights; returns ``net``.

    ===================  ==========================================================================================
    convolution          normal, mean 0, std sqrt(2 / (k * k * outputs)), or of inputs: section 3.4 names He et al.
                         2015 but not which of its two fans; the backward form (fan_out) is fb.resnet.torch's
    classifier           uniform within 1 / sqrt(inputs), or normal with std sqrt(2 / inputs); bias 0; the paper does
                         not say
    batch normalisation  scale 1, shift 0, running mean 0, running variance 1; no scale starts at zero
    ===================  ==========================================================================================

    Under ``torch.device("meta")`` the network stays there, without values: enough to count sizes.

    Args:
        net: any network made of these layers.
        generator: a CPU generator, drawn from in the order of ``net.modules()``; None: a new one with seed 0.
        init: which of these rules.
    """
    device = torch.get_default_device()
    if device.type == "meta":
        return net
    source = torch.Generator().manual_seed(0) if generator is None else generator
    net.to_empty(device=device)
    with torch.no_grad():
        for module in net.modules():
            _initialise_layer(module, source, init)
    return net


def _initialise_layer(module: nn.Module, source: torch.Generator, init: Init) -> None:
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        channels = module.out_channels if init.fan == "fan_out" else module.in_channels
        _draw_normal(module.weight, height * width * channels, source)
    elif isinstance(module, nn.Linear):
        if init.classifier == "uniform":
            _draw_uniform(module.weight, 1 / math.sqrt(module.in_features), source)
        else:
            _draw_normal(module.weight, module.in_features, source)
        module.bias.zero_()
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        module.weight.fill_(1)
        module.bias.zero_()


def _draw_normal(weight: Tensor, fan: int, source: torch.Generator) -> None:
    """He et al. 2015: mean 0, std sqrt(2 / fan)."""
    weight.copy_(torch.empty(weight.shape, device="cpu").normal_(0, math.sqrt(2 / fan), generator=source))


def _draw_uniform(weight: Tensor, bound: float, source: torch.Generator) -> None:
    weight.copy_(torch.empty(weight.shape, device="cpu").uniform_(-bound, bound, generator=source))
