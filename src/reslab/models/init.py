"""Every rule of initialisation, in one place."""

import math
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def initialise(net: Net, generator: torch.Generator | None = None) -> Net:
    """Give a network that was built on the meta device its memory and its initial weights; returns ``net``.

    ===================  ==========================================================================================
    convolution          normal, mean 0, std sqrt(2 / (k * k * outputs)): section 3.4 names He et al. 2015 but not
                         which of its two fans; this is the backward form (fan_out), as in fb.resnet.torch
    classifier           uniform within 1 / sqrt(inputs), bias 0; the paper does not say
    batch normalisation  scale 1, shift 0, running mean 0, running variance 1; no scale starts at zero
    ===================  ==========================================================================================

    Under ``torch.device("meta")`` the network stays there, without values: enough to count sizes.

    Args:
        net: any network made of these layers.
        generator: a CPU generator, drawn from in the order of ``net.modules()``; None: a new one with seed 0.
    """
    device = torch.get_default_device()
    if device.type == "meta":
        return net
    source = torch.Generator().manual_seed(0) if generator is None else generator
    net.to_empty(device=device)
    with torch.no_grad():
        for module in net.modules():
            _initialise_layer(module, source)
    return net


def _initialise_layer(module: nn.Module, source: torch.Generator) -> None:
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        std = math.sqrt(2 / (height * width * module.out_channels))
        module.weight.copy_(torch.empty(module.weight.shape, device="cpu").normal_(0, std, generator=source))
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        module.weight.copy_(torch.empty(module.weight.shape, device="cpu").uniform_(-bound, bound, generator=source))
        module.bias.zero_()
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        module.weight.fill_(1)
        module.bias.zero_()
