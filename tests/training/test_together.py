"""Several processes train one network: the weights and statistics of one, however batch and groups are shared."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from reslab.core.experiment import Optimizer
from reslab.training.across import BatchNormAcross
from reslab.training.average import average
from reslab.training.optimizer import make_optimizer
from reslab.training.step import Batch, Training, train_step
from reslab.training.together import Together
from reslab.training.window import Window

CPU = torch.device("cpu")
BATCH, STEPS = 12, 4
GROUPS = (4, 6, 12)  # pictures: two or three processes have whole groups, or make one together


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norms = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        body = nn.Sequential(nn.Conv2d(3, 4, 3), norms[0], nn.ReLU(), nn.Conv2d(4, 4, 1), norms[1])
        return nn.Sequential(body, nn.Flatten(), nn.Linear(64, 5))


def batch_of(number: int) -> Batch:
    draw = torch.Generator().manual_seed(number)
    images = torch.randn(BATCH, 3, 6, 6, generator=draw) * (1 + number)
    return Batch(images, torch.randint(5, (BATCH,), generator=draw), torch.arange(BATCH))


def training_of(net: nn.Module, group: int) -> Training:
    """Together with the others where there are some."""
    training = Training(net, make_optimizer(net, Optimizer()), Window(CPU))
    if distributed.is_initialized():
        training.together = Together(net, BATCH, group)
        training.forward = training.together.forward
    return training


def trained(group: int) -> tuple[dict[str, Tensor], list[tuple[float, int]]]:
    training, told = training_of(small(), group), []
    part = training.together.part
    places = range(BATCH) if part is None else part.pictures
    for number in range(STEPS):
        own = Batch(*(column[places.start : places.stop] for column in batch_of(number)))
        loss, errors = train_step(training, own, group if part is None else part.passes, "fp32")
        told.append((loss.item(), int(errors)))
    return training.net.state_dict(), told


def averaged(group: int) -> dict[str, Tensor]:
    """Statistics over the groups of two batches, of a network that has not been trained."""
    training = training_of(small(), group)
    part = training.together.part
    places = range(BATCH) if part is None else part.pictures
    own = [Batch(*(column[places.start : places.stop] for column in batch_of(number))) for number in range(2)]
    average(training.net, own, group if part is None else part.passes, training.together)
    return {name: value for name, value in training.net.state_dict().items() if "running" in name or "num" in name}


def process(rank: int, size: int, place: str) -> None:
    """One of ``size``: everything that takes several, one thing after the other."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=size)
    torch.save({group: trained(group) for group in GROUPS}, Path(place, f"found-{rank}"))
    torch.save({group: averaged(group) for group in GROUPS}, Path(place, f"averaged-{rank}"))
    if size == 2:
        frozen(rank)
        normalised(rank)
    distributed.destroy_process_group()


Found = list[dict[int, tuple[dict[str, Tensor], list[tuple[float, int]]]]]


@pytest.fixture(scope="module", params=[2, 3])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each of several processes left what it made; new ones, for those that trained cannot be forked."""
    place = tmp_path_factory.mktemp("together")
    commands = [[sys.executable, __file__, str(rank), str(request.param), str(place)] for rank in range(request.param)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0] * request.param
    return place


@pytest.fixture
def found(place: Path) -> Found:
    """What each process made of every way to share."""
    return [torch.load(file, weights_only=True) for file in sorted(place.glob("found-*"))]


@pytest.mark.parametrize("group", GROUPS)
def test_processes_together_train_as_one_does(group: int, found: Found) -> None:
    wanted, told = trained(group)
    for every in found:
        state, said = every[group]
        assert state.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)
            assert torch.equal(state[name], found[0][group][0][name]), name
        assert [errors for _, errors in said] == [errors for _, errors in told]
        assert [loss for loss, _ in said] == pytest.approx([loss for loss, _ in told], rel=1e-4)


@pytest.mark.parametrize("group", GROUPS)
def test_they_average_statistics_as_one_does(group: int, place: Path) -> None:
    wanted, files = averaged(group), sorted(place.glob("averaged-*"))
    whole = len(files) <= BATCH // group  # groups in one process each: no rounding differs
    for file in files:
        state = torch.load(file, weights_only=True)[group]
        assert state.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6, msg=name)
            assert torch.equal(state[name], value) or not whole, name
    assert int(wanted["0.1.num_batches_tracked"]) == 2 * BATCH // group


def frozen(rank: int) -> None:
    """Statistics that are frozen stay, and the others see every group."""
    net = small()
    training = training_of(net, 6)
    still = net[0][1].eval()
    before = copy.deepcopy(dict(still.named_buffers()))
    train_step(training, Batch(*(column[6 * rank : 6 * rank + 6] for column in batch_of(1))), 6, "fp32")
    assert all(torch.equal(value, before[name]) for name, value in still.named_buffers())
    assert int(net[0][4].num_batches_tracked) == 2


def normalised(rank: int) -> None:
    """Uneven shares of one group, forward, backward and statistics, against torch's own on all of it."""
    draw = torch.Generator().manual_seed(0)
    x, weights = torch.randn(5, 3, 4, 4, generator=draw) * 3 + 1, torch.randn(5, 3, 4, 4, generator=draw)
    own = slice(0, 2) if rank == 0 else slice(2, 5)
    norm = nn.BatchNorm2d(3)
    norm.weight.data.uniform_(0.5, 2, generator=draw)
    norm.bias.data.normal_(generator=draw)
    whole, part = x.clone().requires_grad_(), x[own].clone().requires_grad_()
    other = BatchNormAcross(copy.deepcopy(norm), distributed.group.WORLD)
    wanted, found = norm(whole), other(part)
    (wanted * weights).sum().backward()
    (found * weights[own]).sum().backward()
    torch.testing.assert_close(found, wanted[own])
    torch.testing.assert_close(part.grad, whole.grad[own])
    torch.testing.assert_close(other.state_dict(), norm.state_dict())
    torch.testing.assert_close(other.eval()(x), norm.eval()(x))
    bf16 = other.train()(part.bfloat16())
    assert bf16.dtype == torch.bfloat16
    torch.testing.assert_close(bf16.float(), norm.train()(x)[own], atol=0.05, rtol=0.05)


if __name__ == "__main__":
    process(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
