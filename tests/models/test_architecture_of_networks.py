"""What a network is, grid and bounds; what a user may do with one."""

import copy
import itertools
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.errors import SpecError
from reslab.core.experiment import Init
from reslab.models import named
from reslab.models.architecture import Architecture
from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.network import ResNet
from reslab.models.resnet import build, cifar_resnet, resnet
from reslab.models.shortcuts import projections


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


GRID = [
    *itertools.product((18, 34), ("none", "A", "B", "C"), ("1x1",), ("pad1", "caffe")),
    *itertools.product((50, 101, 152), ("none", "A", "B", "C"), ("1x1", "3x3"), ("pad1", "caffe")),
]


def pooled(side: int, pool: str) -> int:
    """Windows of 3 at every second pixel: from -1 while they begin inside, or from 0 until the last pixel is in one."""
    return len(range(-1, side - 1, 2)) if pool == "pad1" else len(range(0, side - 1, 2))


@pytest.mark.parametrize(("depth", "shortcut", "stride_on", "pool"), GRID)
def test_every_network_of_the_grid_has_maps_of_the_sizes_that_its_strides_say(
    depth: int, shortcut: Any, stride_on: Any, pool: Any
) -> None:
    net = resnet(depth, shortcut=shortcut, stride_on=stride_on, pool=pool, width=8, classes=7)
    maps = net.features(noise(2, 3, 33, 79))
    sides = [pooled(17, pool), pooled(40, pool)]
    for stage, found in enumerate(maps.values()):
        assert found.shape == (2, 8 * (1 if depth < 50 else 4) * 2**stage, *sides)
        sides = [-(-side // 2) for side in sides]
    assert list(maps) == ["conv2_x", "conv3_x", "conv4_x", "conv5_x"]
    assert net.architecture is not None
    assert net.architecture.name == f"{'plain' if shortcut == 'none' else 'resnet'}{depth}"


@pytest.mark.parametrize(("block", "period"), [(False, 6), (True, 9)])
@pytest.mark.parametrize("shortcut", ["none", "A", "B", "C"])
@pytest.mark.parametrize("n", [1, 3])
def test_cifar_networks_have_6n_plus_2_layers_or_9n_plus_2_of_bottlenecks(
    block: Any, period: int, shortcut: Any, n: int
) -> None:
    with torch.device("meta"):
        net = cifar_resnet(period * n + 2, shortcut=shortcut, bottleneck=block)
    layers = [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum("downsample" not in name for name in layers) == period * n + 2
    expected = {"none": 0, "A": 0, "B": 3 if block else 2, "C": 3 * n}[shortcut]
    assert projections(net) == expected
    with torch.device("meta"):
        maps = net.features(torch.empty(1, 3, 32, 32))
    scale = 4 if block else 1
    assert [tuple(found.shape[1:]) for found in maps.values()] == [
        (16 * scale, 32, 32),
        (32 * scale, 16, 16),
        (64 * scale, 8, 8),
    ]


def test_bottlenecks_have_option_b_by_default_and_basic_blocks_of_cifar_a() -> None:
    with torch.device("meta"):
        kinds = [cifar_resnet(20), cifar_resnet(29, bottleneck=True), named.cifar_plain(29, bottleneck=True)]
        assert [net.architecture and net.architecture.shortcut for net in kinds] == ["A", "B", "none"]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: resnet(51), "no ImageNet network of 51 layers in Table 1 (choose from: 18, 34, 50, 101, 152)"),
        (lambda: cifar_resnet(21), "a CIFAR network has 6n+2 layers (8, 14, 20, ...), not 21; the nearest is 20"),
        (lambda: cifar_resnet(2), "a CIFAR network has 6n+2 layers (8, 14, 20, ...), not 2; the nearest is 8"),
        (
            lambda: cifar_resnet(28, bottleneck=True),
            "a CIFAR network of bottlenecks has 9n+2 layers (11, 20, 29, ...), not 28; the nearest is 29",
        ),
        (lambda: resnet(18, width=0), "width must be positive and at most 8,192, not 0"),
        (lambda: resnet(18, width=4.5), "width must be positive and at most 8,192, not 4.5"),
        (lambda: resnet(18, pool="max"), "unknown pool 'max' (choose from: pad1, caffe)"),
        (lambda: resnet(50, stride_on="2x2"), "unknown stride_on '2x2' (choose from: 1x1, 3x3)"),
        (lambda: cifar_resnet(8, shortcut="b"), "unknown shortcut 'b' (choose from: none, A, B, C)"),
        (lambda: cifar_resnet(8).replace_head(0), "classes must be positive, not 0"),
        (lambda: resnet(18, classes=-1), "classes must be positive and at most 1,000,000, not -1"),
        (lambda: resnet(18, bn_eps=0.0), "bn_eps must be positive and at most 1, not 0.0"),
    ],
)
def test_a_network_that_cannot_be_is_one_line(make: Any, line: str) -> None:
    with pytest.raises(SpecError) as refused:
        make()
    assert str(refused.value) == line


@pytest.mark.parametrize(
    ("net", "smallest"), [(lambda: resnet(18, width=8, pool="caffe"), 32), (lambda: cifar_resnet(8), 4)]
)
def test_pictures_below_the_total_stride_are_refused_and_the_smallest_size_is_named(net: Any, smallest: int) -> None:
    made: ResNet = net().eval()
    assert made.smallest_input == smallest
    for use in (made, made.features):
        use(noise(1, 3, smallest, smallest))
        with pytest.raises(SpecError, match=rf"^{smallest}x{smallest - 1} pixels .* takes {smallest}x{smallest} or"):
            use(noise(1, 3, smallest - 1, smallest))


def test_figure_5s_blocks_have_the_weights_that_the_paper_compares() -> None:
    def weights(module: nn.Module) -> int:
        return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv2d))

    with torch.device("meta"):
        assert weights(BasicBlock(64, 64, shortcut="B")) == 73_728
        assert weights(Bottleneck(256, 64, shortcut="B")) == 69_632
        assert weights(Bottleneck(256, 64, shortcut="C")) == 135_168


def test_named_functions_are_the_networks_of_their_names() -> None:
    with torch.device("meta"):
        for kind, depth in itertools.product(("plain", "resnet"), (18, 34, 50, 101, 152)):
            net = getattr(named, f"{kind}{depth}")(pool="caffe", classes=5)
            assert (
                net.architecture
                == resnet(depth, shortcut="none" if kind == "plain" else "B", pool="caffe", classes=5).architecture
            )
            stated = getattr(named, f"{kind}{depth}").__doc__.split(": ")[1].split(" parameters")[0]
            whole = getattr(named, f"{kind}{depth}")()
            assert f"{sum(parameter.numel() for parameter in whole.parameters()):,}" == stated


def test_two_architectures_are_told_apart_by_what_differs() -> None:
    one = resnet(50, width=8).architecture
    other = resnet(50, width=8, stride_on="3x3", bn_eps=1e-3).architecture
    assert one is not None
    assert other is not None
    assert one.against(other) == "resnet50 (stride on 1x1, bn eps 1e-05)"
    assert other.against(one) == "resnet50 (stride on 3x3, bn eps 0.001)"
    assert resnet(18, stride_on="3x3", width=8).architecture == resnet(18, width=8).architecture


def test_an_architecture_that_contradicts_itself_is_refused() -> None:
    good = resnet(50, width=8).architecture
    assert good is not None
    fields = {name: getattr(good, name) for name in Architecture.__dataclass_fields__}
    for wrong in (
        {"stride_on": None},
        {"pool": None},
        {"block": "basic"},
        {"depth": 34},
        {"family": "cifar", "depth": 29},
    ):
        with pytest.raises(SpecError):
            Architecture(**{**fields, **wrong})


def test_bn_eps_reaches_every_normalisation() -> None:
    net = cifar_resnet(8, shortcut="C", bn_eps=0.5)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.eps for m in norms} == {0.5}
    assert len(norms) == 1 + 6 + 3


def test_features_are_what_the_network_passes_on() -> None:
    net = cifar_resnet(14).eval()
    x = noise(2, 3, 17, 19)
    with torch.no_grad():
        maps = net.features(x)
        assert torch.equal(net.fc(maps["layer3"].mean(dim=(2, 3))), net(x)) or torch.allclose(
            net.fc(maps["layer3"].mean(dim=(2, 3))), net(x), rtol=1e-5, atol=1e-6
        )
    assert list(maps) == ["layer1", "layer2", "layer3"]


def test_a_new_head_is_drawn_by_the_rule_that_is_asked_for() -> None:
    net = cifar_resnet(8).replace_head(5_000, torch.Generator().manual_seed(5), Init(classifier="he"))
    drawn = torch.empty(5_000, 64).normal_(0, math.sqrt(2 / 64), generator=torch.Generator().manual_seed(5))
    assert torch.equal(net.fc.weight, drawn)
    assert net.fc.bias.count_nonzero() == 0


def test_a_new_head_changes_the_outputs_and_nothing_else() -> None:
    net = cifar_resnet(8).eval()
    before = copy.deepcopy(net.state_dict())
    assert net.replace_head(3, torch.Generator().manual_seed(5)) is net
    again = cifar_resnet(8).replace_head(3, torch.Generator().manual_seed(5))
    assert net(noise(2, 3, 8, 8)).shape == (2, 3)
    assert torch.equal(net.fc.weight, again.fc.weight)
    assert net.fc.weight.abs().max() <= 1 / 8  # 64 inputs
    assert net.fc.bias.count_nonzero() == 0
    assert net.architecture is not None
    assert net.architecture.classes == 3
    assert build(net.architecture).state_dict().keys() == before.keys()
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("fc."))


def test_frozen_parts_learn_neither_weights_nor_statistics() -> None:
    net = cifar_resnet(8, shortcut="B").train()
    assert net.freeze("stem").freeze("layer2") is net
    before = copy.deepcopy(net.state_dict())
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.5)
    net.train()
    F.cross_entropy(net(noise(4, 3, 8, 8)), torch.tensor([0, 1, 2, 3])).backward()
    optimizer.step()
    kept = {name for name, value in net.state_dict().items() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.split(".")[0] in ("conv1", "bn1", "layer2")}
    assert net.frozen == ("stem", "layer2")
    with pytest.raises(SpecError, match=r"unknown part of this network 'layer4'.* \(choose from: stem, layer1, layer2"):
        net.freeze("layer4")


def one_step(net: ResNet, precision: torch.dtype | None) -> dict[str, Tensor]:
    net.train()
    x, labels = noise(6, 3, 12, 12), torch.arange(6) % 10
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        F.cross_entropy(net(x), labels).backward()
    found = {f"grad {name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return {**found, **{name: value.clone() for name, value in net.state_dict().items()}}


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("make", [lambda: cifar_resnet(14, shortcut="B"), lambda: cifar_resnet(20, bottleneck=True)])
def test_activation_checkpointing_changes_no_bit_of_gradients_or_statistics(make: Any, precision: Any) -> None:
    plain = one_step(make(), precision)
    kept = one_step(make().checkpoint_activations(), precision)
    assert plain.keys() == kept.keys()
    assert [name for name in plain if not torch.equal(plain[name], kept[name])] == []
    assert plain["layer1.0.bn1.num_batches_tracked"] == 1


def test_a_graph_that_is_kept_is_computed_again_at_each_backward_pass() -> None:
    found = []
    for on in (False, True):
        net = cifar_resnet(8).checkpoint_activations(on=on).train()
        loss = net(noise(4, 3, 8, 8)).square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        found.append([*(p.grad for p in net.parameters()), net.layer1[0].bn1.running_mean])
    assert all(torch.equal(plain, kept) for plain, kept in zip(*found, strict=True))


def saved_bytes(net: ResNet) -> int:
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.train()(noise(8, 3, 32, 32)).sum()
    return sum(seen.values())


def test_activation_checkpointing_keeps_far_less() -> None:
    assert saved_bytes(cifar_resnet(32).checkpoint_activations()) < saved_bytes(cifar_resnet(32)) / 3


def test_without_gradients_checkpointing_does_nothing() -> None:
    net, twin = cifar_resnet(8).checkpoint_activations().train(), cifar_resnet(8).train()
    with torch.no_grad():
        assert torch.equal(net(noise(2, 3, 8, 8)), twin(noise(2, 3, 8, 8)))
    assert torch.equal(net.state_dict()["bn1.running_mean"], twin.state_dict()["bn1.running_mean"])
    assert net.checkpoint_activations(on=False).train()(noise(2, 3, 8, 8)).requires_grad


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.sampled_from(["A", "B", "C", "none"]), st.booleans())
def test_a_traced_network_computes_the_same(n: int, shortcut: Any, bottleneck: Any) -> None:
    net = cifar_resnet((9 if bottleneck else 6) * n + 2, shortcut=shortcut, bottleneck=bottleneck, width=8).eval()
    x = noise(1, 3, 9, 8)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(net)(x), net(x))


STEP_OF_1202 = """
import resource, torch, reslab
from torch.nn import functional as F
net = reslab.cifar_resnet(1202).checkpoint_activations().train().to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
pictures = torch.randn(128, 3, 32, 32).to(memory_format=torch.channels_last)
F.cross_entropy(net(pictures), torch.arange(128) % 10).backward()
optimizer.step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_1202_layers_train_on_128_pictures_at_once_within_8_gb() -> None:
    done = subprocess.run([sys.executable, "-c", STEP_OF_1202], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8e9
