import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.hostile import BOMBS, KINDS

from reslab.data.picture_file import read_header

HARMLESS = ("jpeg", "png", "webp", "bmp", "gif", "tiff-lzw")  # they load what Pillow loads only when it is needed
MEASURE = """
import json, resource, sys, time
from pathlib import Path
from reslab.core.errors import PictureError
from reslab.data.picture_file import read_header, read_picture

def refused(path):
    start = time.perf_counter()
    try:
        read_header(read_picture(path))
    except PictureError:
        return time.perf_counter() - start
    return None

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder = Path(sys.argv[1])
for path in sorted((folder / "good").iterdir()):
    refused(path)
found = {}
for path in sorted((folder / "bombs").iterdir()):
    before = peak()
    seconds = [refused(path) for _ in range(5)]
    found[path.stem] = (None if None in seconds else min(seconds), peak() - before)
print(json.dumps(found))
"""


def test_bombs_are_refused_in_50_ms_and_64_mb(tmp_path: Path) -> None:
    for folder, names in (("good", HARMLESS), ("bombs", tuple(kind.name for kind in BOMBS))):
        (tmp_path / folder).mkdir()
        for kind in KINDS:
            if kind.name in names:
                kind.put(tmp_path / folder)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    assert set(found) == {kind.name for kind in BOMBS}
    assert {name for name, (seconds, _) in found.items() if seconds is None} == set()
    slow = {name: seconds for name, (seconds, _) in found.items() if seconds is not None and seconds > 0.05}
    large = {name: kibibytes for name, (_, kibibytes) in found.items() if kibibytes > 64 * 1024}
    assert (slow, large) == ({}, {})


@pytest.mark.parametrize("name", ["tiff-4000-pages", "gif-100000-frames"])
def test_frames_are_noticed_but_not_counted(name: str, tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    data = kind.put(tmp_path).read_bytes()
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert "several frames" in read_header(data).notes
        took.append(time.perf_counter() - start)
    assert min(took) < 0.05
