"""True averages of batch statistics, against plain loops and torch's own cumulative average."""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reslab.models.resnet import cifar_resnet
from reslab.training.average import average, learning
from reslab.training.step import Batch
from reslab.training.together import Alone

BATCH, GROUP, BATCHES = 12, 4, 3


def network() -> nn.Module:
    """With statistics and parameters that are far from where they begin."""
    draw = torch.Generator().manual_seed(0)
    net = cifar_resnet(8, width=4, classes=5, generator=draw)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2, generator=draw)
            module.bias.data.normal_(generator=draw)
            module.running_mean.normal_(generator=draw)
            module.running_var.uniform_(0.5, 2, generator=draw)
            module.num_batches_tracked.fill_(77)
    return net


def batches() -> list[Batch]:
    draw = torch.Generator().manual_seed(1)
    images = [torch.randn(BATCH, 3, 8, 8, generator=draw) * (1 + number) + number for number in range(BATCHES)]
    return [Batch(each, torch.zeros(BATCH).long(), torch.arange(BATCH)) for each in images]


def state_of(net: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(dict(net.state_dict()))


def counted_by_hand(net: nn.Module) -> dict[str, np.ndarray]:
    """Means over groups of what numpy counts in float64 in the input of each layer of batch normalisation."""
    found: dict[str, list[np.ndarray]] = {}

    def heard(name: str) -> None:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            values = given[0].numpy().astype(np.float64).transpose(1, 0, 2, 3).reshape(given[0].shape[1], -1)
            found.setdefault(f"{name}.running_mean", []).append(values.mean(axis=1))
            found.setdefault(f"{name}.running_var", []).append(values.var(axis=1, ddof=1))

        net.get_submodule(name).register_forward_pre_hook(hook)

    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            heard(name)
    net.train()
    with torch.no_grad():
        for batch in batches():
            for start in range(0, BATCH, GROUP):
                net(batch.images[start : start + GROUP])
    assert {len(groups) for groups in found.values()} == {BATCH // GROUP * BATCHES}
    return {name: np.mean(groups, axis=0) for name, groups in found.items()}


def test_they_are_means_over_groups_of_means_and_unbiased_variances() -> None:
    net = network()
    wanted = counted_by_hand(copy.deepcopy(net))
    assert average(net, batches(), GROUP, Alone()) is None
    state = net.state_dict()
    assert {name for name in state if name.endswith(("running_mean", "running_var"))} == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(state[name].numpy(), value, rtol=2e-6, atol=1e-6, err_msg=name)


def test_torchs_cumulative_average_is_the_same_up_to_its_rounding() -> None:
    net, theirs = network(), network().train()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for batch in batches():
            for images in batch.images.split(GROUP):
                theirs(images)
    average(net, batches(), GROUP, Alone())
    torch.testing.assert_close(net.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-6)
    assert int(net.state_dict()["bn1.num_batches_tracked"]) == BATCH // GROUP * BATCHES


def test_nothing_else_changes_and_training_could_go_on() -> None:
    net = network()
    before, momenta = state_of(net), [norm.momentum for norm in learning(net.train())]
    average(net, batches(), GROUP, Alone())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) is ("running" not in name and "tracked" not in name), name
    assert [norm.momentum for norm in learning(net)] == momenta == [0.1] * 7
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_order_of_the_groups_and_what_was_there_before_leave_no_trace() -> None:
    first, second = network(), network()
    average(first, batches(), GROUP, Alone())
    for norm in learning(second.train()):
        norm.reset_running_stats()
    average(second, batches()[::-1], GROUP, Alone())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_groups_matter() -> None:
    small, large = network(), network()
    average(small, batches(), GROUP, Alone())
    average(large, batches(), BATCH, Alone())
    assert not torch.allclose(small.state_dict()["bn1.running_var"], large.state_dict()["bn1.running_var"])


def test_frozen_parts_keep_their_statistics() -> None:
    net = cifar_resnet(8, width=4, classes=5, generator=torch.Generator().manual_seed(0)).freeze("stem", "layer1")
    before = state_of(net)
    assert {id(norm) for norm in learning(net.train())}.isdisjoint(map(id, net.get_submodule("layer1").modules()))
    average(net, batches(), GROUP, Alone())
    for name, value in net.state_dict().items():
        if "running" in name:
            assert torch.equal(value, before[name]) is name.startswith(("bn1", "layer1")), name


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stop_leaves_the_statistics_as_they_were(after: int) -> None:
    net = network()
    before, asked = state_of(net), iter([None] * (after - 1) + [15])
    assert average(net, batches(), GROUP, Alone(), lambda: next(asked)) == 15
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert {norm.momentum for norm in learning(net)} == {0.1}


def test_so_does_an_error() -> None:
    def broken() -> Iterator[Batch]:
        yield batches()[0]
        raise OSError

    net = network()
    before = state_of(net)
    with pytest.raises(OSError, match=r"^$"):
        average(net, broken(), GROUP, Alone())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_any_batch_normalisation_that_keeps_statistics_learns_and_nothing_else_does() -> None:
    norms = nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.BatchNorm3d(3)
    others = nn.BatchNorm2d(3, track_running_stats=False), nn.InstanceNorm2d(3, track_running_stats=True), nn.ReLU()
    assert learning(nn.Sequential(*norms, *others)) == list(norms)
    assert learning(nn.Sequential(*norms, *others).eval()) == []
