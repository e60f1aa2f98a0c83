import pytest
import torch
from torch import Tensor

from reslab.analysis.responses import layers, responses
from reslab.models.network import ResNet
from reslab.models.resnet import cifar_resnet, resnet


def network(depth: int = 8, **settings: object) -> ResNet:
    net = cifar_resnet(depth, generator=torch.Generator().manual_seed(2), **settings)  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(3)
    for name, tensor in net.state_dict().items():
        if "bn" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.5)
    return net


def images(count: int = 12) -> Tensor:
    return 50 * torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def by_hand(net: ResNet, x: Tensor) -> list[float]:
    """The same forward pass written out, block by block."""
    found = []
    with torch.inference_mode():
        out = net.bn1(net.conv1(x))
        found.append(out.std(correction=0).item())
        out = out.relu()
        for stage in (net.layer1, net.layer2, net.layer3):
            for block in stage:
                inner = block.bn1(block.conv1(out))
                found.append(inner.std(correction=0).item())
                inner = block.bn2(block.conv2(inner.relu()))
                found.append(inner.std(correction=0).item())
                out = (inner if block.downsample is None else inner + block.downsample(out)).relu()
    return found


@pytest.mark.parametrize("shortcut", ["A", "none"])
def test_responses_are_the_spread_after_bn_and_before_relu_or_addition(shortcut: str) -> None:
    net = network(shortcut=shortcut).eval()
    found = responses(net, images().split(5))
    assert [one.std for one in found] == pytest.approx(by_hand(net, images()), rel=1e-5)
    assert [one.layer for one in found[:4]] == ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1"]


@pytest.mark.parametrize(("depth", "points"), [(20, 19), (56, 55), (110, 109)])
def test_there_is_a_point_for_every_3x3_layer_as_in_figure_7(depth: int, points: int) -> None:
    assert len(list(layers(cifar_resnet(depth)))) == points


def test_of_bottlenecks_only_the_3x3_layers_count_and_projections_never() -> None:
    names = [name for name, _ in layers(resnet(50))]
    assert len(names) == 16  # the first convolution is 7x7
    assert all(name.endswith("conv2") for name in names)


def test_neither_mode_nor_statistics_nor_hooks_are_left_changed() -> None:
    net = network().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    responses(net, [images()])
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_batches_do_not_matter() -> None:
    net = network()
    one, many = responses(net, [images()]), responses(net, images().split(1))
    assert [a.std for a in one] == pytest.approx([a.std for a in many], rel=1e-6)


def test_without_images_there_are_no_responses() -> None:
    with pytest.raises(ValueError, match="no images"):
        responses(network(), [])
