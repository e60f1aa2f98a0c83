from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from reslab.core.paper import published
from reslab.models import named
from reslab.models.resnet import ResNet, cifar_resnet, resnet
from reslab.models.shortcuts import Kind, projections
from reslab.models.sizes import Size, size_of


def deep(key: str) -> bool:
    """The deepest are counted in the fast tests with option B alone."""
    return "1202" in key or (any(depth in key for depth in ("101-", "110-", "152-")) and "-B" not in key)


ROWS = [pytest.param(key, marks=pytest.mark.slow if deep(key) else ()) for key in published("sizes")]


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


def maps_bytes(channels: int, side: int) -> int:
    return 4 * channels * side**2


def test_the_activations_of_a_small_network_are_those_counted_by_hand() -> None:
    with torch.device("meta"):
        size = size_of(cifar_resnet(8), 32)
    statistics = 2 * 4  # a mean and a deviation for each channel
    stem = maps_bytes(3, 32) + 2 * maps_bytes(16, 32) + 16 * statistics
    layers = [
        4 * maps_bytes(channels, side) + 2 * channels * statistics for channels, side in ((16, 32), (32, 16), (64, 8))
    ]
    assert [stage.activation_bytes for stage in size.stages] == [stem, *layers, 64 * 4]
    assert size.activation_bytes == stem + sum(layers) + 64 * 4


@pytest.mark.parametrize(
    ("make", "input_size"),
    [
        (lambda: cifar_resnet(8, shortcut="none"), 32),
        (lambda: cifar_resnet(8, shortcut="A"), 32),
        (lambda: cifar_resnet(11, bottleneck=True, shortcut="C"), 28),
        (lambda: resnet(18), 64),
        (lambda: resnet(50, pool="caffe"), 64),
    ],
    ids=["plain", "A", "C", "basic", "bottleneck"],
)
def test_the_activations_are_what_the_forward_pass_leaves_in_memory(make: Any, input_size: int) -> None:
    net = make().train()
    x = torch.randn(1, 3, input_size, input_size)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        logits = net(x)
    left = sum(event.self_cpu_memory_usage for event in profiler.key_averages())
    assert size_of(net, input_size).activation_bytes == pytest.approx(left + x.nbytes - logits.nbytes, rel=1e-3)


def test_a_stage_that_computes_again_keeps_the_inputs_of_its_blocks() -> None:
    with torch.device("meta"):
        net = cifar_resnet(14).checkpoint_activations()
    kept = {stage.stage: stage.activation_bytes for stage in size_of(net, 32).stages}
    assert kept["layer1"] == maps_bytes(16, 32)  # the first block's input is the stem's
    assert kept["layer2"] == maps_bytes(16, 32) + maps_bytes(32, 16)
    assert net.layer1.activation_checkpointing


def test_activations_are_counted_where_one_map_has_one_place() -> None:
    with torch.device("meta"):
        size = size_of(resnet(18), 32)
    assert size.stages[-2].output == (1, 1)
    assert size.stages[-2].activation_bytes == 8 * maps_bytes(512, 1) + 5 * 512 * 8 + maps_bytes(512, 1)


def open_everywhere(net: ResNet) -> ResNet:
    """Every path lets gradients through: positive weights, and means in the place of maxima."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    if "maxpool" in dict(net.named_children()):
        net.maxpool = nn.AvgPool2d(net.maxpool.kernel_size, net.maxpool.stride, net.maxpool.padding)
    return net.double().eval()


def extent(net: ResNet, last: str, input_size: int) -> tuple[int, int]:
    """Pixels a side between the outermost ones that move the middle place of the output of ``last``."""
    x = torch.ones(1, 3, input_size, input_size, dtype=torch.float64, requires_grad=True)
    out: Any = x
    for name, child in net.named_children():
        out = child(out)
        if name == last:
            break
    middle = out.shape[-1] // 2
    (gradient,) = torch.autograd.grad(out[0, :, middle, middle].sum(), x)
    rows, columns = torch.nonzero(gradient[0].abs().sum(0), as_tuple=True)
    assert 0 < int(rows.min()) <= int(rows.max()) < input_size - 1
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(
    ("make", "input_size"),
    [
        (lambda: cifar_resnet(8, width=4, shortcut="none"), 128),
        (lambda: cifar_resnet(14, width=4), 192),
        (lambda: cifar_resnet(20, width=4, bottleneck=True), 128),
        (lambda: cifar_resnet(20, width=4, bottleneck=True, stride_on="3x3"), 128),
        (lambda: resnet(18, width=4), 640),
        (lambda: resnet(50, width=4), 640),
        (lambda: resnet(50, width=4, stride_on="3x3"), 640),
    ],
    ids=["plain", "basic", "bottleneck", "bottleneck v1.5", "resnet18", "resnet50", "resnet50 v1.5"],
)
def test_a_receptive_field_is_as_far_as_gradients_reach(make: Any, input_size: int) -> None:
    net = open_everywhere(make())
    modules = ["conv1", *(name for name, _ in net.named_children() if name.startswith("layer"))]
    stages = size_of(net, input_size).stages
    for module, stage in zip(modules, stages[:-1], strict=True):
        assert extent(net, module, input_size) == (stage.receptive_field,) * 2, stage.stage


def test_the_classifier_sees_the_whole_last_map() -> None:
    stages = size_of(*built("50-B")).stages
    assert stages[-2].receptive_field == 483
    assert stages[-1].receptive_field == 483 + 6 * 32
