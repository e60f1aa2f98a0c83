"""The networks by name, for Python; ``reslab list models`` has the command line's names."""

import torch

from reslab.models.blocks import StrideOn
from reslab.models.resnet import Pool, ResNet, cifar_resnet, resnet
from reslab.models.shortcuts import Kind


def plain18(*, classes: int = 1000, generator: torch.Generator | None = None) -> ResNet:
    """plain-18 of Table 1: 11,515,688 parameters; arguments as for `resnet`."""
    return resnet(18, shortcut="none", classes=classes, generator=generator)


def plain34(*, classes: int = 1000, generator: torch.Generator | None = None) -> ResNet:
    """plain-34 of Table 1: 21,623,848 parameters; arguments as for `resnet`."""
    return resnet(34, shortcut="none", classes=classes, generator=generator)


def resnet18(*, shortcut: Kind = "B", classes: int = 1000, generator: torch.Generator | None = None) -> ResNet:
    """ResNet-18 of Table 1: 11,689,512 parameters with option B; arguments as for `resnet`."""
    return resnet(18, shortcut=shortcut, classes=classes, generator=generator)


def resnet34(*, shortcut: Kind = "B", classes: int = 1000, generator: torch.Generator | None = None) -> ResNet:
    """ResNet-34 of Table 1: 21,797,672 parameters with option B; arguments as for `resnet`."""
    return resnet(34, shortcut=shortcut, classes=classes, generator=generator)


def resnet50(
    *,
    shortcut: Kind = "B",
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """ResNet-50 of Table 1: 25,557,032 parameters with option B; arguments as for `resnet`."""
    return resnet(50, shortcut=shortcut, stride_on=stride_on, pool=pool, classes=classes, generator=generator)


def resnet101(
    *,
    shortcut: Kind = "B",
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """ResNet-101 of Table 1: 44,549,160 parameters with option B; arguments as for `resnet`."""
    return resnet(101, shortcut=shortcut, stride_on=stride_on, pool=pool, classes=classes, generator=generator)


def resnet152(
    *,
    shortcut: Kind = "B",
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """ResNet-152 of Table 1: 60,192,808 parameters with option B; arguments as for `resnet`."""
    return resnet(152, shortcut=shortcut, stride_on=stride_on, pool=pool, classes=classes, generator=generator)


def cifar_plain(depth: int, *, width: int = 16, classes: int = 10, generator: torch.Generator | None = None) -> ResNet:
    """The plain network of section 4.2 with 6n+2 layers; arguments as for `cifar_resnet`."""
    return cifar_resnet(depth, shortcut="none", width=width, classes=classes, generator=generator)
