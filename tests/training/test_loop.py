import copy
import math
import signal
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.errors import TrainingError
from reslab.core.experiment import Optimizer, Recipe, Schedule, WarmUp
from reslab.core.intervals import Count
from reslab.training.loop import Watch, fit
from reslab.training.optimizer import make_optimizer
from reslab.training.step import Batch, Training, train_step
from reslab.training.window import Window

CPU = torch.device("cpu")
KEYS = {"step", "samples", "lr", "loss", "train_error", "train_n", "seconds", "images_per_second"}


def small(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))


def training_of(net: nn.Module, optim: Optimizer | None = None) -> Training:
    return Training(net, make_optimizer(net, optim or Optimizer()), Window(CPU))


def batch_of(number: int, size: int = 8) -> Batch:
    draw = torch.Generator().manual_seed(number)
    images = torch.randn(size, 3, 6, 6, generator=draw)
    return Batch(images, torch.randint(5, (size,), generator=draw), torch.arange(size) + size * number)


def batches(steps: int, begin: int = 0) -> Iterator[Batch]:
    return (batch_of(number) for number in range(begin, steps))


def recipe_of(steps: int = 6, **settings: Any) -> Recipe:
    return Recipe(**{"steps": steps, "batch": 8, "bn_group": 4, "precision": "fp32", **settings})


def run(training: Training, given: Iterable[Batch], recipe: Recipe, watch: Watch) -> int | None:
    return fit(training, given, recipe, partial(train_step, training, group=recipe.bn_group, precision="fp32"), watch)


def trained(recipe: Recipe, watch: Watch | None = None, given: Iterable[Batch] | None = None) -> Training:
    training = training_of(small())
    run(training, given or batches(recipe.steps), recipe, watch or Watch())
    return training


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_gradients_are_the_sum_of_those_of_the_groups_done_by_hand() -> None:
    batch, training = batch_of(0), training_of(small())
    twin = copy.deepcopy(training.net)
    total, wrong = 0.0, 0
    for part in (slice(0, 4), slice(4, 8)):
        logits = twin(batch.images[part])
        loss = -logits.log_softmax(dim=1)[torch.arange(4), batch.labels[part]].sum() / 8
        loss.backward()
        total, wrong = total + loss.item(), wrong + int((logits.argmax(dim=1) != batch.labels[part]).sum())
    loss_sum, errors = train_step(training, batch, 4, "fp32")
    for parameter, wanted in zip(training.net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, wanted.grad)
    assert loss_sum.item() == pytest.approx(total)
    assert int(errors) == wrong


def test_groups_do_not_share_batch_statistics() -> None:
    whole, halves = training_of(small()), training_of(small())
    train_step(whole, batch_of(0), 8, "fp32")
    train_step(halves, batch_of(0), 4, "fp32")
    assert int(whole.net[1].num_batches_tracked) == 1
    assert int(halves.net[1].num_batches_tracked) == 2
    assert not same(whole.net, halves.net)


def test_without_batch_normalisation_groups_change_nothing_but_rounding() -> None:
    losses, gradients = [], []
    for group in (8, 4, 2):
        net = small()
        training = training_of(nn.Sequential(net[0], net[2], net[3], net[4]))
        loss, _ = train_step(training, batch_of(0), group, "fp32")
        losses.append(loss.item())
        gradients.append([parameter.grad for parameter in training.net.parameters()])
    assert losses == pytest.approx([losses[0]] * 3)
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0])


def test_the_loss_is_the_mean_over_all_pictures_of_the_batch() -> None:
    training, batch = training_of(small()), batch_of(3)
    wanted = F.cross_entropy(copy.deepcopy(training.net)(batch.images), batch.labels).item()
    assert train_step(training, batch, 8, "fp32")[0].item() == pytest.approx(wanted)


def test_gradients_of_the_step_before_are_forgotten() -> None:
    fresh, used = training_of(small(), Optimizer(lr=1e-12)), training_of(small(), Optimizer(lr=1e-12))
    train_step(used, batch_of(7), 8, "fp32")
    for training in (fresh, used):
        train_step(training, batch_of(1), 8, "fp32")
    torch.testing.assert_close(used.net[4].weight.grad, fresh.net[4].weight.grad)


@pytest.mark.parametrize("place", [2, 6])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_before_the_update_and_says_where(value: float, place: int) -> None:
    bad = batch_of(3)
    bad.images[place] = value
    training = training_of(small())
    run(training, batches(3), recipe_of(3), Watch())
    weights = [parameter.detach().clone() for parameter in training.net.parameters()]
    samples = ", ".join(str(index) for index in range(24, 32))
    with pytest.raises(TrainingError, match=f"the loss is nan at step 4, rate 0.1, samples {samples}; no update was"):
        run(training, iter([bad]), recipe_of(100), Watch())
    assert all(torch.equal(a, b) for a, b in zip(training.net.parameters(), weights, strict=True))
    assert training.step == 3


@pytest.mark.parametrize("last", [False, True])
def test_where_looking_is_dear_the_device_withholds_every_update_until_somebody_looks(*, last: bool) -> None:
    bad, training = batch_of(3), training_of(small())
    bad.images[2] = math.nan
    run(training, batches(3), recipe_of(3), Watch())
    weights = [parameter.detach().clone() for parameter in training.net.parameters()]
    momentum = [training.optimizer.state[p]["momentum_buffer"].clone() for p in training.net.parameters()]
    given = [bad, *batches(20, begin=4)]
    steps = 20 if last else 100
    watch, saved = Watch(save=lambda training: saved.append(training.step), save_every=12), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.training.guard.WATCHFUL", frozenset())
        with pytest.raises(TrainingError, match=r"the loss is nan at step 4, rate 0\.1, samples 24, .*; no update was"):
            run(training, given, recipe_of(steps, log_every=1000, evaluate_every=1000), watch)
    assert saved == []
    assert training.step == 3
    assert all(torch.equal(a, b) for a, b in zip(training.net.parameters(), weights, strict=True))
    kept = (training.optimizer.state[p]["momentum_buffer"] for p in training.net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(kept, momentum, strict=True))


def test_a_training_that_is_looked_at_every_window_names_a_step_of_the_window_before() -> None:
    bad, lines = batch_of(70), []
    bad.images[0] = math.inf
    given = [bad if batch.indices[0] == 8 * 70 else batch for batch in batches(200)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reslab.training.guard.WATCHFUL", frozenset())
        with pytest.raises(TrainingError, match=r"at step 71, rate 0\.1, samples 560, "):
            run(training_of(small()), given, recipe_of(200, log_every=1000, evaluate_every=1000), Watch(lines.append))
    assert lines == []


def test_of_many_samples_the_first_eight_are_named() -> None:
    bad = batch_of(0, size=12)
    bad.images[0] = math.nan
    with pytest.raises(TrainingError, match="samples 0, 1, 2, 3, 4, 5, 6, 7 and 4 more; no update"):
        run(training_of(small()), [bad], recipe_of(1, batch=12, bn_group=12), Watch())


def test_lines_of_metrics_come_when_one_is_due_and_at_the_end() -> None:
    lines: list[dict[str, Any]] = []
    watch = Watch(record=lines.append, test=lambda: Count(3, 12))
    trained(recipe_of(7, log_every=2, evaluate_every=3), watch)
    assert [line["step"] for line in lines] == [2, 3, 4, 6, 7]
    assert [line["step"] for line in lines if "test_error" in line] == [3, 6, 7]
    assert {frozenset(line) for line in lines} == {frozenset(KEYS), frozenset(KEYS | {"test_error", "test_n"})}
    assert [line["samples"] for line in lines] == [16, 24, 32, 48, 56]
    assert [line["train_n"] for line in lines] == [16, 24, 32, 48, 56]
    assert [line["lr"] for line in lines] == [0.1, 0.1, 0.1, 0.001, 0.001]
    assert {(line["test_error"], line["test_n"]) for line in lines if "test_n" in line} == {(25.0, 12)}


def test_without_a_test_no_line_has_a_test_error() -> None:
    lines: list[dict[str, Any]] = []
    trained(recipe_of(4, log_every=1, evaluate_every=2), Watch(record=lines.append))
    assert [set(line) for line in lines] == [KEYS] * 4


def test_a_line_says_the_mean_loss_and_error_of_all_batches_so_far() -> None:
    recipe, lines = recipe_of(3, log_every=3), []
    trained(recipe, Watch(record=lines.append))
    twin, losses, wrong = training_of(small()), [], 0
    for batch, rate in zip(batches(3), (0.1, 0.1, 0.01), strict=True):
        for group in twin.optimizer.param_groups:
            group["lr"] = rate
        loss, errors = train_step(twin, batch, 4, "fp32")
        losses.append(loss.item())
        wrong += int(errors)
    assert lines[0]["loss"] == pytest.approx(sum(losses) / 3, rel=1e-12)
    assert lines[0]["train_error"] == pytest.approx(100 * wrong / 24)


def test_testing_on_the_way_changes_no_later_number() -> None:
    untested, tested = training_of(small()), training_of(small())
    run(untested, batches(6), recipe_of(6), Watch())

    def test() -> Count:
        tested.net.eval()
        with torch.inference_mode():
            tested.net(torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(1)))
        return Count(0, 5)

    run(tested, batches(6), recipe_of(6, evaluate_every=1), Watch(test=test))
    assert same(untested.net, tested.net)
    assert torch.equal(untested.window.losses, tested.window.losses)


def test_recording_testing_and_saving_change_no_number() -> None:
    quiet = trained(recipe_of(6))
    noisy = trained(
        recipe_of(6, log_every=1, evaluate_every=2),
        Watch(record=lambda _: None, test=lambda: Count(1, 2), save=lambda _: None, save_every=1),
    )
    assert same(quiet.net, noisy.net)


def test_checkpoints_come_when_due_and_at_the_end() -> None:
    saved: list[int] = []
    trained(recipe_of(7), Watch(save=lambda training: saved.append(training.step), save_every=3))
    assert saved == [3, 6, 7]


def test_the_end_is_saved_once_where_it_is_due_anyway() -> None:
    saved: list[int] = []
    trained(recipe_of(6), Watch(save=lambda training: saved.append(training.step), save_every=3))
    assert saved == [3, 6]


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_stop_is_heeded_after_the_step_saved_and_returned(at: int) -> None:
    saved: list[int] = []
    done: list[int] = []
    watch = Watch(
        save=lambda training: saved.append(training.step),
        stop=lambda: signal.SIGTERM if len(done) >= at else None,
        stepped=done.append,
    )
    training = training_of(small())
    assert run(training, batches(6), recipe_of(6), watch) == signal.SIGTERM
    assert saved == [at]
    assert done == list(range(1, at + 1))
    assert training.step == at


def test_a_stop_after_the_last_step_is_a_finish() -> None:
    done: list[int] = []
    watch = Watch(stop=lambda: signal.SIGINT if len(done) == 6 else None, stepped=done.append)
    assert run(training_of(small()), batches(6), recipe_of(6), watch) is None


def test_a_finished_training_takes_no_further_step() -> None:
    training = trained(recipe_of(4))
    weights = copy.deepcopy(training.net)
    assert run(training, batches(4, begin=4), recipe_of(4), Watch()) is None
    assert same(training.net, weights)


def test_the_loop_takes_no_more_batches_than_steps() -> None:
    given = batches(100)
    training = trained(recipe_of(5), given=given)
    assert training.step == 5
    assert next(given).indices[0] == 8 * 5


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    trained(recipe_of(3, log_every=1, evaluate_every=1), Watch(test=lambda: Count(0, 1)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_handed_over_in_evaluation_mode_is_trained_in_training_mode() -> None:
    training = training_of(small().eval())
    run(training, batches(2), recipe_of(2), Watch())
    assert same(training.net, trained(recipe_of(2)).net)


def learnable(steps: int) -> Iterator[Batch]:
    """Pictures whose label is written all over them."""
    for number in range(steps):
        labels = torch.randint(5, (8,), generator=torch.Generator().manual_seed(number))
        images = F.one_hot(labels, 36).float().reshape(8, 1, 6, 6).expand(-1, 3, -1, -1) * 5
        yield Batch(images, labels, torch.arange(8))


def test_a_warm_up_ends_at_the_first_whole_window_below_the_threshold_and_the_rate_rises() -> None:
    rule = WarmUp(lr=0.05, until_error=40, window=4)
    recipe = recipe_of(40, log_every=1, schedule=Schedule(warm_up=rule, drops=(0.9,)))
    lines: list[dict[str, Any]] = []
    training = training_of(small())
    wrong: list[int] = []

    def record(line: dict[str, Any]) -> None:
        lines.append(line)
        wrong.append(int(training.window.errors[(line["step"] - 1) % 50]))

    run(training, learnable(40), recipe, Watch(record=record))
    below = [step for step in range(4, 41, 4) if sum(wrong[step - 4 : step]) / 32 < 0.4]
    assert training.warm_up_ended == below[0] < 36
    assert [line["lr"] for line in lines[:36]] == [0.05] * below[0] + [0.1] * (36 - below[0])
    assert [line["lr"] for line in lines[36:]] == [pytest.approx(0.01)] * 4


def test_a_warm_up_that_reaches_no_threshold_goes_on() -> None:
    rule = WarmUp(until_error=1e-9, window=2)
    training = trained(recipe_of(6, schedule=Schedule(warm_up=rule)))
    assert training.warm_up_ended is None
    assert {group["lr"] for group in training.optimizer.param_groups} == {0.001}


def test_momentum_lives_as_long_as_the_training() -> None:
    training = trained(recipe_of(3))
    buffers: list[Tensor] = [training.optimizer.state[p]["momentum_buffer"] for p in training.net.parameters()]
    assert all(buffer.abs().sum() > 0 for buffer in buffers)


def test_seconds_add_up_over_sessions() -> None:
    training = training_of(small())
    training.seconds = 1000.0
    run(training, batches(1), recipe_of(1), Watch())
    assert 1000 < training.seconds < 1300


def on_plateau(steps: int) -> Recipe:
    """A rate so low that nothing is learned."""
    rule = {"drops": (), "plateau": {"window": 100, "patience": 1, "by": 50}}
    return recipe_of(steps, schedule=Schedule.parse(rule), optim=Optimizer(lr=1e-9), log_every=100)


def test_the_rate_drops_on_a_plateau_of_the_training_error() -> None:
    lines: list[dict[str, Any]] = []
    training = trained(on_plateau(500), Watch(record=lines.append))
    assert training.plateau.drops == [200, 300]
    assert [line["lr"] for line in lines] == pytest.approx([1e-9, 1e-9, 1e-10, 1e-11, 1e-11])


def test_the_error_that_decides_is_that_of_the_whole_window() -> None:
    recipe, lines = on_plateau(100), []
    training = trained(recipe.but({"log_every": 50}), Watch(record=lines.append))
    errors = sum(round(line["train_error"] * line["train_n"] / 100) for line in lines)
    assert training.plateau.best == pytest.approx(100 * errors / 800)


def test_labels_are_smoothed_as_torch_does_it() -> None:
    batch, training = batch_of(0), training_of(small())
    twin = copy.deepcopy(training.net)
    logs = twin(batch.images).log_softmax(dim=1)
    target = F.one_hot(batch.labels, 5) * 0.9 + 0.1 / 5
    wanted = -(target * logs).sum(dim=1).mean()
    wanted.backward()
    loss, _ = train_step(training, batch, 8, "fp32", smoothing=0.1)
    assert loss.item() == pytest.approx(wanted.item())
    for parameter, other in zip(training.net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad)
