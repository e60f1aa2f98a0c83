import ast
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import reslab.models.blocks
from reslab.core.errors import SpecError
from reslab.models.architecture import Kind
from reslab.models.blocks import BasicBlock, Block, Bottleneck
from reslab.models.init import initialise
from reslab.models.network import ResNet
from reslab.models.resnet import cifar_resnet, cifar_stem, imagenet_stem, resnet
from reslab.models.shortcuts import ZeroPad

ROOM = Path(reslab.models.blocks.__file__).parent
KINDS: tuple[Kind, ...] = ("none", "A", "B", "C")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stir(net: nn.Module, seed: int = 0) -> None:
    source = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=source)
            module.bias.data.normal_(0, 0.3, generator=source)
            module.running_mean.normal_(0, 0.3, generator=source)
            module.running_var.uniform_(0.5, 2, generator=source)
        elif isinstance(module, nn.Linear):
            module.bias.data.normal_(generator=source)


class Functional:
    """The network of the paper, from its state dict, written with functions only."""

    def __init__(self, state: dict[str, Tensor], kind: Kind, strides: dict[str, int], *, training: bool) -> None:
        self.state, self.kind, self.strides, self.training = state, kind, strides, training

    def normal(self, x: Tensor, name: str) -> Tensor:
        part = {key: self.state[f"{name}.{key}"].clone() for key in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, **part, training=self.training, momentum=0.1, eps=1e-5)

    def conv(self, x: Tensor, name: str, stride: int) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def block(self, x: Tensor, name: str) -> Tensor:
        count = 3 if f"{name}.conv3.weight" in self.state else 2
        fx, stride = x, 1
        for layer in range(1, count + 1):
            own = self.strides.get(f"{name}.conv{layer}", 1)
            stride *= own
            fx = self.normal(self.conv(fx, f"{name}.conv{layer}", own), f"{name}.bn{layer}")
            if layer < count:
                fx = fx.clamp(min=0)
        return (fx + self.shortcut(x, fx, stride, name)).clamp(min=0)

    def shortcut(self, x: Tensor, fx: Tensor, stride: int, name: str) -> Tensor:
        if self.kind == "none":
            return torch.zeros_like(fx)
        if f"{name}.downsample.0.weight" in self.state:
            return self.normal(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        out = torch.zeros_like(fx)
        out[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
        return out

    def __call__(self, x: Tensor, *, pooled: bool, stem_stride: int) -> Tensor:
        x = self.normal(self.conv(x, "conv1", stem_stride), "bn1").clamp(min=0)
        if pooled:
            x = F.max_pool2d(x, 3, 2, 1)
        names = sorted({".".join(key.split(".")[:2]) for key in self.state if key.startswith("layer")})
        for name in names:
            x = self.block(x, name)
        return F.linear(x.mean((2, 3)), self.state["fc.weight"], self.state["fc.bias"])


def small(block: type[Block], kind: Kind, stride_on: Any, *, imagenet: bool) -> ResNet:
    with torch.device("meta"):
        stem = imagenet_stem(4, "pad1") if imagenet else cifar_stem(4)
        net = ResNet(stem, block, (2, 1, 2), 4, 5, kind, stride_on)
    initialise(net)
    stir(net)
    return net


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("block", "stride_on"), [(BasicBlock, "1x1"), (Bottleneck, "1x1"), (Bottleneck, "3x3")], ids=str
)
def test_a_network_computes_what_the_paper_says(block: type[Block], stride_on: str, kind: Kind, training: bool) -> None:  # noqa: FBT001
    for imagenet in (False, True):
        net = small(block, kind, stride_on, imagenet=imagenet).train(training)
        layer = "conv2" if (block, stride_on) == (Bottleneck, "3x3") else "conv1"
        strides = {f"layer{stage}.0.{layer}": 2 for stage in (2, 3)}
        x = noise(3, 3, 37, 37) if imagenet else noise(3, 3, 13, 13)
        state = {name: value.clone() for name, value in net.state_dict().items()}
        twin = Functional(state, kind, strides, training=training)
        expected = twin(x, pooled=imagenet, stem_stride=2 if imagenet else 1)
        with torch.no_grad():
            assert torch.allclose(net(x), expected, atol=1e-5, rtol=1e-5)
        assert expected.std() > 0.01


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_the_rectified_sum_of_branch_and_shortcut(block: type[Block], kind: Kind) -> None:
    made = initialise(block(4, 3, 2, kind)).eval()
    stir(made)
    x = noise(2, 4, 6, 6)
    with torch.no_grad():
        fx = made.branch(x)
        carried = torch.zeros_like(fx) if made.downsample is None else made.downsample(x)
        expected = torch.where(fx + carried > 0, fx + carried, torch.zeros(()))
        assert torch.equal(made(x), expected)
    assert (made.downsample is None) == (kind == "none")


def test_an_identity_shortcut_of_a_silent_branch_returns_what_came_in() -> None:
    block = initialise(BasicBlock(3, 3, shortcut="B")).eval()
    block.bn2.weight.data.zero_()
    x = noise(2, 3, 5, 5)
    with torch.no_grad():
        assert torch.equal(block(x.abs()), x.abs())
        assert torch.equal(block(x), x.clamp(min=0))


def test_a_block_does_not_write_into_its_input() -> None:
    for block, kind in itertools.product((BasicBlock, Bottleneck), KINDS):
        made = initialise(block(4, 4 // block.expansion, 1, kind)).train()
        x = noise(2, 4, 5, 5)
        before = x.clone()
        with torch.no_grad():
            made(x)
        assert torch.equal(x, before)


def test_option_a_takes_every_second_pixel_and_appends_zero_channels_behind() -> None:
    x = torch.arange(1.0, 51.0).reshape(1, 2, 5, 5)
    out = ZeroPad(2, 3)(x)
    assert out.shape == (1, 5, 3, 3)
    assert out[0, 0].tolist() == [[1, 3, 5], [11, 13, 15], [21, 23, 25]]
    assert out[0, 1].tolist() == [[26, 28, 30], [36, 38, 40], [46, 48, 50]]
    assert out[0, 2:].count_nonzero() == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("A", ["Identity", "ZeroPad"]), ("B", ["Identity", "Projection"]), ("C", ["Projection", "Projection"])],
)
def test_each_option_carries_equal_and_changed_dimensions_its_way(kind: Kind, expected: list[str]) -> None:
    shortcuts = [BasicBlock(4, 4, 1, kind).downsample, BasicBlock(4, 8, 2, kind).downsample]
    assert [type(shortcut).__name__ for shortcut in shortcuts] == expected


def torchvision_names(blocks: tuple[int, ...]) -> list[str]:
    names = ["conv1.weight", "bn1.weight", "bn1.bias"]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            for layer in (1, 2, 3):
                names += [f"{place}.conv{layer}.weight", f"{place}.bn{layer}.weight", f"{place}.bn{layer}.bias"]
            if block == 0:
                names += [f"{place}.downsample.{part}" for part in ("0.weight", "1.weight", "1.bias")]
    return [*names, "fc.weight", "fc.bias"]


def test_the_parameters_of_resnet_50_have_torchvisions_names_and_order() -> None:
    with torch.device("meta"):
        net = resnet(50)
    names = [name for name, _ in net.named_parameters()]
    assert names == torchvision_names((3, 4, 6, 3))
    assert len(names) == 161


def test_the_state_of_resnet_50_adds_only_running_statistics() -> None:
    with torch.device("meta"):
        net = resnet(50)
    norms = [name.removesuffix(".bias") for name in torchvision_names((3, 4, 6, 3)) if name.endswith(".bias")]
    kept = ("running_mean", "running_var", "num_batches_tracked")
    statistics = {f"{norm}.{key}" for norm in norms[:-1] for key in kept}
    assert net.state_dict().keys() - dict(net.named_parameters()).keys() == statistics
    assert len(statistics) == 159


@pytest.mark.parametrize("depth", [18, 34])
def test_plain_and_option_a_have_the_same_parameters(depth: int) -> None:
    with torch.device("meta"):
        plain, residual = resnet(depth, shortcut="none"), resnet(depth, shortcut="A")
    shapes = [[(name, p.shape) for name, p in net.named_parameters()] for net in (plain, residual)]
    assert shapes[0] == shapes[1]
    assert cifar_resnet(20).state_dict().keys() == cifar_resnet(20, shortcut="none").state_dict().keys()


def test_plain_and_option_a_start_from_the_same_weights() -> None:
    plain, residual = cifar_resnet(8, shortcut="none"), cifar_resnet(8, shortcut="A")
    pairs = zip(plain.parameters(), residual.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("depth", [18, 50])
def test_every_rectifier_is_a_module_of_its_own(depth: int) -> None:
    with torch.device("meta"):
        net = resnet(depth)
    blocks = sum(isinstance(module, Block) for module in net.modules())
    calls: list[nn.Module] = []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda called, _inputs, _output: calls.append(called))
    net(torch.empty(1, 3, 64, 64, device="meta"))
    assert len(calls) == len(set(calls)) == 1 + blocks * (2 if depth == 18 else 3)


def naive_pool(x: Tensor, start: int) -> Tensor:
    _, channels, height, width = x.shape
    tops = range(start, height + start, 2)
    out = torch.empty(1, channels, len(tops), len(tops))
    for channel in range(channels):
        for (i, top), (j, left) in itertools.product(enumerate(tops), enumerate(range(start, width + start, 2))):
            window = x[0, channel, max(top, 0) : top + 3, max(left, 0) : left + 3]
            out[0, channel, i, j] = window.max()
    return out


@pytest.mark.parametrize(("pool", "start"), [("pad1", -1), ("caffe", 0)])
def test_pooling_windows_start_where_the_name_says(pool: Any, start: int) -> None:
    maxpool = imagenet_stem(2, pool)["maxpool"]
    x = noise(1, 2, 8, 8) - 5
    expected = naive_pool(x, start)
    assert torch.equal(maxpool(x), expected)


@pytest.mark.parametrize("pool", ["pad1", "caffe"])
def test_both_ways_of_pooling_give_56_pixels_from_112(pool: Any) -> None:
    assert imagenet_stem(1, pool)["maxpool"](torch.empty(1, 1, 112, 112)).shape == (1, 1, 56, 56)


def test_the_two_ways_of_pooling_differ_in_values() -> None:
    x = noise(1, 1, 8, 8)
    assert not torch.equal(imagenet_stem(1, "pad1")["maxpool"](x), imagenet_stem(1, "caffe")["maxpool"](x))


@pytest.mark.parametrize(
    ("build", "depth", "size", "classes"), [(cifar_resnet, 8, 28, 7), (resnet, 18, 65, 6)], ids=["cifar", "imagenet"]
)
def test_a_network_takes_pictures_of_other_sizes(build: Any, depth: int, size: int, classes: int) -> None:
    net = build(depth, width=4, classes=classes)
    assert net(noise(2, 3, size, size)).shape == (2, classes)


def test_convolutions_start_normal_with_the_deviation_of_he() -> None:
    net = resnet(50, generator=torch.Generator().manual_seed(4))
    checked = 0
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 9_000:
            expected = (2 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.04)
            assert abs(module.weight.mean().item()) < 5 * expected / module.weight.numel() ** 0.5
            assert module.weight.abs().max() > 3 * expected
            assert module.bias is None
            checked += 1
    assert checked == 52


def test_the_classifier_starts_uniform_within_its_bound_and_without_bias() -> None:
    fc = cifar_resnet(8, classes=1000).fc
    bound = 1 / 64**0.5
    assert fc.weight.abs().max() <= bound
    assert fc.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert fc.bias.count_nonzero() == 0


@pytest.mark.parametrize(("build", "depth"), [(cifar_resnet, 20), (resnet, 50)], ids=["basic", "bottleneck"])
def test_batch_normalisation_starts_as_the_identity_and_no_scale_is_zero(build: Any, depth: int) -> None:
    net = build(depth, shortcut="B", width=8)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) >= 21
    for norm in norms:
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()
        assert (norm.running_mean == 0).all()
        assert (norm.running_var == 1).all()
        assert norm.num_batches_tracked == 0


def test_building_never_draws_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    cifar_resnet(8)
    resnet(18, width=4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    first, again, other = (cifar_resnet(8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)


def test_no_generator_means_seed_zero_whatever_the_global_seed() -> None:
    torch.manual_seed(99)
    by_default = cifar_resnet(8)
    seeded = cifar_resnet(8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(by_default.fc.weight, seeded.fc.weight)


def test_a_shared_generator_moves_on_between_networks() -> None:
    source = torch.Generator().manual_seed(0)
    first, second = cifar_resnet(8, generator=source), cifar_resnet(8, generator=source)
    assert not torch.equal(first.conv1.weight, second.conv1.weight)


def test_no_parameter_stays_on_the_meta_device() -> None:
    assert {value.device.type for value in cifar_resnet(8).state_dict().values()} == {"cpu"}


@pytest.mark.parametrize(("depth", "nearest"), [(21, 20), (24, 26), (56 + 1, 56), (7, 8), (0, 8), (-4, 8), (2, 8)])
def test_a_cifar_depth_that_is_not_6n_plus_2_is_refused_with_the_nearest(depth: int, nearest: int) -> None:
    with pytest.raises(SpecError, match=rf"has 6n\+2 layers .* not {depth}; the nearest is {nearest}$"):
        cifar_resnet(depth)


def test_an_imagenet_depth_that_table_1_lacks_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no ImageNet network of 51 layers .*choose from: 18, 34, 50, 101, 152"):
        resnet(51)


def test_the_shortcut_is_added_in_one_place() -> None:
    assert (ROOM / "blocks.py").read_text(encoding="utf-8").count("+ self.downsample(x)") == 1
    others = [path for path in ROOM.glob("*.py") if path.name != "blocks.py"]
    assert not any("self.downsample" in path.read_text(encoding="utf-8") for path in others)


def test_only_init_draws_initial_weights() -> None:
    drawing = {
        path.name
        for path in ROOM.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr in {"init", "normal_", "uniform_", "zero_", "fill_"})
    }
    assert drawing == {"init.py"}
