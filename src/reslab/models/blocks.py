"""The two building blocks of Figure 5. Plain and residual networks share them; the shortcut is the only difference."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from reslab.models.architecture import Kind, StrideOn
from reslab.models.shortcuts import SHORTCUTS


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the map's size (at stride 1), without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def rectifier() -> nn.ReLU:
    """A ReLU of its own: hooks and quantisation need to tell one from another."""
    return nn.ReLU(inplace=True)


class Block(nn.Module, ABC):
    """relu(F(x)) in a plain network, relu(F(x) + shortcut(x)) in a residual one: equations (1) and (2).

    Args:
        inputs: channels that come in.
        width: filters of the block's 3x3 convolutions; ``width * expansion`` channels go out.
        stride: 2 where the map size halves, else 1.
        shortcut: ``none`` (plain), ``A``, ``B`` or ``C``.
        stride_on: the bottleneck's convolution that carries the stride; a basic block's is always its first 3x3.
    """

    expansion: ClassVar[int]

    def __init__(
        self, inputs: int, width: int, stride: int = 1, shortcut: Kind = "none", stride_on: StrideOn = "1x1"
    ) -> None:
        super().__init__()
        self.build_branch(inputs, width, stride, stride_on)
        self.downsample = SHORTCUTS[shortcut](inputs, width * self.expansion, stride)
        self.relu = rectifier()

    @abstractmethod
    def build_branch(self, inputs: int, width: int, stride: int, stride_on: StrideOn) -> None:
        """Make the layers of F."""

    @abstractmethod
    def branch(self, x: Tensor) -> Tensor:
        """F(x, {W_i}): every convolution followed by batch normalisation, a ReLU after each but the last."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, width * expansion, H / stride, W / stride)."""
        fx = self.branch(x)
        out: Tensor = self.relu(fx if self.downsample is None else fx + self.downsample(x))
        return out


class BasicBlock(Block):
    """Figure 5, left: two 3x3 convolutions."""

    expansion = 1

    def build_branch(self, inputs: int, width: int, stride: int, stride_on: StrideOn) -> None:  # noqa: ARG002 one choice
        """Make conv1, bn1, relu1, conv2, bn2."""
        self.conv1, self.bn1, self.relu1 = conv3x3(inputs, width, stride), nn.BatchNorm2d(width), rectifier()
        self.conv2, self.bn2 = conv3x3(width, width), nn.BatchNorm2d(width)

    def branch(self, x: Tensor) -> Tensor:
        """3x3, 3x3."""
        x = self.relu1(self.bn1(self.conv1(x)))
        fx: Tensor = self.bn2(self.conv2(x))
        return fx


class Bottleneck(Block):
    """Figure 5, right: 1x1 reduces, 3x3 works, 1x1 restores four times the width."""

    expansion = 4

    def build_branch(self, inputs: int, width: int, stride: int, stride_on: StrideOn) -> None:
        """Make conv1, bn1, relu1, conv2, bn2, relu2, conv3, bn3."""
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        outputs = width * self.expansion
        self.conv1, self.bn1, self.relu1 = conv1x1(inputs, width, first), nn.BatchNorm2d(width), rectifier()
        self.conv2, self.bn2, self.relu2 = conv3x3(width, width, second), nn.BatchNorm2d(width), rectifier()
        self.conv3, self.bn3 = conv1x1(width, outputs), nn.BatchNorm2d(outputs)

    def branch(self, x: Tensor) -> Tensor:
        """1x1, 3x3, 1x1."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        fx: Tensor = self.bn3(self.conv3(x))
        return fx
