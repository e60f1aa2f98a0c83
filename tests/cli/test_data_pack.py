"""`reslab data pack`, and training, testing and verifying on what it made."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.said import bare_line, one_line

from reslab.data.shards import INDEX, read_shards
from reslab.data.source import PictureFolder

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]

SMALL = ("--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--shorter-side", 32, "--scale", 32, 40)
TINY = (*SMALL, "--steps", 2, "--batch", 8, "--log-every", 2, "--workers", 0)


@pytest.fixture(scope="module")
def trees(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of six pictures and a file that is none; nobody may change them."""
    root = folder_of(tmp_path_factory.mktemp("photos") / "trees", pictures=6)
    (root / "ash" / "notes.txt").write_text("mine")
    return root


@pytest.fixture(scope="module")
def packed(trees: Path, reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their shards; nobody may change them."""
    out = tmp_path_factory.mktemp("shards") / "trees"
    done = reslab("data", "pack", trees, "--out", out, "--shard-size", 5, "--workers", 0)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("18 pictures in 4 shards, ")
    assert "KiB, byte for byte (" in first
    assert second == f"train on them with: --data {out}"
    assert done.stderr == ("reslab: warning: files that are no pictures by name are in no shard (1): ash/notes.txt\n")
    return out


def test_one_picture_is_no_plural(folder_of: Callable[..., Path], reslab: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "trees", ("ash",), pictures=1)
    first, *_ = reslab(
        "data", "pack", tmp_path / "trees", "--out", tmp_path / "out", "--workers", 0
    ).stdout.splitlines()
    assert first.startswith("1 picture in 1 shard, ")
    *_, last = reslab("data", "verify", tmp_path / "trees", "--workers", 0).stdout.splitlines()
    assert last.startswith("1 picture of 1 class, ")


def tensors(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "checkpoints" / "step-2").glob("*.safetensors")}


def test_json_has_everything(trees: Path, reslab: Command, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "out", "--shorter-side", 50, "--quality", 70, "--shard-size", "12kB", "--json")
    done = reslab("data", "pack", trees, *words, "--workers", 2)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    assert found.pop("pictures_per_second") > 0
    index = read_shards(tmp_path / "out" / INDEX)
    resized = found.pop("resized")
    assert 0 < resized < 18
    assert found == {
        "path": str(trees),
        "out": str(tmp_path / "out"),
        "pictures": 18,
        "bytes": int(index.index.sizes.sum()),
        "shards": len(index.files),
        "made_before": 0,
        "shorter_side": 50,
        "quality": 70,
        "damaged": [],
        "other_files": ["ash/notes.txt"],
        "digests": {"all": index.index.digest},
    }
    assert index.index.digest != PictureFolder(trees).read("all").digest
    assert index.facts["resized"] == resized
    again = json.loads(reslab("data", "pack", trees, *words).stdout)
    assert (again["made_before"], again["resized"]) == (len(index.files), resized)


def test_training_on_shards_and_on_the_folder_gives_equal_weights(
    trees: Path, packed: Path, reslab: Command, tmp_path: Path
) -> None:
    for name, data in (("folder", trees), ("shards", packed)):
        done = reslab("train", "--data", data, *TINY, "--out", tmp_path / name, "--json")
        assert done.returncode == 0, done.stderr
    ours, theirs = tensors(tmp_path / "shards"), tensors(tmp_path / "folder")
    assert ours
    assert ours == theirs
    noted = [json.loads((tmp_path / name / "environment.json").read_text())["data"] for name in ("folder", "shards")]
    assert noted[0]["train"] == noted[1]["train"]


def test_a_network_is_tested_and_compared_on_shards(trees: Path, packed: Path, reslab: Command, tmp_path: Path) -> None:
    reslab("train", "--data", packed, *TINY, "--out", tmp_path / "run")
    found: list[dict[str, Any]] = []
    for name, data in (("folder", trees), ("shards", packed)):
        done = reslab("evaluate", tmp_path / "run", "--data", data, "--workers", 0, "--out", tmp_path / name, "--json")
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert {(one["n"], one["hits"], one["error"]) for one in found} == {(18, found[0]["hits"], found[0]["error"])}
    folders = ("--from-scores", tmp_path / "folder", tmp_path / "shards")
    done = reslab("compare", *folders, "--data", packed, "--page", tmp_path / "page.html", "--json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").exists()


def test_shards_are_verified_picture_by_picture(trees: Path, packed: Path, reslab: Command, tmp_path: Path) -> None:
    ours, theirs = (json.loads(reslab("data", "verify", place, "--json").stdout) for place in (packed, trees))
    for key in ("pictures", "bytes", "classes", "defects", "notes"):
        assert ours[key] == theirs[key]
    reslab("data", "pack", trees, "--out", tmp_path / "own", "--shard-size", 5)
    lies = read_shards(tmp_path / "own" / INDEX).lies(7)
    shard = tmp_path / "own" / lies.file.name
    data = np.fromfile(shard, np.uint8)
    data[lies.offset + 9] ^= 255
    data.tofile(shard)
    done = reslab("data", "verify", tmp_path / "own", "--json")
    assert done.returncode == 1
    (defect,) = json.loads(done.stdout)["defects"]
    assert defect["path"] == "birch/001.jpg"
    assert defect["what"].startswith(f"does not match its checksum: {lies.file.name} is damaged")
    shard.unlink()
    cure = "give the command that made these shards once more, and it makes this one again"
    train = ("train", "--data", tmp_path / "own", *TINY, "--out", tmp_path / "run")
    for words in (train, ("data", "verify", tmp_path / "own")):
        assert bare_line(reslab(*words)) == f"shard {shard} is missing: {cure}"
    mended = reslab("data", "pack", trees, "--out", tmp_path / "own", "--shard-size", 5)
    assert mended.stdout.startswith("18 pictures in 4 shards, 3 of them made before, ")
    assert json.loads(reslab("data", "verify", tmp_path / "own", "--json").stdout)["defects"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard-size", "much"), "--shard-size: 'much' is no number of bytes: write 256MiB or 1.5GB, or a number"),
        (("--shard-size", 0), "--shard-size must be 1 picture or more"),
        (("--quality", 80), "--quality is of pictures that --shorter-side makes smaller"),
        (("--shorter-side", 40, "--quality", 96), "--quality must be 1 to 95, not 96"),
        (("--shorter-side", 0), "--shorter-side must be 1 or more, not 0"),
        (("--workers", -1), "--workers must be 0 or more, not -1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    words: tuple[object, ...], message: str, trees: Path, reslab: Command, tmp_path: Path
) -> None:
    assert message in one_line(reslab("data", "pack", trees, "--out", tmp_path / "out", *words))
    assert not list(tmp_path.iterdir())


def test_what_is_no_folder_of_photographs_is_refused(packed: Path, reslab: Command, tmp_path: Path) -> None:
    for place in ("embedded", packed):
        line = one_line(reslab("data", "pack", place, "--out", tmp_path / "out"))
        assert line.endswith(f"data pack takes a folder of photographs, and {place} is none")
    assert "absent does not exist" in one_line(reslab("data", "pack", tmp_path / "absent", "--out", tmp_path / "out"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    line = one_line(reslab("data", "pack", packed.parent, "--out", tmp_path / "taken"))
    assert "taken" in line
