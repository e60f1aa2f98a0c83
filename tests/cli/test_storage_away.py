"""Commands whose storage goes away: one line, the documented exit code, and --resume."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.web import Web, served

from reslab.core.rundir import Record, RunDirectory
from reslab.data import remote, verify
from reslab.data.shards import INDEX

pytestmark = [pytest.mark.usefixtures("quick_disk"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

Command = Callable[..., subprocess.CompletedProcess[str]]

SMALL = ("--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--shorter-side", 32, "--scale", 32, 40)
TINY = (*SMALL, "--steps", 6, "--batch", 8, "--log-every", 1, "--checkpoint-every", 1, "--workers", 0)


@pytest.fixture
def trees(folder_of: Callable[..., Path], tmp_path: Path) -> Path:
    return folder_of(tmp_path / "trees", pictures=6)


@pytest.fixture
def shards(trees: Path, reslab: Command, tmp_path: Path) -> Path:
    done = reslab("data", "pack", trees, "--out", tmp_path / "shards", "--shard-size", 1, "--workers", 0)
    assert done.returncode == 0, done.stderr
    return tmp_path / "shards"


@pytest.fixture
def undisturbed(trees: Path, reslab: Command, tmp_path: Path) -> dict[str, bytes]:
    done = reslab("train", "--data", trees, *TINY, "--out", tmp_path / "undisturbed")
    assert done.returncode == 0, done.stderr
    return tensors(tmp_path / "undisturbed")


@pytest.fixture
def web(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("RESLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RESLAB_CACHE_SIZE", f"{(shards / INDEX).stat().st_size + 40_000}B")
    monkeypatch.setenv("RESLAB_RETRY", "0.5")
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.05)
    with served(shards) as found:
        yield found


def tensors(run: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in (run / "checkpoints" / "step-6").glob("*.safetensors")}
    assert found
    return found


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("reslab: ")]
    (error,) = [line for line in lines if not line.startswith("reslab: warning: ")]
    assert done.stderr.splitlines()[-1] == error
    assert error.isprintable()
    return error


def nothing_half_written(run: Path) -> bool:
    return not [path for path in run.rglob("*") if ".partial" in path.name]


def test_training_from_a_server_that_stays_away(
    web: Web, undisturbed: dict[str, bytes], reslab: Command, tmp_path: Path
) -> None:
    web.start(dies_at=30)
    words = ("train", "--data", web.url, *TINY, "--out", tmp_path / "run")
    done = reslab(*words)
    assert error_of(done, 1).startswith(f"reslab: {web.url}/shard-000")
    (told,) = [line for line in done.stderr.splitlines() if "does not answer" in line]
    assert told.startswith(f"reslab: warning: {web.url} does not answer (")
    assert nothing_half_written(tmp_path)
    begun = reslab(*words, "--resume")
    assert error_of(begun, 1).startswith(f"reslab: {web.url}/{INDEX} cannot be fetched, tried for ")
    assert f"reslab: warning: {web.url} does not answer (" in begun.stderr
    web.start()
    assert reslab(*words, "--resume").returncode == 0
    assert tensors(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_training_from_a_disk_that_goes_away(
    kind: str,
    trees: Path,
    shards: Path,
    undisturbed: dict[str, bytes],
    reslab: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, append = trees if kind == "folder" else shards, RunDirectory.append_metrics

    def moving(run: RunDirectory, record: Record) -> None:
        append(run, record)
        place.rename(tmp_path / "gone")

    words = ("train", "--data", place, *TINY, "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_metrics", moving)
        line = error_of(reslab(*words), 1)
    assert line.startswith(f"reslab: {place}/" if kind == "folder" else f"reslab: shard {place}/shard-000")
    assert line.endswith(" has gone: its disk, or it was moved")
    assert nothing_half_written(tmp_path)
    assert f"{place} does not exist; --data takes" in error_of(reslab(*words, "--resume"), 2)
    (tmp_path / "gone").rename(place)
    assert reslab(*words, "--resume").returncode == 0
    assert tensors(tmp_path / "run") == undisturbed


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_verifying_a_disk_that_goes_away_is_one_line_and_not_a_defect_a_picture(
    kind: str, trees: Path, shards: Path, reslab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, check = trees if kind == "folder" else shards, verify._check

    def moving(photos: object, number: int) -> object:
        if number == 3:
            place.rename(tmp_path / "gone")
        return check(photos, number)  # type: ignore[arg-type]

    monkeypatch.setattr(verify, "_check", moving)
    line = error_of(reslab("data", "verify", place, "--workers", 0), 1)
    assert line.endswith(" has gone: its disk, or it was moved")
