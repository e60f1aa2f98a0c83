"""The networks of the paper: Table 1 for ImageNet, the 6n+2 layers of section 4.2 for CIFAR-10, plain and residual.

Parameters and multiply-adds at the paper's input sizes (224 and 32), which this implementation indeed has:

======================  ==========  ==============
network                 parameters   multiply-adds
======================  ==========  ==============
plain-18                11,515,688   1,794,805,760
ResNet-18 (B)           11,689,512   1,814,073,344
plain-34                21,623,848   3,644,493,824
ResNet-34 (A)           21,623,848   3,644,493,824
ResNet-34 (B)           21,797,672   3,663,761,408
ResNet-50 (B)           25,557,032   3,857,973,248
ResNet-101 (B)          44,549,160   7,570,194,432
ResNet-152 (B)          60,192,808  11,282,415,616
CIFAR plain, ResNet-20     269,722      40,551,040
CIFAR plain, ResNet-56     853,018     125,485,696
CIFAR ResNet-110         1,727,962     252,887,680
CIFAR ResNet-1202       19,421,274   2,829,238,912
======================  ==========  ==============

Names of parameters are torchvision's, so state dicts travel.
"""

from collections import OrderedDict
from typing import Final

import torch
from torch import nn

from reslab.core.experiment import Init
from reslab.models.architecture import BN_EPS, Architecture, BlockKind, Kind, Pool, StrideOn, cifar, imagenet
from reslab.models.blocks import BasicBlock, Block, Bottleneck, conv3x3, rectifier
from reslab.models.init import USUAL, initialise
from reslab.models.network import ResNet, Stem

BLOCKS: Final[dict[BlockKind, type[Block]]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
POOLS: Final[dict[Pool, tuple[int, bool]]] = {  # padding, and whether a window that is cut short counts
    "pad1": (1, False),  # the field's habit: windows start at -1
    "caffe": (0, True),  # the authors' release: windows start at 0
}


def imagenet_stem(width: int, pool: Pool) -> Stem:
    """7x7 convolution with stride 2, then 3x3 max pooling with stride 2 (Table 1)."""
    convolution = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
    padding, ceil_mode = POOLS[pool]
    maxpool = nn.MaxPool2d(3, 2, padding=padding, ceil_mode=ceil_mode)
    return OrderedDict(conv1=convolution, bn1=nn.BatchNorm2d(width), relu=rectifier(), maxpool=maxpool)


def cifar_stem(width: int) -> Stem:
    """A 3x3 convolution (section 4.2)."""
    return OrderedDict(conv1=conv3x3(3, width), bn1=nn.BatchNorm2d(width), relu=rectifier())


def build(architecture: Architecture, generator: torch.Generator | None = None, init: Init = USUAL) -> ResNet:
    """The network that ``architecture`` describes, initialised.

    Args:
        architecture: all that decides what it computes from given weights.
        generator: source of the initial weights; None: a new one with seed 0. The global one is never drawn from.
        init: how they are drawn.
    """
    a = architecture
    with torch.device("meta"):
        stem = cifar_stem(a.width) if a.pool is None else imagenet_stem(a.width, a.pool)
        net = ResNet(stem, BLOCKS[a.block], a.repeats, a.width, a.classes, a.shortcut, a.stride_on or "1x1")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = a.bn_eps
    net.architecture = a
    return initialise(net, generator, init)


def blueprint(architecture: Architecture) -> ResNet:
    """The same network on the meta device: shapes without values."""
    with torch.device("meta"):
        return build(architecture)


def resnet(
    depth: int,
    *,
    shortcut: Kind = "B",
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    width: int = 64,
    classes: int = 1000,
    bn_eps: float = BN_EPS,
    generator: torch.Generator | None = None,
    init: Init = USUAL,
) -> ResNet:
    """A network of Table 1, initialised.

    Args:
        depth: 18, 34, 50, 101 or 152 weighted layers.
        shortcut: ``B`` is the field's default and the paper's for bottlenecks; ``none`` gives the plain network.
        stride_on: where a bottleneck strides: ``1x1`` the paper, ``3x3`` known as v1.5 (4.09 instead of 3.86 billion
            multiply-adds for 50 layers).
        pool: ``pad1``, or ``caffe`` as in the authors' released networks.
        width: filters of the first stage.
        classes: outputs.
        bn_eps: what batch normalisation adds to the variance.
        generator: source of the initial weights; None: a new one with seed 0. The global one is never drawn from.
        init: how they are drawn, where section 3.4 leaves it open.

    Raises:
        SpecError: for another depth, or a number that is not positive.
    """
    described = imagenet(
        depth, shortcut=shortcut, stride_on=stride_on, pool=pool, width=width, classes=classes, bn_eps=bn_eps
    )
    return build(described, generator, init)


def cifar_resnet(
    depth: int,
    *,
    shortcut: Kind | None = None,
    bottleneck: bool = False,
    stride_on: StrideOn = "1x1",
    width: int = 16,
    classes: int = 10,
    bn_eps: float = BN_EPS,
    generator: torch.Generator | None = None,
    init: Init = USUAL,
) -> ResNet:
    """A network of section 4.2 with 6n+2 weighted layers, for small pictures, initialised.

    Args:
        depth: 8, 14, 20, ...; the paper's are 20, 32, 44, 56, 110 and 1202. With bottlenecks 9n+2: 11, 20, 29, ...
        shortcut: None: ``A`` as in the paper, ``B`` with bottlenecks as on ImageNet; ``none`` gives the plain network.
        bottleneck: blocks of three layers instead of two; the paper has them on ImageNet alone.
        stride_on: as for `resnet`, where there are bottlenecks.
        width: filters of the first of three stages.
        classes: outputs.
        bn_eps: as for `resnet`.
        generator: as for `resnet`.
        init: as for `resnet`.

    Raises:
        SpecError: for a depth that is not 6n+2 (9n+2), or a number that is not positive.
    """
    kind = shortcut or ("B" if bottleneck else "A")
    block: BlockKind = "bottleneck" if bottleneck else "basic"
    described = cifar(
        depth, shortcut=kind, block=block, stride_on=stride_on, width=width, classes=classes, bn_eps=bn_eps
    )
    return build(described, generator, init)
