import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.listeners import StopAt
from tests.tested import on_cuda

from reslab.core.experiment import Experiment
from reslab.data import chance, draws
from reslab.data.draws import training_draws
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify
from reslab.training import checkpoint
from reslab.training.checkpoint import Checkpoint
from reslab.training.state import restore
from reslab.training.step import Training

Session = Callable[..., Outcome]
WALL_CLOCK = {"seconds", "images_per_second"}


class Crash(BaseException):
    """The end of the process."""


class CrashAt(Notify):
    """Ends the process when the line of a step has been recorded."""

    def __init__(self, step: int) -> None:
        self.step = step

    def recorded(self, line: dict[str, Any]) -> None:
        if line["step"] == self.step:
            raise Crash


def numbers_of(run: Path, step: int = 8) -> dict[str, Any]:
    """Every number of a finished run that does not come from a clock, under a name of its own."""
    found = checkpoint.read(run / "checkpoints" / f"step-{step}")
    numbers: dict[str, Any] = {
        f"{part} {name}": (tensor.dtype, tuple(tensor.shape), tensor.contiguous().numpy().tobytes())
        for part, tensors in found.parts.items()
        for name, tensor in tensors.items()
    }
    for place, line in enumerate((run / "metrics.jsonl").read_text().splitlines()):
        numbers[f"metrics {place}"] = {key: value for key, value in json.loads(line).items() if key not in WALL_CLOCK}
    result = json.loads((run / "result.json").read_text())
    numbers["result"] = {key: value for key, value in result.items() if key not in WALL_CLOCK}
    numbers["scores"] = (run / "scores" / "single-val" / "scores.safetensors").read_bytes()
    return numbers


def differences(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


@pytest.fixture(scope="module")
def unbroken(carry_out: Session, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    assert carry_out(run).signal is None
    return numbers_of(run)


def test_activation_checkpointing_changes_no_bit_of_a_run(
    carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    assert carry_out(tmp_path / "run", activation_checkpointing=True).signal is None
    assert differences(unbroken, numbers_of(tmp_path / "run")) == set()


def broken(carry_out: Session, run: Path, *stops: int, workers: int = 0, **options: Any) -> dict[str, Any]:
    for stop in stops:
        outcome = carry_out(run, notify=StopAt(stop), resume=stop != stops[0], workers=workers, **options)
        assert (outcome.result, outcome.signal, outcome.step) == (None, signal.SIGINT, stop)
    outcome = carry_out(run, resume=True, workers=workers, **options)
    assert outcome.signal is None
    return numbers_of(run)


def test_what_is_compared_is_everything(unbroken: dict[str, Any]) -> None:
    parts = {name.split()[0] for name in unbroken}
    assert parts == {"model", "momentum", "window", "form", "metrics", "result", "scores"}
    lines = [unbroken[f"metrics {place}"] for place in range(8)]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert ["test_error" in line for line in lines] == [False, False, False, True] * 2
    assert {"model bn1.running_mean", "model bn1.num_batches_tracked", "momentum conv1.weight"} <= unbroken.keys()


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_run_stopped_after_any_step_ends_as_an_unbroken_one_does(
    stop: int, carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    assert differences(unbroken, broken(carry_out, tmp_path / "run", stop)) == set()


@pytest.mark.parametrize("stop", [3, 4])
def test_so_does_one_whose_batches_come_from_workers(
    stop: int, carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    assert differences(unbroken, broken(carry_out, tmp_path / "run", stop, workers=2)) == set()


@pytest.mark.parametrize(
    ("device", "engine"),
    [("cpu", "eager"), pytest.param("cuda", "eager", marks=on_cuda), pytest.param("cuda", "graph", marks=on_cuda)],
)
def test_so_it_is_with_every_device_and_engine(device: str, engine: str, carry_out: Session, tmp_path: Path) -> None:
    how = {"device": device, "engine": engine}
    assert carry_out(tmp_path / "whole", **how).signal is None
    assert differences(numbers_of(tmp_path / "whole"), broken(carry_out, tmp_path / "run", 3, 5, **how)) == set()


def test_so_does_one_stopped_again_and_again(carry_out: Session, unbroken: dict[str, Any], tmp_path: Path) -> None:
    assert differences(unbroken, broken(carry_out, tmp_path / "run", 1, 2, 4, 7)) == set()


def test_so_does_one_that_changes_its_number_of_workers(
    carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    carry_out(tmp_path / "run", notify=StopAt(5), workers=2)
    carry_out(tmp_path / "run", resume=True, workers=0)
    assert differences(unbroken, numbers_of(tmp_path / "run")) == set()


@pytest.mark.parametrize("tail", ["", '{"step": 6, "loss": 2.', '{"step": 6}'])
@pytest.mark.parametrize("crash", [4, 5, 6])
def test_lines_beyond_the_checkpoint_are_written_again_after_a_crash(
    crash: int, tail: str, carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash):
        carry_out(run, notify=CrashAt(crash), checkpoint_every=3)
    assert checkpoint.steps(run / "checkpoints") == ([3])
    assert len((run / "metrics.jsonl").read_text().splitlines()) == crash
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write(tail)
    carry_out(run, resume=True, checkpoint_every=3)
    assert differences(unbroken, numbers_of(run)) == set()


def test_a_crash_before_the_first_checkpoint_begins_afresh(
    carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(Crash):
        carry_out(tmp_path / "run", notify=CrashAt(5))
    carry_out(tmp_path / "run", resume=True)
    assert differences(unbroken, numbers_of(tmp_path / "run")) == set()


def test_a_damaged_checkpoint_costs_steps_but_changes_no_number(
    carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    carry_out(run, notify=StopAt(6), checkpoint_every=2)
    (run / "checkpoints" / "step-6" / "momentum.safetensors").write_bytes(b"")
    carry_out(run, resume=True)
    assert differences(unbroken, numbers_of(run)) == set()


def test_a_crash_between_the_last_checkpoint_and_the_result_is_made_good(
    carry_out: Session, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    carry_out(run)
    (run / "result.json").unlink()
    (run / "scores" / "single-val" / "scores.safetensors").unlink()
    assert carry_out(run, resume=True).signal is None
    assert differences(unbroken, numbers_of(run)) == set()


def test_a_warm_up_is_resumed_where_it_was(carry_out: Session, tiny: Experiment, tmp_path: Path) -> None:
    warm = tiny.but({"recipe": {"schedule": {"warm_up": {"lr": 0.01, "until_error": 99, "window": 2}}}})
    carry_out(tmp_path / "unbroken", experiment=warm)
    rates = [line["lr"] for name, line in numbers_of(tmp_path / "unbroken").items() if name.startswith("metrics")]
    assert rates[:4] == [0.01, 0.01, 0.1, 0.1]
    found = broken(carry_out, tmp_path / "broken", 1, 3, experiment=warm)
    assert differences(numbers_of(tmp_path / "unbroken"), found) == set()


def draw_from_the_global_generator(patch: pytest.MonkeyPatch) -> None:
    def draw(stream: Any, _epoch: int, samples: Any) -> Any:
        places = 2 * stream.augment.pad + 1
        return torch.randint(places, (len(samples), 2)).numpy(), (torch.rand(len(samples)) < 0.5).numpy()

    patch.setattr(draws.Drawer, "_fates", draw)


def draw_by_the_position_in_the_session(patch: pytest.MonkeyPatch) -> None:
    whole = draws.Drawer._fates

    def draw(stream: Any, epoch: int, samples: Any) -> Any:
        begun = stream.__dict__.setdefault("drawn", 0)
        stream.drawn = begun + len(samples)
        return whole(stream, epoch, np.arange(begun, stream.drawn))

    patch.setattr(draws.Drawer, "_fates", draw)


def order_by_the_global_generator(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chance, "order", lambda _seed, _epoch, count: torch.randperm(count).numpy())


def begin_elsewhere(patch: pytest.MonkeyPatch, shift: Callable[[int], int]) -> None:
    def elsewhere(*arguments: Any, consumed: int, **options: Any) -> Any:
        return training_draws(*arguments, consumed=shift(consumed) if consumed else 0, **options)

    patch.setattr("reslab.experiments.resident.training_draws", elsewhere)


def begin_the_sampler_again(patch: pytest.MonkeyPatch) -> None:
    begin_elsewhere(patch, lambda _: 0)


def begin_a_batch_early(patch: pytest.MonkeyPatch) -> None:
    begin_elsewhere(patch, lambda consumed: consumed - 32)


def begin_a_sample_late(patch: pytest.MonkeyPatch) -> None:
    begin_elsewhere(patch, lambda consumed: consumed + 1)


def begin_the_epoch_again(patch: pytest.MonkeyPatch) -> None:
    begin_elsewhere(patch, lambda consumed: consumed // 100 * 100)


def after_restoring(patch: pytest.MonkeyPatch, slip: Callable[[Training], None]) -> None:
    def slipped(training: Training, found: Checkpoint) -> None:
        restore(training, found)
        slip(training)

    patch.setattr("reslab.experiments.execute.restore", slipped)


def forget_momentum(patch: pytest.MonkeyPatch) -> None:
    after_restoring(patch, lambda training: training.optimizer.state.clear())


def forget_the_window(patch: pytest.MonkeyPatch) -> None:
    after_restoring(patch, lambda training: training.window.errors.zero_())


def forget_the_step(patch: pytest.MonkeyPatch) -> None:
    after_restoring(patch, lambda training: setattr(training, "step", training.step - 1))


def forget_running_statistics(patch: pytest.MonkeyPatch) -> None:
    def slipped(training: Training, found: Checkpoint) -> None:
        before = {name: buffer.clone() for name, buffer in training.net.named_buffers()}
        restore(training, found)
        for name, buffer in training.net.named_buffers():
            buffer.copy_(before[name])

    patch.setattr("reslab.experiments.execute.restore", slipped)


WEIGHTS = {"model conv1.weight", "momentum conv1.weight"}
STATISTICS = {"model bn1.running_mean", "model bn1.running_var", "model bn1.num_batches_tracked"}


@pytest.mark.parametrize(
    ("slip", "noticed_in"),
    [
        (draw_from_the_global_generator, WEIGHTS),
        (draw_by_the_position_in_the_session, WEIGHTS),
        (order_by_the_global_generator, WEIGHTS),
        (begin_the_sampler_again, WEIGHTS),
        (begin_a_batch_early, WEIGHTS),
        (begin_a_sample_late, WEIGHTS),
        (begin_the_epoch_again, WEIGHTS),
        (forget_momentum, WEIGHTS),
        (forget_running_statistics, STATISTICS),
        (forget_the_window, {"window errors", "metrics 7"}),
        (forget_the_step, WEIGHTS),
    ],
)
def test_the_comparison_notices_a_slip(
    slip: Callable[[pytest.MonkeyPatch], None],
    noticed_in: set[str],
    carry_out: Session,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    slip(monkeypatch)
    carry_out(tmp_path / "unbroken")
    carry_out(tmp_path / "again")
    assert differences(numbers_of(tmp_path / "unbroken"), numbers_of(tmp_path / "again")) == set()
    slipped = broken(carry_out, tmp_path / "broken", 4)
    assert noticed_in <= differences(numbers_of(tmp_path / "unbroken"), slipped)
