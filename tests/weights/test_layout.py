"""Which network tensors with torchvision's names are of, and what is said where they are of none."""

from collections.abc import Callable

import pytest
import torch
from tests.weights.networks import photo_net, require_equal, small_net, stirred

from reslab.core.errors import DataError
from reslab.models.architecture import Architecture, Kind, StrideOn
from reslab.models.resnet import blueprint
from reslab.weights.layout import Tensors, fitted, identify

NARROW = photo_net()


def names_of(architecture: Architecture) -> Tensors:
    """Tensors without values."""
    return dict(blueprint(architecture).state_dict())


@pytest.mark.parametrize("shortcut", ["B", "C"])
@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_each_network_of_table_1_is_identified(depth: int, shortcut: Kind) -> None:
    architecture = photo_net(depth, shortcut=shortcut, classes=7)
    assert identify(names_of(architecture), "weights", stride_on="3x3") == architecture


@pytest.mark.parametrize("stride_on", ["1x1", "3x3"])
def test_where_bottlenecks_stride_is_what_the_importer_says(stride_on: StrideOn) -> None:
    tensors = names_of(photo_net(50, width=64, classes=1000))
    found = identify(tensors, "weights", stride_on=stride_on)
    assert (found.stride_on, found.width, found.classes, found.pool) == (stride_on, 64, 1000, "pad1")
    assert identify(names_of(NARROW), "weights", stride_on=stride_on).stride_on is None


def with_more(depth: int, **tensors: tuple[int, ...]) -> Tensors:
    return names_of(photo_net(depth)) | {name.replace("__", "."): torch.ones(shape) for name, shape in tensors.items()}


def renamed(depth: int, old: str, new: str) -> Tensors:
    return {name.replace(old, new): tensor for name, tensor in names_of(photo_net(depth)).items()}


def only(*parts: str) -> Tensors:
    """ResNet-50 without all blocks that are not in ``parts``."""
    tensors = names_of(photo_net(50))
    return {name: t for name, t in tensors.items() if not name.startswith("layer") or name.startswith(parts)}


VIT = {
    "cls_token": torch.ones(1, 1, 8),
    "patch_embed.proj.weight": torch.ones(8, 3, 4, 4),
    "head.weight": torch.ones(5, 8),
}
ALEXNET = {"features.0.weight": torch.ones(8, 3, 11, 11), "classifier.6.weight": torch.ones(5, 8)}
RESNET_26 = tuple(f"layer{stage}.{block}." for stage in range(1, 5) for block in range(2))


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (
            with_more(50, layer1__0__conv2__weight=(8, 2, 3, 3)),
            "has grouped convolutions (ResNeXt), which no network of",
        ),
        (with_more(50, layer1__0__conv2__weight=(8, 8, 3, 3)), "has wider bottlenecks (Wide ResNet), which no network"),
        (with_more(50, layer1__0__downsample__2__weight=(1,)), "has average pooling in the shortcuts (ResNet-D)"),
        (renamed(50, "conv1.weight", "conv1.0.weight"), "has a stem of three 3x3 convolutions (ResNet-C or D)"),
        (with_more(50, layer1__0__se__fc1__weight=(1, 8)), "has squeeze-and-excitation, which no network of the paper"),
        (VIT, "has another kind of network, which no network of the paper has"),
        (ALEXNET, "has another kind of network"),
        (only(*RESNET_26), "has [2, 2, 2, 2] bottleneck blocks in its stages, as no network of Table 1 has"),
        (only("layer1.", "layer2."), "has [3, 4] bottleneck blocks in its stages"),
        (only(), "has [] basic blocks in its stages"),
        (
            renamed(18, "fc.", "head."),
            "has no conv1.weight and fc.weight as torchvision's ResNets have (it has conv1.weight,",
        ),
        (with_more(18, conv1__weight=(4,)), "has no conv1.weight and fc.weight"),
        ({"a\nb": torch.ones(1), "c" * 10**6: torch.ones(1)}, r"(it has a\nb, cccc"),
    ],
    ids=lambda value: value[4:24] if isinstance(value, str) else "",
)
def test_other_networks_are_refused_by_name(tensors: Tensors, says: str) -> None:
    with pytest.raises(DataError) as caught:
        identify(tensors, "weights.pth", stride_on="3x3")
    line = str(caught.value)
    assert line.startswith("weights.pth ")
    assert line.isprintable()
    assert len(line) < 300
    assert says in line


@pytest.mark.parametrize("architecture", [NARROW, photo_net(50, shortcut="C"), small_net(14)])
def test_what_fits_is_given_back_in_the_networks_order(architecture: Architecture) -> None:
    tensors = stirred(architecture)
    found = fitted(dict(reversed(tensors.items())), architecture, "weights")
    require_equal(found, tensors)
    assert list(found) == list(tensors)


def test_counters_of_batches_may_lack_or_be_of_another_type() -> None:
    tensors = stirred(NARROW)
    older = {name: tensor for name, tensor in tensors.items() if "tracked" not in name}
    found = fitted(older, NARROW, "weights")
    assert {int(tensor) for name, tensor in found.items() if "tracked" in name} == {0}
    floats = {name: tensor.float() for name, tensor in tensors.items()}
    require_equal(fitted(floats, NARROW, "weights"), tensors)


def without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.startswith(names)}


def reshaped(shape: Callable[[torch.Tensor], torch.Tensor], *names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {n: shape(t) if n.startswith(names) else t for n, t in tensors.items()}


def cut_short(tensors: Tensors) -> Tensors:
    return {name: tensors[name] for name in list(tensors)[:60]}


@pytest.mark.parametrize(
    ("change", "says", "cause"),
    [
        (without("bn1.bias"), "missing: bn1.bias", "a shallower network, or a file that was cut short"),
        (
            cut_short,
            "missing: layer3.0.conv1.weight, layer3.0.bn1.weight, layer3.0.bn1.bias and 49 more",
            "a shallower network, or a file that was cut short",
        ),
        (without("layer2.0.downsample"), "missing: layer2.0.downsample.0.weight, ", "another shortcut option"),
        (
            lambda tensors: {**tensors, **{f"layer5.0.conv{n}.weight": torch.ones(1) for n in range(9)}},
            "left over: layer5.0.conv0.weight, layer5.0.conv1.weight, layer5.0.conv2.weight and 6 more",
            "a deeper network, or one with more parts",
        ),
        (
            reshaped(lambda t: t[:3], "fc."),
            "misshapen: fc.weight (3, 32) instead of (10, 32), fc.bias (3,) instead of (10,)",
            "another number of classes",
        ),
        (without("fc."), "missing: fc.weight, fc.bias", "a classifier of another name"),
        (
            reshaped(lambda t: t[..., :3, :3], "conv1."),
            "misshapen: conv1.weight (4, 3, 3, 3) instead of (4, 3, 7, 7)",
            "another stem: ImageNet's is 7x7, CIFAR's 3x3",
        ),
        (lambda _tensors: names_of(photo_net(width=8)), "bn1.bias (8,) instead of (4,) and 98 more", "another width"),
        (
            lambda _tensors: names_of(photo_net(50)),
            "left over: layer1.0.conv3.weight, ",
            "other blocks, another depth, or another library's names",
        ),
    ],
    ids=lambda value: value.replace(" ", "-")[:24] if isinstance(value, str) else "",
)
def test_the_first_three_of_each_sort_are_named_with_the_likely_cause(
    change: Callable[[Tensors], Tensors], says: str, cause: str
) -> None:
    with pytest.raises(DataError) as caught:
        fitted(change(stirred(NARROW)), NARROW, "weights.pth")
    line = str(caught.value)
    assert line.startswith("weights.pth has the weights of another architecture than resnet18: ")
    assert says in line
    assert line.endswith(f"(likely cause: {cause})")
    assert line.isprintable()


def test_names_that_are_left_over_are_shown_short_and_on_one_line() -> None:
    more = {"a\nb\x1b[1m": torch.ones(1), "c" * 10**6: torch.ones(1)}
    with pytest.raises(DataError, match=r"left over: a\\nb\\x1b\[1m, c{100} \(") as caught:
        fitted(stirred(NARROW) | more, NARROW, "weights.pth")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool])
def test_weights_that_are_whole_numbers_are_refused(dtype: torch.dtype) -> None:
    tensors = stirred(NARROW)
    tensors["layer1.0.conv1.weight"] = tensors["layer1.0.conv1.weight"].to(dtype)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(DataError, match=rf"^weights\.pth: layer1\.0\.conv1\.weight holds {name}, not floats$"):
        fitted(tensors, NARROW, "weights.pth")
