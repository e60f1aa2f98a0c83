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
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from reslab.core.errors import SpecError
from reslab.models.blocks import BasicBlock, Block, Bottleneck, StrideOn, conv3x3, rectifier
from reslab.models.init import initialise
from reslab.models.shortcuts import Kind

Pool = Literal["pad1", "caffe"]
Stem = OrderedDict[str, nn.Module]

DEPTHS: dict[int, tuple[type[Block], tuple[int, ...]]] = {  # Table 1
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
POOLS: dict[Pool, tuple[int, bool]] = {  # padding, and whether a window that is cut short counts
    "pad1": (1, False),  # the field's habit: windows start at -1
    "caffe": (0, True),  # the authors' release: windows start at 0
}


class ResNet(nn.Sequential):
    """A stem, stages of blocks, global average pooling and a classifier; fully convolutional up to the pooling.

    Args:
        stem: named layers in front of the first stage, ending in ``width`` channels.
        block: `BasicBlock` or `Bottleneck`.
        repeats: blocks of each stage; every stage but the first halves the map and doubles the filters.
        width: filters of the first stage.
        classes: outputs of the classifier.
        shortcut: ``none`` makes the plain network.
        stride_on: see `Bottleneck`.
    """

    def __init__(
        self,
        stem: Stem,
        block: type[Block],
        repeats: Sequence[int],
        width: int,
        classes: int,
        shortcut: Kind,
        stride_on: StrideOn = "1x1",
    ) -> None:
        layers = OrderedDict(stem)
        inputs = width
        for stage, count in enumerate(repeats):
            filters, stride = width * 2**stage, 1 if stage == 0 else 2
            blocks = []
            for _ in range(count):
                blocks.append(block(inputs, filters, stride, shortcut, stride_on))
                inputs, stride = filters * block.expansion, 1
            layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
        layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = nn.Linear(inputs, classes)
        super().__init__(layers)


def imagenet_stem(width: int, pool: Pool) -> Stem:
    """7x7 convolution with stride 2, then 3x3 max pooling with stride 2 (Table 1)."""
    convolution = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
    padding, ceil_mode = POOLS[pool]
    maxpool = nn.MaxPool2d(3, 2, padding=padding, ceil_mode=ceil_mode)
    return OrderedDict(conv1=convolution, bn1=nn.BatchNorm2d(width), relu=rectifier(), maxpool=maxpool)


def cifar_stem(width: int) -> Stem:
    """A 3x3 convolution (section 4.2)."""
    return OrderedDict(conv1=conv3x3(3, width), bn1=nn.BatchNorm2d(width), relu=rectifier())


def resnet(
    depth: int,
    *,
    shortcut: Kind = "B",
    stride_on: StrideOn = "1x1",
    pool: Pool = "pad1",
    width: int = 64,
    classes: int = 1000,
    generator: torch.Generator | None = None,
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
        generator: source of the initial weights; None: a new one with seed 0. The global one is never drawn from.

    Raises:
        SpecError: for another depth.
    """
    if depth not in DEPTHS:
        raise SpecError(f"no ImageNet network of {depth} layers in Table 1 (choose from: {_listed(DEPTHS)})")
    with torch.device("meta"):
        block, repeats = DEPTHS[depth]
        net = ResNet(imagenet_stem(width, pool), block, repeats, width, classes, shortcut, stride_on)
    return initialise(net, generator)


def cifar_resnet(
    depth: int,
    *,
    shortcut: Kind = "A",
    width: int = 16,
    classes: int = 10,
    generator: torch.Generator | None = None,
) -> ResNet:
    """A network of section 4.2 with 6n+2 weighted layers, for small pictures, initialised.

    Args:
        depth: 8, 14, 20, ...; the paper's are 20, 32, 44, 56, 110 and 1202.
        shortcut: ``A`` in the paper, ``none`` for the plain network.
        width: filters of the first of three stages.
        classes: outputs.
        generator: as for `resnet`.

    Raises:
        SpecError: for a depth that is not 6n+2.
    """
    if depth < 8 or (depth - 2) % 6:
        near = max(8, 6 * round((depth - 2) / 6) + 2)
        raise SpecError(f"a CIFAR network has 6n+2 layers (8, 14, 20, ...), not {depth}; the nearest is {near}")
    with torch.device("meta"):
        net = ResNet(cifar_stem(width), BasicBlock, [(depth - 2) // 6] * 3, width, classes, shortcut)
    return initialise(net, generator)


def _listed(depths: dict[int, tuple[type[Block], tuple[int, ...]]]) -> str:
    return ", ".join(str(depth) for depth in depths)
