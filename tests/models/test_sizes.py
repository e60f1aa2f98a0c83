from typing import Any

import pytest
import torch
from torch import nn

from reslab.core.paper import published
from reslab.models import named
from reslab.models.resnet import ResNet, cifar_resnet, resnet
from reslab.models.shortcuts import Kind, projections
from reslab.models.sizes import Size, size_of

ROWS = [pytest.param(key, marks=pytest.mark.slow) if "1202" in key else key for key in published("sizes")]


def built(key: str) -> tuple[ResNet, int]:
    parts = key.removeprefix("cifar-").split("-")
    kinds: dict[str, Kind] = {"plain": "none", "A": "A", "B": "B", "C": "C"}
    depth, kind = int(parts[0]), kinds[parts[1]]
    with torch.device("meta"):
        if key.startswith("cifar-"):
            return cifar_resnet(depth, shortcut=kind), 32
        return resnet(depth, shortcut=kind, stride_on="3x3" if parts[-1] == "v1.5" else "1x1"), 224


def weighted_layers(net: nn.Module) -> int:
    layers = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return sum("downsample" not in name for name in layers)


@pytest.mark.parametrize("key", ROWS)
def test_every_network_has_exactly_its_published_size(key: str) -> None:
    row: dict[str, Any] = published("sizes")[key]
    net, input_size = built(key)
    size = size_of(net, input_size)
    assert (size.parameters, size.multiply_adds) == (row["params"], row["macs"])
    assert (projections(net), weighted_layers(net)) == (row["nproj"], row["weighted"])
    assert size.input_size == input_size


def multiply_adds_by_hand(blocks: tuple[int, ...], *, stride_on_3x3: bool) -> int:
    total = 7 * 7 * 3 * 64 * 112**2
    inputs, side = 64, 56
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            before = side
            if stage and not block:
                side //= 2
            middle = before if stride_on_3x3 else side
            total += inputs * width * middle**2 + 9 * width * width * side**2 + width * 4 * width * side**2
            if not block:
                total += inputs * 4 * width * side**2
            inputs = 4 * width
    return total + 2048 * 1000


@pytest.mark.parametrize("stride_on", ["1x1", "3x3"])
def test_the_multiply_adds_of_resnet_50_follow_from_its_shapes(stride_on: Any) -> None:
    with torch.device("meta"):
        net = resnet(50, stride_on=stride_on)
    assert size_of(net, 224).multiply_adds == multiply_adds_by_hand((3, 4, 6, 3), stride_on_3x3=stride_on == "3x3")


def resnet50_size(stride_on: Any) -> Size:
    with torch.device("meta"):
        return size_of(resnet(50, stride_on=stride_on), 224)


@pytest.mark.parametrize(("stride_on", "layer"), [("1x1", "conv1"), ("3x3", "conv2")])
def test_the_stage_table_of_resnet_50_is_table_1s(stride_on: str, layer: str) -> None:
    size = resnet50_size(stride_on)
    assert [stage.stage for stage in size.stages] == ["conv1", "conv2_x", "conv3_x", "conv4_x", "conv5_x", "classifier"]
    assert [stage.output for stage in size.stages] == [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7), (1, 1)]
    assert [stage.blocks for stage in size.stages] == [0, 3, 4, 6, 3, 0]
    assert size.stages[0].strides == ("conv1",)
    assert size.stages[1].strides == ("maxpool",)
    for number, stage in enumerate(size.stages[2:5], start=2):
        assert stage.strides == (f"layer{number}.0.{layer}", f"layer{number}.0.downsample.0")
    assert size.stages[5].strides == ()


@pytest.mark.parametrize("key", ["50-B", "34-A", "18-plain", "cifar-20-A", "cifar-20-B"])
def test_the_stages_sum_to_the_total(key: str) -> None:
    size = size_of(*built(key))
    assert sum(stage.parameters for stage in size.stages) == size.parameters
    assert sum(stage.multiply_adds for stage in size.stages) == size.multiply_adds


def test_the_stage_table_of_a_cifar_network_has_three_stages() -> None:
    size = size_of(*built("cifar-20-A"))
    assert [stage.stage for stage in size.stages] == ["conv1", "layer1", "layer2", "layer3", "classifier"]
    assert [stage.output for stage in size.stages] == [(32, 32), (32, 32), (16, 16), (8, 8), (1, 1)]
    assert [stage.blocks for stage in size.stages] == [0, 3, 3, 3, 0]
    assert size.stages[2].strides == ("layer2.0.conv1", "layer2.0.downsample")


def test_counting_leaves_the_network_as_it_was() -> None:
    net = cifar_resnet(8, width=4).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    size_of(net, 32)
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("plain18", "18-plain"),
        ("plain34", "34-plain"),
        ("resnet18", "18-B"),
        ("resnet34", "34-B"),
        ("resnet50", "50-B"),
        ("resnet101", "101-B"),
        ("resnet152", "152-B"),
    ],
)
def test_every_name_makes_its_network(name: str, key: str) -> None:
    with torch.device("meta"):
        net = getattr(named, name)()
    row = published("sizes")[key]
    assert (sum(p.numel() for p in net.parameters()), projections(net)) == (row["params"], row["nproj"])


def test_the_named_networks_pass_their_arguments_on() -> None:
    with torch.device("meta"):
        shallow = named.resnet34(shortcut="C", classes=7)
        deep = named.resnet50(stride_on="3x3", pool="caffe", classes=5)
        small = named.cifar_plain(20, width=8, classes=3)
    assert (projections(shallow), shallow.fc.out_features) == (16, 7)
    assert (deep.layer2[0].conv2.stride, deep.maxpool.padding, deep.fc.out_features) == ((2, 2), 0, 5)
    assert (small.conv1.out_channels, small.fc.out_features, small.layer1[0].downsample) == (8, 3, None)
