"""A preparation that is killed anywhere, and goes on: the same files as of an unbroken one, byte for byte."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.imagenet_archives import ORDER, Archives, expected, pictures_in, tree, write_archives

from reslab.core.errors import RunError
from reslab.data.halves import Sources
from reslab.data.prepare import prepare_imagenet

PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from reslab.core import files
from reslab.core.errors import RunError
from reslab.data import devkit, meta_mat, prepare, unpack
from reslab.data.halves import Sources
from reslab.data.prepare import prepare_imagenet

where, number, synsets, train, val, kit, out = sys.argv[1:]
left = int(number)
devkit.read_synsets = lambda *_: [meta_mat.Synset(*row) for row in json.loads(synsets)]

def dying(call, before=True, act=lambda *_: None):
    def wrapped(*words, **more):
        global left
        left -= 1
        if left == 0 and before:
            act(*words)
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*words, **more)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return wrapped

def half(path, data):
    with path.open("wb") as stream:
        stream.write(data[: len(data) // 2])

if where == "inside a note":
    files.write_synced = dying(files.write_synced, act=half)
if where == "inside a write":
    Path.write_bytes = dying(Path.write_bytes, act=half)
if where == "before a rename":
    Path.replace = dying(Path.replace)
if where == "after a rename":
    Path.replace = dying(Path.replace, before=False)
if where == "after the journal":
    unpack.Unpacking._look = dying(unpack.Unpacking._look, before=False)
os.sync = dying(os.sync) if where == "before the manifest" else lambda: None
if where == "after the manifest":
    prepare.write_prepared = dying(prepare.write_prepared, before=False)
prepare_imagenet(Sources(Path(train), Path(val), Path(kit)), Path(out))
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return write_archives(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def unbroken(archives: Archives, tmp_path: Path, quick_meta: None) -> dict[str, bytes]:
    del quick_meta
    prepare_imagenet(Sources(*archives), tmp_path / "unbroken")
    return tree(tmp_path / "unbroken")


def killed(archives: Archives, out: Path, where: str, number: int) -> None:
    synsets = [(number, wnid, 0) for number, wnid in enumerate(ORDER, start=1)]
    words = [sys.executable, "-c", PROGRAM, where, str(number), json.dumps(synsets), *map(str, archives), str(out)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("inside a note", 1),
        ("inside a write", 30),
        ("after the journal", 21),
        ("after the manifest", 1),
        *(
            pytest.param(*point, marks=pytest.mark.slow)
            for point in (
                ("inside a note", 3),
                ("inside a note", 4),
                ("inside a write", 1),
                ("inside a write", 70),
                ("before a rename", 20),
                ("after a rename", 5),
                ("after a rename", 66),
                ("before the manifest", 1),
                ("before the manifest", 2),
                ("after the manifest", 2),
            )
        ),
    ],
)
def test_it_goes_on_to_the_same_files(
    archives: Archives, unbroken: dict[str, bytes], tmp_path: Path, where: str, number: int
) -> None:
    out = tmp_path / "out"
    killed(archives, out, where, number)
    there = {path: (out / path).stat() for path in pictures_in(out)}
    assert pictures_in(out).items() <= expected().items()
    prepare_imagenet(Sources(*archives), out)
    assert tree(out) == unbroken
    for path, before in there.items():
        after = (out / path).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_two_at_once_are_one_too_many(archives: Archives, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom reslab.core.rundir import held_alone\n"
        "with held_alone(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=rf"^another process is working on {tmp_path}$"):
            prepare_imagenet(Sources(train=archives.train), tmp_path)
        assert pictures_in(tmp_path) == {}
        other.communicate()


@pytest.mark.slow
def test_it_goes_on_however_often_and_whenever_it_is_killed(
    archives: Archives, unbroken: dict[str, bytes], tmp_path: Path
) -> None:
    """The command itself, killed at moments drawn over its whole length; each picture there is whole each time."""
    out, draw, kills = tmp_path / "out", np.random.default_rng(0), 0
    words = [sys.executable, "-m", "reslab", "data", "prepare", "imagenet", *archives.words, "--out", str(out)]
    begun = time.monotonic()
    subprocess.run([*words[:-1], str(tmp_path / "timed")], check=True, capture_output=True)
    length = time.monotonic() - begun
    for _ in range(6):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=length * draw.uniform(0.5, 1.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        if out.exists():
            assert pictures_in(out).items() <= expected().items()
    assert kills > 0
    subprocess.run(words, check=True, capture_output=True)
    assert tree(out) == unbroken
