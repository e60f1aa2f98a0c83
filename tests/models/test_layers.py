"""Single layers and blocks against arithmetic written out, in loops and in NumPy."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reslab.models.architecture import Kind, StrideOn
from reslab.models.blocks import BasicBlock, Block, Bottleneck
from reslab.models.init import initialise
from reslab.models.resnet import imagenet_stem
from reslab.models.shortcuts import SHORTCUTS

Array = NDArray[np.float64]
KINDS: tuple[Kind, ...] = ("none", "A", "B", "C")
SIDES = (2, 3, 4, 7, 8, 11, 12)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def subsampled(x: Tensor, stride: int, channels: int) -> Tensor:
    """Option A, a number at a time."""
    count, given, height, width = x.shape
    out = torch.full((count, channels, -(-height // stride), -(-width // stride)), torch.nan, dtype=x.dtype)
    for n, c, i, j in itertools.product(*map(range, out.shape)):
        out[n, c, i, j] = x[n, c, i * stride, j * stride] if c < given else 0
    return out


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(2, 4, 2), (3, 8, 2), (2, 5, 1), (3, 3, 2), (3, 3, 1)])
def test_option_a_is_a_loop_over_each_second_pixel_with_zeros_behind(inputs: int, outputs: int, stride: int) -> None:
    carry = SHORTCUTS["A"](inputs, outputs, stride)
    assert carry is not None
    assert list(carry.parameters()) == []
    for height, width in itertools.product((1, 4, 5), (2, 7)):
        x = noise(2, inputs, height, width)
        assert torch.equal(carry(x), subsampled(x, stride, outputs))


def test_the_gradient_of_option_a_reaches_the_pixels_it_took_and_no_others() -> None:
    carry = SHORTCUTS["A"](2, 4, 2)
    assert carry is not None
    x = noise(1, 2, 5, 6).requires_grad_()
    taken = torch.zeros_like(x)
    taken[:, :, ::2, ::2] = torch.arange(1.0, 10.0, dtype=x.dtype).reshape(3, 3)
    weights = torch.arange(1.0, 10.0, dtype=x.dtype).reshape(3, 3)
    (carry(x) * weights).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, taken)


def starts(side: int) -> list[int]:
    """Of Caffe's windows: at 0, 2, 4, ..., the last being the first that reaches the end."""
    found = [0]
    while found[-1] + 3 < side:
        found.append(found[-1] + 2)
    return found


@pytest.mark.parametrize(("height", "width"), [*itertools.product(SIDES, SIDES)])
def test_caffes_pooling_is_a_loop_over_windows_from_0_with_the_last_cut_short(height: int, width: int) -> None:
    x = noise(2, 3, height, width) - 5
    expected = torch.empty(2, 3, len(starts(height)), len(starts(width)), dtype=x.dtype)
    for (i, top), (j, left) in itertools.product(enumerate(starts(height)), enumerate(starts(width))):
        for n, c in itertools.product(range(2), range(3)):
            rows, columns = range(top, min(top + 3, height)), range(left, min(left + 3, width))
            expected[n, c, i, j] = max(x[n, c, row, column] for row in rows for column in columns)
    assert torch.equal(imagenet_stem(3, "caffe")["maxpool"](x), expected)


def test_an_odd_side_leaves_caffes_last_window_whole_and_an_even_one_cuts_it() -> None:
    assert [(starts(side)[-1], side - starts(side)[-1]) for side in (7, 8, 111, 112)] == [
        (4, 3),
        (6, 2),
        (108, 3),
        (110, 2),
    ]


class Arithmetic:
    """A block in NumPy: convolutions as sums over the kernel's places, normalisation by its formula."""

    def __init__(self, block: Block, kind: Kind, strides: tuple[int, ...], *, training: bool) -> None:
        self.state = {name: value.numpy().copy() for name, value in block.state_dict().items()}
        self.kind, self.strides, self.training = kind, strides, training

    def convolution(self, x: Array, name: str, stride: int) -> Array:
        weight = self.state[f"{name}.weight"]
        kernel = weight.shape[-1]
        edge = kernel // 2
        padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        height, width = (-(-side // stride) for side in x.shape[2:])
        out = np.zeros((len(x), len(weight), height, width))
        for n, o, i, j in np.ndindex(out.shape):
            window = padded[n, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            out[n, o, i, j] = (window * weight[o]).sum()
        return out

    def normalisation(self, x: Array, name: str) -> Array:
        scale, shift, mean, variance = (
            self.state[f"{name}.{key}"][:, None, None] for key in ("weight", "bias", "running_mean", "running_var")
        )
        if self.training:
            mean, variance = x.mean((0, 2, 3))[:, None, None], x.var((0, 2, 3))[:, None, None]
        normal: Array = scale * (x - mean) / np.sqrt(variance + 1e-5) + shift
        return normal

    def __call__(self, x: Array) -> Array:
        fx = x
        for layer, stride in enumerate(self.strides, start=1):
            fx = self.normalisation(self.convolution(fx, f"conv{layer}", stride), f"bn{layer}")
            if layer < len(self.strides):
                fx = np.where(fx > 0, fx, 0)
        total = fx + self.shortcut(x, fx)
        return np.where(total > 0, total, 0)

    def shortcut(self, x: Array, fx: Array) -> Array:
        if self.kind == "none":
            return np.zeros_like(fx)
        stride, widens = max(self.strides), fx.shape[1] != x.shape[1]
        if self.kind == "C" or (self.kind == "B" and (widens or stride > 1)):
            return self.normalisation(self.convolution(x, "downsample.0", stride), "downsample.1")
        return subsampled(torch.from_numpy(x), stride, fx.shape[1]).numpy()


def stirred(block: Block) -> Block:
    source = torch.Generator().manual_seed(4)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(generator=source)
            module.running_var.uniform_(0.5, 2, generator=source)
    return block


SHAPES: list[Any] = [  # a block, its inputs, its width, which convolution strides, the strides of all
    pytest.param(BasicBlock, 4, 4, "1x1", (1, 1), id="basic, equal"),
    pytest.param(BasicBlock, 3, 6, "1x1", (2, 1), id="basic, halved"),
    pytest.param(Bottleneck, 8, 2, "1x1", (1, 1, 1), id="bottleneck, equal"),
    pytest.param(Bottleneck, 3, 2, "1x1", (1, 1, 1), id="bottleneck, widened"),
    pytest.param(Bottleneck, 4, 2, "1x1", (2, 1, 1), id="bottleneck, halved on 1x1"),
    pytest.param(Bottleneck, 4, 2, "3x3", (1, 2, 1), id="bottleneck, halved on 3x3"),
]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("block", "inputs", "width", "stride_on", "strides"), SHAPES)
def test_a_block_computes_the_equations_of_section_3(
    block: type[Block],
    inputs: int,
    width: int,
    stride_on: StrideOn,
    strides: tuple[int, ...],
    kind: Kind,
    training: bool,  # noqa: FBT001
) -> None:
    made = stirred(initialise(block(inputs, width, max(strides), kind, stride_on)).double()).train(training)
    x = noise(2, inputs, 5, 6)
    expected = Arithmetic(made, kind, strides, training=training)(x.numpy())
    with torch.no_grad():
        found = made(x).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()
    assert 0.1 < (found > 0).mean() < 0.9
