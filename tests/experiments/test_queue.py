"""The queue's parts, and whole queues of tiny runs in real processes."""

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reslab.core.errors import DataError, RunError, SpecError
from reslab.core.experiment import Experiment, ModelSpec, Recipe
from reslab.core.rundir import RunDirectory
from reslab.experiments.job import Job
from reslab.experiments.notify import Notify
from reslab.experiments.queue.attempt import attempt, note
from reslab.experiments.queue.drive import drive
from reslab.experiments.queue.follow import Audience, Followed, Tail, look
from reslab.experiments.queue.local import Processes
from reslab.experiments.queue.on_ray import room, shares
from reslab.experiments.queue.shared import Marker, mark, seen
from reslab.experiments.queue.sound import require_sound
from reslab.experiments.queue.task import Ending, Task, read_order, tasks_for, threads_each

STEPS = 40
WALL_CLOCK = {"seconds", "images_per_second"}


@pytest.fixture(autouse=True)
def one_thread_in_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def small() -> Experiment:
    recipe = Recipe(steps=STEPS, batch=16, bn_group=16, log_every=1, evaluate_every=1000, precision="fp32")
    return Experiment(model=ModelSpec(name="cifar-resnet8", width=4), data="embedded", recipe=recipe)


def tasks_of(folder: Path, *experiments: Experiment, **job: Any) -> list[Task]:
    places = [folder / f"run{number}" for number in range(len(experiments))]
    return tasks_for(experiments, places, Job(data="embedded", out=folder, workers=0, **job))


def test_a_run_that_goes_on_is_estimated_in_the_precision_it_began_with(tmp_path: Path, small: Experiment) -> None:
    [task] = tasks_of(tmp_path, small.but({"recipe": {"precision": "auto"}}))
    assert task.ahead() == task.experiment
    run = RunDirectory.create(task.job.out, task.experiment)
    run.write("environment.json", {"precision": "bf16"})
    assert task.ahead() == task.experiment
    (run.checkpoints / "step-7").mkdir(parents=True)
    assert task.ahead() == task.experiment.but({"recipe": {"precision": "bf16"}})
    run.write("environment.json", {})
    assert task.ahead() == task.experiment
    (run.path / "environment.json").write_text("{")
    assert task.ahead() == task.experiment
    [fixed] = tasks_of(tmp_path, small)
    assert fixed.ahead() == small


def numbers_of(run: Path) -> dict[str, Any]:
    weights = run / "checkpoints" / f"step-{STEPS}" / "model.safetensors"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    return {
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "metrics": [{key: value for key, value in line.items() if key not in WALL_CLOCK} for line in lines],
        "result": {key: value for key, value in result.items() if key not in WALL_CLOCK},
    }


class Heard(Audience):
    def __init__(self) -> None:
        self.told: list[tuple[str, str, Any]] = []

    def started(self, run: Followed) -> None:
        self.told.append(("started", run.task.title, run.since))

    def restarted(self, run: Followed) -> None:
        self.told.append(("restarted", run.task.title, run.attempts))

    def recorded(self, run: Followed, line: dict[str, Any]) -> None:
        self.told.append(("recorded", run.task.title, line["step"]))

    def warned(self, run: Followed, text: str) -> None:
        self.told.append(("warned", run.task.title, text))

    def closed(self, run: Followed) -> None:
        self.told.append(("closed", run.task.title, run.state))

    def of(self, kind: str) -> list[Any]:
        return [what for told, _, what in self.told if told == kind]


@pytest.fixture(scope="module")
def alone(small: Experiment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The numbers of the small run, carried out in this process."""
    (task,) = tasks_of(tmp_path_factory.mktemp("alone"), small)
    assert attempt(task, Notify()) == Ending("done")
    return numbers_of(task.job.out)


def test_processes_side_by_side_give_the_numbers_of_one_and_a_failing_run_stops_no_other(
    small: Experiment, alone: dict[str, Any], tmp_path: Path
) -> None:
    diverging = small.but({"recipe": {"optim": {"lr": 1e30}}, "seed": 1})
    tasks, heard = tasks_of(tmp_path, diverging, small), Heard()
    (failed, done), came = drive(tasks, Processes(2), heard)
    assert came is None
    assert done == Ending("done")
    assert failed.state == "failed"
    assert failed.why.startswith("the loss is ")
    assert numbers_of(tasks[1].job.out) == alone
    recorded = [step for kind, title, step in heard.told if kind == "recorded" and title.endswith("seed 0")]
    assert recorded == list(range(1, STEPS + 1))
    assert ("closed", "cifar-resnet8 seed 1", "failed") in heard.told
    again, came = drive(tasks[1:], Processes(2), Heard())
    assert (again, came) == ([Ending("done")], None)
    assert not tasks[1].notices.exists(), "a finished run needs no process"


def killing(task: Task, step: int, times: int) -> threading.Thread:
    """Kill the task's process with -9 as soon as metrics tell of ``step``; so often, each time another process."""

    def kill() -> None:
        killed: list[int] = []
        started, lines = Tail(task.notices), Tail(task.job.out / "metrics.jsonl")
        pid, until = 0, time.monotonic() + 120
        while time.monotonic() < until and len(killed) < times:
            for notice in started.lines():
                pid = notice.get("started", pid)
            if any(line["step"] >= step for line in lines.lines()) and pid not in killed:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_a_process_that_is_killed_is_started_again_and_ends_in_the_same_weights(
    small: Experiment, alone: dict[str, Any], tmp_path: Path
) -> None:
    (task,), heard = tasks_of(tmp_path, small, checkpoint_every=5), Heard()
    killer = killing(task, step=12, times=1)
    endings, _ = drive([task], Processes(1), heard)
    killer.join(timeout=60)
    assert endings == [Ending("done")]
    assert heard.of("restarted") == [2]
    assert heard.of("started")[0] == 0
    assert heard.of("started")[-1] >= 10, "it went on from a checkpoint"
    assert numbers_of(task.job.out) == alone
    assert heard.of("recorded") == list(range(1, STEPS + 1)), "a step that is made twice is told once"


@pytest.mark.slow
def test_a_process_that_dies_three_times_is_given_up(small: Experiment, tmp_path: Path) -> None:
    doomed = small.but({"recipe": {"steps": 100_000}})
    (task,), heard = tasks_of(tmp_path, doomed, checkpoint_every=1), Heard()
    killer = killing(task, step=1, times=3)
    (ending,), came = drive([task], Processes(1), heard)
    killer.join(timeout=60)
    assert came is None
    assert (ending.state, ending.exit_code) == ("failed", 1)
    assert "its process died 3 times, last by SIGKILL" in ending.why
    assert heard.of("restarted") == [2, 3]


def test_an_order_brings_the_task_to_another_process_with_absolute_paths(
    small: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = Job(data="pictures", out=Path("runs"), device="auto", workers=2, checkpoint_every=7, strict=True)
    (task,) = tasks_for([small], [Path("runs/one")], job)
    there = read_order(json.loads(json.dumps(task.order("cuda:1"))))
    assert there.experiment == small
    assert there.job == Job(
        data=str(tmp_path / "pictures"),
        out=tmp_path / "runs" / "one",
        resume=True,
        device="cuda:1",
        workers=2,
        checkpoint_every=7,
        strict=True,
    )
    assert read_order(tasks_of(tmp_path, small)[0].order()).job.data == "embedded"


@pytest.mark.parametrize(("said", "threads"), [("", 4), ("3", 3), ("2,1", 2), ("many", 4), ("0", 4)])
def test_threads_are_an_even_share_unless_the_environment_says_otherwise(
    said: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads_each(8, 2) == threads


def test_each_process_of_many_has_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_each(2, 5) == 1


def test_processes_take_turns_on_several_cuda_devices(
    small: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    auto, every, one = (tasks_of(tmp_path, small, device=device)[0] for device in ("auto", "cuda", "cuda:1"))
    place = Processes(4)
    assert [place._device(auto, slot) for slot in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert place._device(every, 3) == "cuda:1"
    assert place._device(one, 3) is None
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert Processes(4)._device(auto, 3) is None


def test_a_tail_reads_each_whole_line_once_and_a_replaced_file_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    tail = Tail(path)
    assert list(tail.lines()) == []
    path.write_text('{"step": 1}\n{"st')
    assert list(tail.lines()) == [{"step": 1}]
    with path.open("a") as stream:
        stream.write('ep": 2}\ncut sho{"step": 3}\n{"step": 4}\n')
    assert list(tail.lines()) == [{"step": 2}, {"step": 4}]
    assert list(tail.lines()) == []
    other = tmp_path / "other"
    other.write_text('{"step": 1}\n')
    other.replace(path)
    assert list(tail.lines()) == [{"step": 1}]


def test_the_time_left_is_that_of_this_session(small: Experiment, tmp_path: Path) -> None:
    (task,) = tasks_of(tmp_path, small)
    metrics = task.job.out / "metrics.jsonl"
    note(metrics, {"step": 10, "seconds": 1000.0, "test_error": 50.0})
    run, heard = Followed(task), Heard()
    assert (run.step, run.left, run.state) == (10, None, "waiting")
    for line in ({"started": 1}, {"begun": 10}, {"warned": "take care"}):
        note(task.notices, line)
    note(metrics, {"step": 20, "seconds": 1005.0})
    look(run, heard)
    assert run.left == pytest.approx((STEPS - 20) * 0.5)
    assert run.line["test_error"] == 50.0, "the newest test error stays in sight"
    assert [kind for kind, *_ in heard.told] == ["started", "warned", "recorded"]
    assert run.state == "running"


def test_the_time_left_after_a_kill_is_counted_from_the_checkpoint(small: Experiment, tmp_path: Path) -> None:
    (task,) = tasks_of(tmp_path, small)
    metrics = task.job.out / "metrics.jsonl"
    run, step = Followed(task), STEPS // 4
    for begun, lines in ((0, [(step, 50.0), (2 * step, 95.0)]), (step, [(3 * step, 75.0)])):
        for line in ({"started": 1}, {"begun": begun}):
            note(task.notices, line)
        for at, seconds in lines:
            note(metrics, {"step": at, "seconds": seconds})
        look(run, Heard())
    assert run.left == pytest.approx((STEPS - 3 * step) * 25 / (2 * step))


@pytest.mark.parametrize(
    ("nodes", "device", "expected"),
    [
        ([{"CPU": 2}], "auto", 1),
        ([{"CPU": 2}, {"CPU": 16}, {"CPU": 0}, {}], "auto", 2),
        ([{"CPU": 0}], "auto", 1),
        ([{"CPU": 8, "GPU": 1}, {"CPU": 64}, {"CPU": 8, "GPU": 4}], "auto", 5),
        ([{"CPU": 8, "GPU": 4}], "cpu", 1),
    ],
)
def test_a_cluster_has_room_for_a_task_on_every_gpu_or_every_node(
    nodes: list[dict[str, float]], device: str, expected: int
) -> None:
    assert room(nodes, device) == expected


@pytest.mark.parametrize(
    ("nodes", "jobs", "device", "expected"),
    [
        ([{"CPU": 2}], 1, "auto", (2, 0.0)),
        ([{"CPU": 1}, {"CPU": 1}], 1, "auto", (1, 0.0)),
        ([{"CPU": 3}, {"CPU": 3}], 3, "cpu", (1, 0.0)),
        ([{"CPU": 4}, {"CPU": 4}], 3, "auto", (2, 0.0)),
        ([{"CPU": 2}], 5, "auto", (1, 0.0)),
        ([{"CPU": 8, "GPU": 1}], 4, "auto", (2, 0.25)),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 64}], 3, "cuda", (2, 0.5)),
        ([{"CPU": 8, "GPU": 4}], 2, "cuda", (4, 1.0)),
        ([{"CPU": 8, "GPU": 4}], 2, "cpu", (4, 0.0)),
    ],
)
def test_tasks_share_a_cluster_so_that_all_of_them_fit(
    nodes: list[dict[str, float]], jobs: int, device: str, expected: tuple[int, float]
) -> None:
    assert shares(nodes, jobs, device) == expected


def test_a_cluster_without_a_gpu_refuses_cuda() -> None:
    with pytest.raises(SpecError, match="no node of the Ray cluster has a GPU"):
        shares([{"CPU": 4}], 2, "cuda")


def test_a_marker_is_seen_only_where_its_file_is(tmp_path: Path) -> None:
    marker = mark(tmp_path)
    assert seen(marker)
    assert not seen(Marker(marker.path, "another folder's text"))
    assert mark(tmp_path) != marker
    assert not seen(marker), "each queue has its own"
    Path(marker.path).unlink()
    assert not seen(marker)


def test_what_would_go_wrong_in_every_run_is_said_before_the_first(small: Experiment, tmp_path: Path) -> None:
    (tmp_path / "run0").mkdir()
    require_sound(tasks_of(tmp_path, small))
    assert list((tmp_path / "run0").iterdir()) == []
    narrow = small.but({"model": {"name": "cifar-resnet8", "shortcut": "C"}})
    with pytest.raises(SpecError, match="crash torch on a CPU"):
        require_sound(tasks_of(tmp_path / "narrow", narrow))
    with pytest.raises(DataError, match="does not exist"):
        require_sound(tasks_for([small], [tmp_path / "a"], Job(data=str(tmp_path / "none"), out=tmp_path)))
    with pytest.raises(RunError, match="needs cifar10; --data embedded is embedded"):
        require_sound(tasks_of(tmp_path, small.but({"data": "cifar10"})))
    with pytest.raises(SpecError, match="unknown device 'tpu'"):
        require_sound(tasks_of(tmp_path, small, device="tpu"), here=False)
    RunDirectory.create(tmp_path / "run1", small.but({"seed": 5}))
    with pytest.raises(RunError, match="run1 holds another run: seed is 5 there and 0 here"):
        require_sound(tasks_of(tmp_path, small, small))
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file, not a directory"):
        require_sound(tasks_of(tmp_path / "file", small))
