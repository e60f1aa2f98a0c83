"""A network's anatomy is found in the network."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from reslab.models.anatomy import BlockAnatomy, StageAnatomy
from reslab.models.blocks import BasicBlock, Block, Bottleneck
from reslab.models.dissect import dissect, dissect_block
from reslab.models.resnet import cifar_resnet, resnet
from reslab.models.shortcuts import Kind
from reslab.models.trace import trace


def dissected(net: nn.Module, input_size: int) -> tuple[StageAnatomy, ...]:
    return dissect(trace(net, input_size))


def blocks_of(stages: tuple[StageAnatomy, ...]) -> list[BlockAnatomy]:
    return [part for stage in stages for part in stage.parts if isinstance(part, BlockAnatomy)]


@pytest.mark.parametrize(
    ("kind", "channels", "shortcut", "weights"),
    [
        (BasicBlock, 64, "B", 73_728),
        (Bottleneck, 256, "B", 69_632),
        (Bottleneck, 256, "A", 69_632),
        (Bottleneck, 256, "C", 135_168),
    ],
)
def test_the_blocks_of_figure_5_have_the_papers_weights(
    kind: type[Block], channels: int, shortcut: Kind, weights: int
) -> None:
    with torch.device("meta"):
        block = dissect_block(kind(channels, 64, 1, shortcut), channels, 56)
    assert sum(layer.weights for layer in block.convolutions) == weights
    assert {layer.side for layer in block.convolutions} == {56}
    assert (block.layers[0].inputs, block.layers[-1].outputs) == (channels, channels)


def test_a_bottleneck_reduces_works_and_restores() -> None:
    with torch.device("meta"):
        block = dissect_block(Bottleneck(256, 64, 1, "B"), 256, 56)
    assert [(layer.kernel, layer.inputs, layer.outputs) for layer in block.layers] == [
        (1, 256, 64),
        (3, 64, 64),
        (1, 64, 256),
    ]


@pytest.mark.parametrize(("depth", "input_size"), [(18, 224), (34, 64), (50, 224)])
def test_every_convolution_of_a_network_is_found_once_and_in_order(depth: int, input_size: int) -> None:
    with torch.device("meta"):
        net = resnet(depth)
    stages = dissected(net, input_size)
    found: list[str] = []
    for part in (part for stage in stages for part in stage.parts):
        found += [layer.name for layer in (part.convolutions if isinstance(part, BlockAnatomy) else (part,))]
    there = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.Linear)]
    assert [name for name in found if name != "avgpool"] == there
    assert found[-2:] == ["avgpool", "fc"]
    assert [stage.title for stage in stages] == ["conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x", "classifier"]


@pytest.mark.parametrize(
    ("shortcut", "changing", "same"),
    [("A", "zeros", "identity"), ("B", "projection", "identity"), ("C", "projection", "projection")],
)
def test_a_shortcut_widens_where_dimensions_increase_and_nowhere_else(shortcut: Kind, changing: str, same: str) -> None:
    with torch.device("meta"):
        blocks = blocks_of(dissected(resnet(34, shortcut=shortcut), 224))
    found = {block.name: block.shortcut for block in blocks if block.shortcut}
    assert len(found) == 16
    widening = {name for name, found_shortcut in found.items() if found_shortcut.widens}
    assert widening == {"layer2.0", "layer3.0", "layer4.0"}
    for name, found_shortcut in found.items():
        assert found_shortcut.carries == (changing if name in widening else same)


def test_the_first_bottleneck_widens_though_it_does_not_stride() -> None:
    with torch.device("meta"):
        first = blocks_of(dissected(resnet(50), 224))[0]
    assert first.shortcut is not None
    assert first.shortcut.widens
    assert {layer.stride for layer in first.convolutions} == {1}


@pytest.mark.parametrize(("stride_on", "strides"), [("1x1", [2, 1, 1]), ("3x3", [1, 2, 1])])
def test_strides_are_where_the_network_has_them(stride_on: Any, strides: list[int]) -> None:
    with torch.device("meta"):
        block = blocks_of(dissected(resnet(50, stride_on=stride_on), 224))[3]
    assert block.name == "layer2.0"
    assert [layer.stride for layer in block.layers] == strides


def test_a_plain_network_has_no_shortcut_to_draw() -> None:
    with torch.device("meta"):
        blocks = blocks_of(dissected(cifar_resnet(20, shortcut="none"), 32))
    assert len(blocks) == 9
    assert all(block.shortcut is None for block in blocks)


def test_a_trace_that_nobody_holds_is_gone() -> None:
    with torch.device("meta"):
        layer = weakref.ref(trace(cifar_resnet(8), 32).steps[-1].module)
    gc.collect()
    assert layer() is None
