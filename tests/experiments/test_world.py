"""Several processes test together: the same integers as one, however the pictures are shared."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.torchrun import SETTINGS, command, torchrun
from torch import distributed, multiprocessing, nn

from reslab.core.errors import DataError, EvaluationError, SpecError
from reslab.core.experiment import Experiment
from reslab.core.protocol import find_protocol
from reslab.data.pictures import Pictures
from reslab.evaluation.views import in_memory
from reslab.experiments import small_inputs
from reslab.experiments.feed import Feed
from reslab.experiments.job import Outcome
from reslab.experiments.scoring import Subject, score_views, scored
from reslab.experiments.small_inputs import SmallInputs
from reslab.experiments.world import ALONE, World, joined
from reslab.transforms.cifar import CifarForm, per_pixel_mean

INEXACT = ("scores", "command", "calibration_error", "calibration_interval")  # places, and last bits of scores
GRID = [(pictures, batch) for pictures in (1, 2, 12, 13, 14, 15, 16) for batch in range(1, 7)]
PROTOCOLS = ("single", "ten-crop", "multi-scale-mirror")


def hits_of(world: World) -> list[tuple[int, int]]:
    """Hits of the whole grid and all protocols, as one process of ``world`` finds them."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = nn.Conv2d(3, 16, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        net = nn.Sequential(*body, nn.Linear(16, 10)).eval()  # small: it passes 4,000 times
    found = []
    for pictures, batch in GRID:
        small_inputs.SMALL_TEST_BATCH = batch
        pixels = torch.randint(256, (pictures, 3, 16, 16), generator=draw, dtype=torch.uint8)
        labels = torch.randint(10, (pictures,), generator=draw)
        data = Pictures("noise", "val", pixels, labels, tuple("abcdefghij"))
        form = SmallInputs(CifarForm(per_pixel_mean(pixels), 4))
        for name in PROTOCOLS:
            protocol = find_protocol(name, form.native)
            feed, which = Feed(torch.device("cpu")), world.share(pictures)
            own = score_views(Subject(net, form), data, protocol, feed, "fp32", which)
            views = world.collected(own, pictures, in_memory)
            if views is not None:
                count = scored(views, data, protocol).scores.count()
                found.append((count.n, count.errors))
    return found


def differing(rank: int, size: int, place: str) -> None:
    """One of ``size`` processes that have found different things; the first writes what it hears."""
    distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=size)
    world = World(rank, size, rank, size)
    world.require_same("pictures", "the same")
    try:
        world.require_same("pictures", rank)
    except EvaluationError as error:
        Path(place, "said").write_text(str(error))
    except SystemExit as ended:
        Path(place, f"ended-{rank}").write_text(str(ended.code))
    distributed.destroy_process_group()


def test_processes_that_find_different_things_end_and_one_says_why(tmp_path: Path) -> None:
    multiprocessing.start_processes(differing, (2, str(tmp_path)), nprocs=2, start_method="fork")
    assert (tmp_path / "said").read_text().startswith("the processes have different pictures: ")
    assert (tmp_path / "ended-1").read_text() == "1"


def process(rank: int, size: int, place: str) -> None:
    """One of ``size`` processes; the first writes what it found."""
    distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=size)
    found = hits_of(World(rank, size, rank, size))
    if rank == 0:
        Path(place, "found.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def alone() -> list[tuple[int, int]]:
    before, threads = small_inputs.SMALL_TEST_BATCH, torch.get_num_threads()
    found = hits_of(ALONE)
    small_inputs.SMALL_TEST_BATCH = before
    torch.set_num_threads(threads)
    return found


def test_one_process_counts_every_picture_at_any_batch_size(alone: list[tuple[int, int]]) -> None:
    assert [n for n, _ in alone] == [pictures for pictures, _ in GRID for _ in PROTOCOLS]


@pytest.mark.parametrize("size", [2, 3])
def test_any_number_of_processes_finds_the_integers_of_one(
    size: int, alone: list[tuple[int, int]], tmp_path: Path
) -> None:
    multiprocessing.start_processes(process, (size, str(tmp_path)), nprocs=size, start_method="fork")
    assert [tuple(pair) for pair in json.loads((tmp_path / "found.json").read_text())] == alone


def test_one_process_alone_needs_no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as world:
        assert world == ALONE
        assert world.agreed(lambda: 7) == 7
        assert world.device("auto") == "auto"
        with pytest.raises(DataError, match=r"^as it was$"):
            world.agreed(refusing)


def refusing() -> None:
    raise DataError("as it was")


def test_a_world_that_torchrun_did_not_make_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(SpecError, match=r"^WORLD_SIZE is 2, but RANK says nothing: start with torchrun$"),
        joined(),
    ):
        pass


ENDING = """
import os, torch
from torch import nn
from reslab.experiments.world import joined
from reslab.training.together import Together

def threads():
    tasks = os.listdir("/proc/self/task")
    return sum("gloo" in open(f"/proc/self/task/{task}/comm").read() for task in tasks)

def train():
    together = Together(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), 4, 4)
    with together.passing(last=True):
        together.forward(torch.ones(2, 3, 2, 2)).sum().backward()
    return threads()

with joined():
    during = train()
print(during, threads())
"""


def test_no_thread_of_the_processes_talk_outlives_it(tmp_path: Path) -> None:
    """One that does may want the interpreter's lock while that ends, and then aborts the process."""
    (tmp_path / "ending.py").write_text(ENDING)
    words = command(2, (), program=[str(tmp_path / "ending.py")])
    said = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **SETTINGS}).stdout
    counts = [tuple(map(int, line.split())) for line in said.splitlines()]
    assert len(counts) == 2
    assert all(during > 0 and after == 0 for during, after in counts)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {key: value for key, value in found.items() if key not in INEXACT}


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_torchrun_gives_the_document_of_one_process(
    size: int, finished_on_photos: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("evaluate", finished_on_photos, "--data", photos, "--protocol", "multi-scale", "--workers", 1, "--json")
    once = subprocess.run(
        [sys.executable, "-m", "reslab", *map(str, words), "--out", str(tmp_path / "one")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer(torchrun(size, *words, "--out", tmp_path / "some")) == answer(once)


@pytest.mark.slow
def test_a_comparison_under_torchrun_is_that_of_one_process(
    finished_on_photos: Path, other_run: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("compare", finished_on_photos, other_run, "--data", photos, "--protocol", "ten-crop", "--json")
    found = answer(torchrun(3, *words, "--out", tmp_path / "some"))
    once = subprocess.run(
        [sys.executable, "-m", "reslab", *map(str, words), "--out", str(tmp_path / "one")],
        capture_output=True,
        text=True,
        check=True,
    )
    alone = answer(once)
    assert (found["hits"], found["n"], found["p_value"]) == (alone["hits"], alone["n"], alone["p_value"])


@pytest.fixture(scope="module")
def other_run(
    train_on: Callable[..., Outcome], tiny_photos: Experiment, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Another run on the same photographs."""
    run = tmp_path_factory.mktemp("other") / "run"
    train_on(photos, run, tiny_photos.but({"seed": 5}))
    return run


@pytest.mark.slow
def test_more_processes_than_pictures(finished_on_photos: Path, folder_of: Callable[..., Path], tmp_path: Path) -> None:
    few = folder_of(tmp_path / "few", pictures=1, classes=("ash", "birch"))
    found = answer(torchrun(3, "evaluate", finished_on_photos, "--data", few, "--json", "--out", tmp_path / "s"))
    assert found["n"] == 2


@pytest.mark.slow
def test_what_one_process_cannot_do_is_said_once(finished_on_photos: Path, own: Path, tmp_path: Path) -> None:
    last = sorted(own.rglob("*.jpg"))[-1]
    last.write_bytes(last.read_bytes()[:-40])
    done = torchrun(3, "evaluate", finished_on_photos, "--data", own, "--json", "--out", tmp_path / "s")
    assert done.returncode != 0
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("reslab: ")]
    assert [line for line in said if "warning" not in line] == [line for line in said if str(last) in line]
    assert len([line for line in said if str(last) in line]) == 1
    assert not (tmp_path / "s").exists()
