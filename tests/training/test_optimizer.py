import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.experiment import Optimizer
from reslab.models.resnet import cifar_resnet
from reslab.training.optimizer import decay_groups, make_optimizer, set_rate


def names_of(net: nn.Module, group: list[Tensor]) -> set[str]:
    return {name for name, parameter in net.named_parameters() if any(parameter is member for member in group)}


def projected() -> nn.Module:
    return cifar_resnet(8, shortcut="C", width=4)


def test_the_two_groups_hold_every_parameter_once() -> None:
    net = projected()
    for decay in ("conv_fc_weights", "all"):
        decayed, free = decay_groups(net, Optimizer(decay=decay))
        grouped = sorted(id(parameter) for parameter in [*decayed, *free])
        assert grouped == sorted(id(parameter) for parameter in net.parameters())


def test_exactly_the_weights_of_convolutions_and_classifier_decay() -> None:
    net = projected()
    decayed, free = decay_groups(net, Optimizer())
    wanted = {name for name, parameter in net.named_parameters() if parameter.dim() > 1}
    assert names_of(net, decayed) == wanted
    assert {"conv1.weight", "fc.weight", "layer1.0.downsample.0.weight"} <= wanted
    assert {"bn1.weight", "bn1.bias", "fc.bias"} <= names_of(net, free)


def test_the_batch_normalisation_of_a_projection_does_not_decay_though_its_name_says_downsample_1() -> None:
    net = projected()
    _, free = decay_groups(net, Optimizer())
    assert {"layer2.0.downsample.1.weight", "layer2.0.downsample.1.bias"} <= names_of(net, free)


def test_all_means_every_parameter() -> None:
    net = projected()
    decayed, free = decay_groups(net, Optimizer(decay="all"))
    assert names_of(net, decayed) == set(dict(net.named_parameters()))
    assert free == []
    assert [group["weight_decay"] for group in make_optimizer(net, Optimizer(decay="all")).param_groups] == [1e-4]


def test_the_optimizer_decays_one_group_and_not_the_other() -> None:
    net = projected()
    optimizer = make_optimizer(net, Optimizer(weight_decay=0.3, lr=0.2, momentum=0.7))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert {(group["lr"], group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {
        (0.2, 0.7, False)
    }


def test_set_rate_reaches_every_group() -> None:
    optimizer = make_optimizer(projected(), Optimizer())
    set_rate(optimizer, 0.025)
    assert [group["lr"] for group in optimizer.param_groups] == [0.025, 0.025]


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)).double()


def loss_of(net: nn.Module, step: int) -> Tensor:
    draw = torch.Generator().manual_seed(step)
    images = torch.randn(6, 3, 4, 4, generator=draw, dtype=torch.float64)
    return F.cross_entropy(net(images), torch.randint(5, (6,), generator=draw))


def by_hand(steps: int, rates: list[float], *, nesterov: bool) -> list[Tensor]:
    """Momentum SGD written down once more: v = m v + g + wd w; w = w - lr v."""
    net, momentum, decay = small(), 0.9, 0.05
    velocity = [torch.zeros_like(parameter) for parameter in net.parameters()]
    for step in range(steps):
        gradients = torch.autograd.grad(loss_of(net, step), list(net.parameters()))
        with torch.no_grad():
            for parameter, gradient, v in zip(net.parameters(), gradients, velocity, strict=True):
                pull = gradient + (decay * parameter if parameter.dim() > 1 else 0)
                v.mul_(momentum).add_(pull)
                parameter -= rates[step] * (pull + momentum * v if nesterov else v)
    return list(net.parameters())


def test_several_steps_are_those_of_momentum_sgd_by_hand_and_not_nesterovs() -> None:
    rates = [0.1, 0.1, 0.01, 0.01, 0.05]
    net = small()
    optimizer = make_optimizer(net, Optimizer(weight_decay=0.05))
    for step, rate in enumerate(rates):
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        loss_of(net, step).backward()
        optimizer.step()
    for parameter, wanted in zip(net.parameters(), by_hand(5, rates, nesterov=False), strict=True):
        torch.testing.assert_close(parameter, wanted, rtol=1e-10, atol=1e-12)
    pairs = zip(net.parameters(), by_hand(5, rates, nesterov=True), strict=True)
    assert not any(torch.allclose(parameter, other, rtol=1e-4) for parameter, other in pairs if parameter.dim() > 1)
