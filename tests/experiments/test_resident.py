"""The two paths to a batch, the two kinds of update, and that they agree."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tested import on_cuda
from torch import Tensor, nn

from reslab.core.errors import SpecError
from reslab.core.experiment import Augmentation, Experiment, Recipe
from reslab.data.draws import Draws
from reslab.data.loader import training_batches
from reslab.data.pictures import Pictures
from reslab.experiments.environment import choose_device
from reslab.experiments.feed import Feed
from reslab.experiments.job import Outcome
from reslab.experiments.networks import build
from reslab.experiments.resident import choose_engine
from reslab.experiments.session import Session, advance, begin
from reslab.experiments.small_inputs import SmallInputs
from reslab.training.graph import recorded
from reslab.training.loop import Watch
from reslab.training.optimizer import decay_groups, keep_on_device, set_rate
from reslab.training.schedule import learning_rate
from reslab.training.step import Batch, train_step
from reslab.transforms.cifar import CifarForm, per_pixel_mean

CPU = torch.device("cpu")


def coloured(count: int = 300) -> Pictures:
    draw = torch.Generator().manual_seed(4)
    pixels = torch.randint(256, (count, 3, 12, 12), generator=draw, dtype=torch.uint8)
    return Pictures("noise", "train", pixels, torch.randint(10, (count,), generator=draw), tuple("abcdefghij"))


def batches(workers: int, consumed: int = 0, device: torch.device = CPU, **augment: Any) -> list[Batch]:
    pictures, recipe = coloured(), Recipe(steps=300, batch=16, bn_group=8, augment=Augmentation(**augment))
    inputs = SmallInputs(CifarForm(per_pixel_mean(pictures.pixels), recipe.augment.pad))
    return list(inputs.training(pictures, recipe, 7, consumed, Feed(device, workers)))


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("begin", [0, 137])
def test_for_300_steps_pictures_on_the_device_make_the_loaders_batches_pixel_for_pixel(begin: int) -> None:
    resident = batches(0, begin * 16)
    assert len(resident) == 300 - begin
    assert_same(resident, batches(1, begin * 16))


def test_so_they_do_without_padding_and_mirror_images() -> None:
    assert_same(batches(0, 290 * 16, pad=0, flip=False), batches(1, 290 * 16, pad=0, flip=False))


@on_cuda
def test_a_cuda_device_makes_the_same_batches() -> None:
    assert_same(batches(0, device=torch.device("cuda")), batches(1))


def session_on(tiny: Experiment, device: torch.device = CPU, **recipe: Any) -> Session:
    pictures = coloured()
    net = build(tiny.model, 10, torch.Generator().manual_seed(1))
    settings = {"steps": 50, "batch": 16, "bn_group": 8, "log_every": 1, "evaluate_every": 50, "precision": "fp32"}
    return begin(net, pictures, Recipe(**{**settings, **recipe}), Feed(device))


def losses(session: Session, engine: Any) -> list[float]:
    """Of each of 50 steps."""
    advance(session, coloured(), 5, Watch(), engine)
    found: list[float] = session.training.window.losses.tolist()
    assert len(set(found)) == 50
    return found


def plain_losses(tiny: Experiment) -> list[float]:
    """Of 50 steps as anybody would write them: NCHW, fp32, torch's plain SGD, crops and mirror images by hand."""
    pictures, recipe = coloured(), session_on(tiny, optim={"lr": 0.01}).recipe
    net = build(tiny.model, 10, torch.Generator().manual_seed(1))
    decayed, free = decay_groups(net, recipe.optim)
    groups = [{"params": decayed, "weight_decay": recipe.optim.weight_decay}, {"params": free}]
    optimizer = torch.optim.SGD(groups, recipe.optim.lr, recipe.optim.momentum, foreach=False, fused=False)
    mean, found = pictures.pixels.double().mean(dim=0).float(), list[float]()
    for batch in training_batches(pictures, batch=16, steps=50, seed=5, augment=recipe.augment):
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = learning_rate(recipe, len(found), None)
        padded = nn.functional.pad(batch.pixels - mean, (4, 4, 4, 4))
        places = zip(padded, batch.corners.tolist(), batch.mirrored.tolist(), strict=True)
        crops = [(image[:, top : top + 12, left : left + 12], mirrored) for image, (top, left), mirrored in places]
        images = torch.stack([crop.flip(2) if mirrored else crop for crop, mirrored in crops])
        passes = zip(images.split(8), batch.labels.split(8), strict=True)
        halves = [nn.functional.cross_entropy(net(given), labels, reduction="sum") / 16 for given, labels in passes]
        loss = torch.stack(halves).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(("precision", "rounding"), [("fp32", 1e-5), ("bf16", 5e-3)])
def test_a_processor_s_fast_path_follows_a_plain_loop_for_50_steps_and_repeats_itself(
    tiny: Experiment, precision: str, rounding: float
) -> None:
    fast, again = (losses(session_on(tiny, precision=precision, optim={"lr": 0.01}), "eager") for _ in range(2))
    assert fast == again
    assert fast == pytest.approx(plain_losses(tiny), rel=rounding)


def test_an_update_that_reads_rate_and_momentum_from_tensors_is_the_plain_one(tiny: Experiment) -> None:
    """What a graph replays, step by step without one: 50 steps over two drops of a rate that float32 holds exactly."""
    plain, held = session_on(tiny, optim={"lr": 0.125}), session_on(tiny)
    inputs = held.inputs
    assert isinstance(inputs, SmallInputs)
    resident = inputs.resident(coloured(), CPU)
    keep_on_device(held.training.optimizer)
    places = [tensor.data_ptr() for tensor in tensors_of(held)]
    seen: list[tuple[Tensor, Tensor]] = []
    update = partial(train_step, plain.training, group=8, precision="fp32")
    for step, draws in enumerate(resident.draws(held.recipe, 5, 0)):
        rate = 0.125 / 2 ** (step // 20)
        set_rate(held.training.optimizer, rate)
        set_rate(plain.training.optimizer, rate)
        seen.append((train_step(held.training, resident(draws), 8, "fp32")[0], update(resident(draws))[0]))
    assert len(seen) == 50
    assert all(torch.equal(mine, plain_loss) for mine, plain_loss in seen)
    mine, other = held.net.state_dict(), plain.net.state_dict()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert [tensor.data_ptr() for tensor in tensors_of(held)] == places


def tensors_of(session: Session) -> list[Tensor]:
    optimizer = session.training.optimizer
    state = [optimizer.state[p]["momentum_buffer"] for group in optimizer.param_groups for p in group["params"]]
    return [*session.net.parameters(), *state, *(group["lr"] for group in optimizer.param_groups)]


@on_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_replayed_update_follows_the_eager_one_and_itself(tiny: Experiment, precision: str) -> None:
    cuda = choose_device("cuda")
    eager, repeated, graph, again = (
        losses(session_on(tiny, cuda, precision=precision, optim={"lr": 0.01}), engine)
        for engine in ("eager", "eager", "graph", "graph")
    )
    assert (eager, graph) == (repeated, again)
    assert graph == pytest.approx(eager, rel=1e-3 if precision == "fp32" else 5e-2)


@on_cuda
def test_recording_changes_nothing(tiny: Experiment) -> None:
    session = session_on(tiny, choose_device("cuda"))
    assert isinstance(session.inputs, SmallInputs)
    resident = session.inputs.resident(coloured(), session.feed.device)
    before = {name: tensor.clone() for name, tensor in session.net.state_dict().items()}
    first = next(iter(resident.draws(session.recipe, 5, 0)))
    session.net.train()

    def update(draws: Draws) -> tuple[Tensor, Tensor]:
        return train_step(session.training, resident(draws), 8, "fp32")

    replay = recorded(session.training, update, first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in session.net.state_dict().items())
    replay(first)
    assert not all(torch.equal(tensor, before[name]) for name, tensor in session.net.state_dict().items())


def test_the_engine_is_a_graph_where_it_can_be() -> None:
    cuda = torch.device("cuda")
    assert choose_engine("auto", cuda, resident=True) == "graph"
    assert choose_engine("auto", cuda, resident=False) == "eager"
    assert choose_engine("auto", CPU, resident=True) == "eager"
    assert choose_engine("auto", cuda, resident=True, alone=False) == "eager"
    assert choose_engine("eager", cuda, resident=True) == "eager"
    assert choose_engine("graph", cuda, resident=False) == "graph"


@pytest.mark.parametrize(("device", "alone"), [("cpu", True), ("cuda", False)])
def test_a_graph_that_cannot_be_had_is_refused(device: str, *, alone: bool) -> None:
    with pytest.raises(SpecError, match="--engine graph is for one process on a CUDA device; take --engine eager"):
        choose_engine("graph", torch.device(device), resident=True, alone=alone)


def test_an_unknown_engine_is_answered_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=r"unknown engine 'graphs'; did you mean 'graph'\? \(choose from: auto, eager"):
        choose_engine("graphs", CPU, resident=True)


def test_a_compiled_pass_trains_as_the_plain_one_does(
    carry_out: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler itself is left out here, for it takes a minute; what is compiled and where it is used is not."""
    compiled: list[nn.Module] = []
    passes: list[int] = []

    def compiling(net: nn.Module) -> Callable[[Tensor], Tensor]:
        compiled.append(net)

        def forward(images: Tensor) -> Tensor:
            passes.append(len(images))
            return net(images)  # type: ignore[no-any-return]

        return forward

    monkeypatch.setattr(torch, "compile", compiling)
    plain, quick = carry_out(tmp_path / "plain").result, carry_out(tmp_path / "quick", compiled=True).result
    assert plain is not None
    assert quick is not None
    assert quick["test_error"] == plain["test_error"]
    assert len(compiled) == 1
    assert passes == [16] * 16  # two groups a step of eight; tests take the plain network
    assert math.isfinite(quick["train_error"])


def test_networks_that_are_not_ours_are_recorded_only_where_that_is_asked_for(tiny: Experiment) -> None:
    ours = begin(build(tiny.model, 10), coloured(), tiny.recipe, Feed(CPU))
    foreign = begin(nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 10)), coloured(), tiny.recipe, Feed(CPU))
    ours.feed = foreign.feed = Feed(torch.device("cuda"))
    assert (ours.engine("auto"), foreign.engine("auto"), foreign.engine("graph")) == ("graph", "eager", "graph")
    with pytest.raises(SpecError, match="unknown engine"):
        foreign.engine("fast")


@on_cuda
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_on_a_gpu_growing_crops_of_photographs_train_as_on_a_processor(
    engine: str, train_on: Callable[..., Outcome], tiny_photos: Experiment, photos: Path, tmp_path: Path
) -> None:
    """A graph is recorded for each of two sides."""
    grown = tiny_photos.but(
        {"recipe": {"optim": {"lr": 0.01}, "photographs": {"progressive": {"sides": [32, 64], "between": [0.5, 0.5]}}}}
    )
    lines = []
    for name, how in (("cpu", {"device": "cpu"}), ("gpu", {"device": "cuda", "engine": engine, "workers": 2})):
        train_on(photos, tmp_path / name, grown, **how)
        lines.append([json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()])
    wanted, found = ([line["loss"] for line in some] for some in lines)
    assert found == pytest.approx(wanted, rel=1e-2)
