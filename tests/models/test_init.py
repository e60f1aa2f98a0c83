"""Initial weights by each of the rules that section 3.4 leaves open, against their formulas."""

import math

import pytest
import torch
from torch import Tensor, nn

import reslab
from reslab.core.experiment import Fan, Init
from reslab.models.blocks import Bottleneck
from reslab.models.network import ResNet
from reslab.models.resnet import cifar_resnet, resnet


def seeded(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(net: nn.Module, kind: type[nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.weight": m.weight.detach() for name, m in net.named_modules() if isinstance(m, kind)}


def in_order(net: ResNet, fan: Fan) -> dict[str, Tensor]:
    """Convolutions, then the classifier's uniform weights, drawn one after the other from the shapes alone."""
    source, drawn = seeded(), {}
    for name, weight in net.state_dict().items():
        if weight.dim() == 4:
            outputs, inputs, height, width = weight.shape
            std = (2 / (height * width * (outputs if fan == "fan_out" else inputs))) ** 0.5
            drawn[name] = torch.empty(weight.shape).normal_(0, std, generator=source)
        elif name == "fc.weight":
            bound = weight.shape[1] ** -0.5
            drawn[name] = torch.empty(weight.shape).uniform_(-bound, bound, generator=source)
    return drawn


@pytest.mark.parametrize("made", [lambda **how: cifar_resnet(14, **how), lambda **how: resnet(50, width=8, **how)])
def test_without_a_word_fan_out_and_a_uniform_classifier_are_drawn_in_the_order_of_layers(made: type) -> None:
    net, asked = made(generator=seeded()), made(generator=seeded(), init=Init())
    for name, wanted in in_order(net, "fan_out").items():
        assert torch.equal(net.state_dict()[name], wanted), name
        assert torch.equal(asked.state_dict()[name], wanted), name
    inwards = made(generator=seeded(), init=Init(fan="fan_in"))
    assert all(torch.equal(inwards.state_dict()[name], wanted) for name, wanted in in_order(net, "fan_in").items())


@pytest.mark.parametrize("fan", ["fan_out", "fan_in"])
def test_convolutions_have_the_deviation_of_he_et_al(fan: Fan) -> None:
    """The estimate of a deviation from n draws has itself one of 1 / sqrt(2 n) of it; five of them are allowed."""
    net = resnet(50, width=16, generator=seeded(), init=Init(fan=fan))
    convolutions = weights(net, nn.Conv2d)
    assert len(convolutions) == 53
    for name, weight in convolutions.items():
        outputs, inputs, height, width = weight.shape
        wanted = math.sqrt(2 / (height * width * (outputs if fan == "fan_out" else inputs)))
        count = weight.numel()
        assert abs(weight.std().item() / wanted - 1) < 5 / math.sqrt(2 * count), name
        assert abs(weight.mean().item()) < 5 * wanted / math.sqrt(count), name
    assert isinstance(net.layer2[0], Bottleneck)
    grown = net.layer2[0].conv3.weight  # 4 times as many outputs as inputs
    assert grown.shape[:2] == (128, 32)
    assert grown.std().item() == pytest.approx(math.sqrt(2 / (128 if fan == "fan_out" else 32)), rel=0.1)


def test_by_fan_in_a_layer_doubles_the_second_moment_that_rectifying_halves() -> None:
    """The forward form of He et al. 2015; by fan_out a layer of twice as many outputs keeps it as it is."""
    x = torch.randn(8, 64, 16, 16, generator=seeded(1))
    for fan, factor in (("fan_in", 2), ("fan_out", 1)):
        conv = resnet(18, generator=seeded(), init=Init.parse({"fan": fan})).layer2[0].conv1
        assert (conv.in_channels, conv.out_channels) == (64, 128)
        inner = conv(x)[:, :, 1:-1, 1:-1]  # without the border of zeros
        assert inner.square().mean().item() == pytest.approx(factor * x.square().mean().item(), rel=0.03)


def test_the_classifier_is_uniform_or_normal_and_its_biases_are_0() -> None:
    uniform, he = (resnet(18, generator=seeded(), init=Init(classifier=kind)).fc for kind in ("uniform", "he"))
    assert uniform.weight.shape == he.weight.shape == (1000, 512)
    assert uniform.weight.abs().max().item() == pytest.approx(1 / math.sqrt(512), rel=1e-4)
    assert uniform.weight.std().item() == pytest.approx(1 / math.sqrt(3 * 512), rel=5e-3)
    assert he.weight.std().item() == pytest.approx(math.sqrt(2 / 512), rel=5e-3)
    beyond = (he.weight.abs() > 2 * math.sqrt(2 / 512)).float().mean().item()
    assert beyond == pytest.approx(math.erfc(math.sqrt(2)), rel=0.05)
    assert uniform.bias.count_nonzero() == he.bias.count_nonzero() == 0


def test_the_classifiers_rule_leaves_convolutions_as_they_are_and_both_leave_batch_normalisation() -> None:
    usual = cifar_resnet(20, generator=seeded()).state_dict()
    head = cifar_resnet(20, generator=seeded(), init=Init(classifier="he")).state_dict()
    assert [name for name in usual if not torch.equal(usual[name], head[name])] == ["fc.weight"]
    both = cifar_resnet(20, generator=seeded(), init=Init(fan="fan_in", classifier="he")).state_dict()
    changed = [name for name in usual if not torch.equal(usual[name], both[name])]
    assert set(changed) <= {"fc.weight", *(name for name in usual if usual[name].dim() == 4)}
    assert "layer2.0.conv1.weight" in changed
    assert "layer1.0.conv1.weight" not in changed  # as many inputs as outputs: one form


def test_from_python_a_network_is_built_by_its_architecture_and_a_rule() -> None:
    net = reslab.resnet(18, width=4, init=reslab.Init(fan="fan_in"))
    assert net.architecture is not None
    again = reslab.build(net.architecture, init=reslab.Init(fan="fan_in"))
    assert torch.equal(net.state_dict()["conv1.weight"], again.state_dict()["conv1.weight"])
    usual = reslab.build(net.architecture).state_dict()["conv1.weight"]
    torch.testing.assert_close(net.state_dict()["conv1.weight"] * math.sqrt(3 / 4), usual)  # 3 colours, 4 filters
