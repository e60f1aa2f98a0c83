"""A cluster of two nodes on the loopback interface; driver, nodes and workers are processes apart from the tests."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reslab.core.errors import SpecError
from reslab.experiments.queue.on_ray import OnRay

Command = Callable[..., "subprocess.Popen[str]"]

STEPS = 24
RUNS = ("cifar-plain20-seed0", "cifar-resnet20-seed0")
COMMAND = ("reproduce", "degradation", "--only", "cifar-plain20", "cifar-resnet20", "--json")
WALL_CLOCK = {"seconds", "images_per_second"}
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
store = 80 * 2**20
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store})
cluster.add_node(num_cpus=1, object_store_memory=store)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
UNSHARED = """
import sys
from pathlib import Path
from reslab.core.errors import RunError
from reslab.experiments.queue import on_ray
from reslab.experiments.queue.shared import Marker
on_ray.mark = lambda folder: Marker(str(folder / "marker"), "never written")
try:
    on_ray.OnRay(1, 1, Path(sys.argv[1]), "cpu")
except RunError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What a driver needs to meet the cluster."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **quiet},
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = next(line.strip() for line in process.stdout if line.startswith("127.0.0.1:"))
        yield {**os.environ, **quiet, "RAY_ADDRESS": address}
        process.stdin.close()


@pytest.fixture(scope="module")
def reproduce(environment: dict[str, str]) -> Command:
    def begin(out: Path, *flags: str, steps: int = STEPS) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "reslab", *COMMAND, "--steps", str(steps), "--out", str(out), *flags]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    return begin


@contextlib.contextmanager
def ending(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Leave nothing running, whatever goes wrong."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def finished(process: "subprocess.Popen[str]") -> tuple[Any, str]:
    with ending(process):
        out, said = process.communicate(timeout=250)
    assert process.returncode == 0, said
    return json.loads(out), said


def begun(out: Path, run: str) -> list[int]:
    """The workers in which a run has begun."""
    file = out / ".queue" / f"{run}.jsonl"
    notices = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    pids = [notice["started"] for notice in notices if "started" in notice]
    return pids[: sum("begun" in notice for notice in notices)]


def saved(out: Path, run: str) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (out / run / "checkpoints").glob("step-*"))


def wait_until(process: "subprocess.Popen[str]", ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 150
    while not ready():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)


def numbers_of(out: Path) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for run in RUNS:
        weights = out / run / "checkpoints" / f"step-{STEPS}" / "model.safetensors"
        numbers[f"{run} weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        lines = [json.loads(line) for line in (out / run / "metrics.jsonl").read_text().splitlines()]
        lines.append(json.loads((out / run / "result.json").read_text()))
        numbers[run] = [{key: value for key, value in line.items() if key not in WALL_CLOCK} for line in lines]
    return numbers


@pytest.fixture(scope="module")
def local(reproduce: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any]:
    """The numbers of the runs one after the other in one process, and what was printed."""
    out = tmp_path_factory.mktemp("local") / "out"
    printed, _ = finished(reproduce(out))
    return numbers_of(out), printed


def without_clock(printed: dict[str, Any]) -> dict[str, Any]:
    runs = [
        {key: value for key, value in run.items() if key not in ("seconds", "directory")} for run in printed["runs"]
    ]
    return {**printed, "runs": runs, "report": Path(printed["report"]).name}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_give_the_numbers_of_one_process(
    reproduce: Command, local: tuple[dict[str, Any], Any], tmp_path: Path
) -> None:
    printed, said = finished(reproduce(tmp_path / "out", "--on", "ray", "--jobs", "2"))
    numbers, printed_there = local
    assert numbers_of(tmp_path / "out") == numbers
    assert without_clock(printed) == without_clock(printed_there)
    assert f"cifar-plain20 seed 0  step {STEPS}/{STEPS}" in said
    assert "warning" not in said
    kept, _ = finished(reproduce(tmp_path / "out", "--on", "ray", "--jobs", "2"))
    assert kept == printed


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_node_has_a_run_where_nobody_says_how_many(reproduce: Command, tmp_path: Path) -> None:
    process = reproduce(tmp_path, "--on", "ray", steps=100_000)
    with ending(process):
        wait_until(process, lambda: all(begun(tmp_path, run) for run in RUNS))
        assert not any((tmp_path / run / "result.json").exists() for run in RUNS), "they run at the same time"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_is_replaced_and_the_run_ends_in_the_same_weights(
    reproduce: Command, local: tuple[dict[str, Any], Any], tmp_path: Path
) -> None:
    out, run = tmp_path / "out", RUNS[1]
    process = reproduce(out, "--on", "ray", "--jobs", "2", "--checkpoint-every", "4")
    with ending(process):
        wait_until(process, lambda: saved(out, run)[-1:] >= [8])
        (worker,) = begun(out, run)
        os.kill(worker, signal.SIGKILL)
        printed, said = finished(process)
    assert "reslab: warning: cifar-resnet20 seed 0: its process died; it was started again" in said
    assert len(begun(out, run)) == 2
    assert "going on after step " in said
    assert [one["model"] for one in printed["runs"]] == ["cifar-plain20", "cifar-resnet20"]
    assert numbers_of(out) == local[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_whose_worker_dies_three_times_fails_and_the_other_goes_on(reproduce: Command, tmp_path: Path) -> None:
    out, doomed = tmp_path / "out", RUNS[0]
    process = reproduce(out, "--on", "ray", "--jobs", "2")
    with ending(process):
        for death in range(1, 4):
            wait_until(process, lambda times=death: len(begun(out, doomed)) == times)  # type: ignore[misc]
            os.kill(begun(out, doomed)[-1], signal.SIGKILL)
        printed, said = process.communicate(timeout=250)
    assert process.returncode == 1
    assert "reslab: cifar-plain20 seed 0 failed: its worker died 3 times" in said.splitlines()[-1]
    document = json.loads(printed)
    assert [run["model"] for run in document["runs"]] == ["cifar-resnet20"]
    assert document["failed"] == [{"model": "cifar-plain20", "seed": 0, "why": "its worker died 3 times"}]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_lets_the_workers_save_and_the_queue_goes_on_from_there(reproduce: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = reproduce(out, "--on", "ray", "--jobs", "2", steps=400)
    with ending(process):
        wait_until(process, lambda: all(begun(out, run) for run in RUNS))
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    steps = [saved(out, run)[-1] for run in RUNS]
    assert all(1 <= step < 400 for step in steps), "each saved itself before the first checkpoint"
    assert f"SIGINT: stopped and saved after step {sum(steps):,} of 800; go on with: reslab reproduce" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_that_a_node_does_not_see_is_refused_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    words = [sys.executable, "-c", UNSHARED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    expected = f"the run directories must be on a file system that all nodes see, and {tmp_path} is not: the Ray node"
    assert done.stdout.startswith(expected)
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    elsewhere = {**environment, "RAY_ADDRESS": "127.0.0.1:1"}
    words = [sys.executable, "-m", "reslab", *COMMAND, "--on", "ray", "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=elsewhere)
    assert done.returncode == 2, done.stderr
    assert "no Ray cluster answers at RAY_ADDRESS 127.0.0.1:1" in done.stderr.splitlines()[-1]


def test_without_ray_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SpecError, match=r'--on ray needs Ray: pip install "reslab\[ray\]"'):
        OnRay(2, 2, tmp_path, "auto")


def test_ray_hands_out_the_devices_itself(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--device cuda:1: Ray hands out the devices; take cuda"):
        OnRay(2, 2, tmp_path, "cuda:1")
