"""The networks by name, for Python; ``reslab list models`` has the command line's names."""

import torch

from reslab.models.architecture import Kind, Pool, StrideOn
from reslab.models.network import ResNet
from reslab.models.resnet import cifar_resnet, resnet


def plain18(
    *,
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """plain-18 of Table 1: 11,515,688 parameters; arguments as for `resnet`."""
    return resnet(18, shortcut="none", pool=pool, classes=classes, generator=generator)


def plain34(
    *,
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """plain-34 of Table 1: 21,623,848 parameters; arguments as for `resnet`."""
    return resnet(34, shortcut="none", pool=pool, classes=classes, generator=generator)


def plain50(
    *,
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """plain-50 of bottlenecks (footnote 4): 22,780,456 parameters; arguments as for `resnet`."""
    return resnet(50, shortcut="none", stride_on=stride_on, pool=pool, classes=classes, generator=generator)


def plain101(
    *,
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """plain-101 of bottlenecks (footnote 4): 41,772,584 parameters; arguments as for `resnet`."""
    return resnet(101, shortcut="none", stride_on=stride_on, pool=pool, classes=classes, generator=generator)


def plain152(
    *,
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """plain-152 of bottlenecks (footnote 4): 57,416,232 parameters; arguments as for `resnet`."""
    return resnet(152, shortcut="none", stride_on=stride_on, pool=pool, classes=classes, generator=generator)


def resnet18(
    *,
    shortcut: Kind = "B",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """ResNet-18 of Table 1: 11,689,512 parameters with option B; arguments as for `resnet`."""
    return resnet(18, shortcut=shortcut, pool=pool, classes=classes, generator=generator)


def resnet34(
    *,
    shortcut: Kind = "B",
    pool: Pool = "pad1",
    classes: int = 1000,
    generator: torch.Generator | None = None,
) -> ResNet:
    """ResNet-34 of Table 1: 21,797,672 parameters with option B; arguments as for `resnet`."""
    return resnet(34, shortcut=shortcut, pool=pool, classes=classes, generator=generator)


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


def cifar_plain(
    depth: int,
    *,
    bottleneck: bool = False,
    width: int = 16,
    classes: int = 10,
    generator: torch.Generator | None = None,
) -> ResNet:
    """The plain network of section 4.2 with 6n+2 layers; arguments as for `cifar_resnet`."""
    return cifar_resnet(
        depth, shortcut="none", bottleneck=bottleneck, width=width, classes=classes, generator=generator
    )
