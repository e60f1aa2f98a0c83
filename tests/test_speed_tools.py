"""The tools that measure packed reading and two processes, run small, as a user runs them."""

import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reslab.experiments.recipes import DEFAULT_RECIPES

TOOLS = Path(__file__).parents[1] / "tools"
IN_MEMORY = {"tmpfs", "ramfs"}


@pytest.fixture(scope="module")
def packed() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("packed", TOOLS / "packed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def run(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOLS / name, *map(str, words)], capture_output=True, text=True, check=False)


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_ratios(found: dict[str, Any], ours: str, rival: str, rounds: int) -> None:
    rates = found["images_per_second"]
    assert {len(values) for values in rates.values()} == {rounds}
    ratios = [own / other for own, other in zip(rates[ours], rates[rival], strict=True)]
    assert found["ratio"] == pytest.approx(statistics.median(ratios), abs=0.006)
    assert found["lowest"] == pytest.approx(min(ratios), abs=0.006)
    assert found["highest"] == pytest.approx(max(ratios), abs=0.006)
    assert found["median"] == pytest.approx({key: statistics.median(values) for key, values in rates.items()}, abs=0.06)


def on_a_disk(place: Path) -> bool:
    """Whether the page cache of files at ``place`` can be dropped."""
    kinds = {}
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, *_ = line.split(" ")
        kinds[Path(mount)] = kind
    return next(kinds[part] for part in (place, *place.parents) if part in kinds) not in IN_MEMORY


def test_what_is_forgotten_is_not_resident_and_what_is_read_is(packed: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("first", "second")]
    for number, file in enumerate(files, start=1):
        file.write_bytes(bytes(number * 10_000))
    packed.remember(files)
    assert packed.resident(files) == (3 + 5) * 4096
    if on_a_disk(tmp_path):
        packed.forget(files[:1])
        assert packed.resident(files) == 5 * 4096
        packed.remember(files)
        assert packed.resident(files) == (3 + 5) * 4096


def test_folder_and_shards_are_read_by_turns_cold_and_warm(folder_of: Callable[..., Path], tmp_path: Path) -> None:
    folder, out = folder_of(tmp_path / "trees"), tmp_path / "packed.json"
    found = document(run("packed.py", folder, "--batch", 8, "--workers", 1, "--rounds", 2, "--out", out))
    assert json.loads(out.read_text()) == found
    assert (found["pictures"], found["n"]) == (24, 2)  # two in ten of each class are held out
    for name in ("cold", "warm"):
        check_ratios(found[name], "shards", "folder", 2)
    left = found["cold"]["resident_bytes_after_dropping"]
    assert {name: len(values) for name, values in left.items()} == {"folder": 2, "shards": 2}
    if on_a_disk(tmp_path):
        assert left == {"folder": [0, 0], "shards": [0, 0]}
    assert found["file_bytes"]["shards"] > found["file_bytes"]["folder"] > 0
    assert found["environment"].keys() >= {"processor", "torch", "pillow", "simplejpeg", "revision"}
    assert found["command"] == "python tools/packed.py trees --batch 8 --workers 1 --epochs 1 --rounds 2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.json", "trees"]  # its shards are gone


def test_shards_of_other_pictures_are_refused(
    packed: ModuleType, folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    trees, others = folder_of(tmp_path / "trees"), folder_of(tmp_path / "others", seed=1)
    packed.pack(packed.PictureFolder(others), tmp_path / "shards", packed.Packing(), 0)
    done = run("packed.py", trees, "--shards", tmp_path / "shards")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "packed.py: shards holds other pictures than trees\n"


@pytest.mark.slow
def test_one_and_two_processes_train_by_turns(tmp_path: Path) -> None:
    out, recipe = tmp_path / "processes.json", DEFAULT_RECIPES["embedded"]
    words = ("--model", "cifar-resnet8", "--batch", 16, "--steps", 3, "--rounds", 2, "--precision", "fp32")
    found = document(run("processes.py", "--data", "embedded", "--recipe", recipe, *words, "--out", out))
    assert json.loads(out.read_text()) == found
    check_ratios(found, "two", "one", 2)
    assert (found["n"], found["bn_group"], found["environment"]["precision"]) == (2, 16, "fp32")
    assert "threads" not in found["environment"]  # each side has its own
    flags = f"--model cifar-resnet8 --recipe {recipe} --batch 16 --steps 3 --precision fp32 --rounds 2"
    assert found["command"] == f"python tools/processes.py --data embedded {flags}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--recipe", "shrt"), "unknown recipe 'shrt'"),
        (("--recipe", DEFAULT_RECIPES["embedded"], "--steps", 1), "--steps must be at least 2"),
        (("--recipe", DEFAULT_RECIPES["folder"], "--steps", 2), "this recipe is for folders of photographs"),
    ],
)
def test_what_training_refuses_is_one_line(words: tuple[object, ...], says: str) -> None:
    done = run("processes.py", "--data", "embedded", *words)
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("processes.py: ")
    assert says in line
