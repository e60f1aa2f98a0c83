"""Every kind of odd, damaged or hostile file meets every verb that reads pictures: one documented outcome each."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hostile import KINDS, UNREADABLE, Kind, nobody

Command = Callable[..., subprocess.CompletedProcess[str]]

TINY = ("--model", "cifar-resnet8", "--width", 8, "--crop", 32, "--scale", 32, 40, "--shorter-side", 32)
SHORT = ("--steps", 1, "--batch", 6, "--workers", 0, "--precision", "fp32")
FILES = tuple(kind for kind in KINDS if kind.name != "folder")


@pytest.fixture(scope="module")
def clean(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    for part, count in (("train", 3), ("val", 2)):
        folder_of(root / part, ("ash", "birch"), count)
    return root


@pytest.fixture(scope="module")
def trained(reslab: Command, clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    done = reslab("train", *TINY, *SHORT, "--data", clean, "--out", run)
    assert done.returncode == 0, done.stderr
    return run


def planted(clean: Path, tmp_path: Path, part: str, kind: Kind) -> tuple[Path, str]:
    """A copy of the clean folder in which ``kind`` takes the place of a picture, and the path that will be named."""
    data = tmp_path / "data"
    shutil.copytree(clean, data)
    (data / part / "ash" / "000.jpg").unlink()
    return data, str(kind.put(data / part / "ash").relative_to(data))


def one_line(text: str) -> str:
    (line,) = text.splitlines()
    assert line.startswith("reslab: ")
    return line


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.name)
def test_training_uses_it_or_stops_and_names_it(reslab: Command, clean: Path, tmp_path: Path, kind: Kind) -> None:
    data, path = planted(clean, tmp_path, "train", kind)
    done = reslab("train", *TINY, *SHORT, "--data", data, "--out", tmp_path / "run")
    if kind.reads:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2
    line = [text for text in done.stderr.splitlines() if text.startswith("reslab: ")][-1]
    assert str(data / path) in line
    assert kind.says in line


@pytest.mark.parametrize("kind", [kind for kind in FILES if not kind.reads], ids=lambda kind: kind.name)
def test_training_may_be_told_to_replace_it_and_then_lists_it(
    reslab: Command, clean: Path, tmp_path: Path, kind: Kind
) -> None:
    data, path = planted(clean, tmp_path, "train", kind)
    run = tmp_path / "run"
    done = reslab("train", *TINY, *SHORT, "--on-bad-picture", "replace", "--data", data, "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads((run / "replaced_pictures.json").read_text())
    assert list(listed) == [path]
    assert kind.says in listed[path]["reason"]
    assert json.loads(done.stdout)["replaced"] == 1
    assert listed[path]["times"] >= 1
    assert f"{path} " in done.stderr


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.name)
def test_testing_uses_it_or_stops_and_names_it(
    reslab: Command, clean: Path, trained: Path, tmp_path: Path, kind: Kind
) -> None:
    data, path = planted(clean, tmp_path, "val", kind)
    out = tmp_path / "scores"
    done = reslab("evaluate", trained, "--data", data, "--workers", 0, "--out", out, "--json")
    if kind.reads:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["n"] == 4
        return
    assert done.returncode == 2
    assert str(data / path) in one_line(done.stderr)
    assert kind.says in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.name)
def test_predicting_answers_or_says_why_not(reslab: Command, trained: Path, tmp_path: Path, kind: Kind) -> None:
    path = kind.put(tmp_path)
    done = reslab("predict", trained, path, "--json")
    (found,) = json.loads(done.stdout)
    assert found["picture"] == str(path)
    if kind.reads:
        assert (done.returncode, found["error"]) == (0, None)
        assert sum(answer["probability"] for answer in found["answers"]) == pytest.approx(1)
        return
    assert (done.returncode, found["answers"]) == (1, [])
    assert kind.says in found["error"]


def test_verifying_names_each_kind_as_it_is(reslab: Command, clean: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(clean, data)
    for kind in KINDS:
        kind.put(data / "train" / "ash")
    done = reslab("data", "verify", data, "--workers", 0, "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    defects, notes = ({one["path"]: one["what"] for one in found[key]} for key in ("defects", "notes"))
    for kind in KINDS:
        path = f"train/ash/{kind.name}{kind.suffix}"
        if kind.name == "folder":
            assert defects[path] == "is a folder with a picture's name"
        elif kind.reads:
            assert kind.says in notes.get(path, "")
            assert "is damaged" not in defects.get(path, "")
        else:
            assert kind.says in defects[path]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_a_folder_with_a_pictures_name_stops_training_and_testing(
    reslab: Command, clean: Path, trained: Path, tmp_path: Path, verb: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(clean, data)
    (data / "val" / "ash" / "x.jpg").mkdir()
    words = (*TINY, *SHORT, "--out", tmp_path / "run") if verb == "train" else (trained,)
    done = reslab(verb, *words, "--data", data)
    assert done.returncode == 2
    assert one_line(done.stderr).endswith("val/ash/x.jpg is a folder with a picture's name")


def test_a_folder_with_a_pictures_name_is_searched_when_it_is_asked_about(
    reslab: Command, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.jpg").mkdir()
    done = reslab("predict", trained, tmp_path / "x.jpg")
    assert done.returncode == 2
    assert one_line(done.stderr).endswith("x.jpg holds no pictures")


def test_a_file_that_may_not_be_read_is_named_by_every_verb(
    reslab: Command, clean: Path, trained: Path, tmp_path: Path
) -> None:
    data, path = planted(clean, tmp_path, "val", UNREADABLE)
    data.chmod(0o755)
    for folder in {*tmp_path.parents, tmp_path, trained.parent}:
        if folder.name.startswith(("pytest-", "popen-", tmp_path.name, trained.parent.name)):
            folder.chmod(0o755)  # pytest makes them for their owner alone
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    with nobody():
        tested = reslab("evaluate", trained, "--data", data, "--workers", 0, "--out", tmp_path / "out" / "scores")
        answered = reslab("predict", trained, data / path, "--workers", 0)
        verified = reslab("data", "verify", data, "--workers", 0)
    assert (tested.returncode, answered.returncode, verified.returncode) == (2, 1, 1)
    for text in (tested.stderr, answered.stdout, verified.stdout):
        assert path in text
        assert "cannot be read: Permission denied" in text
