"""Slow: thousands of batches, and what they leave in memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

READ = """
import gc, json, multiprocessing, sys
from pathlib import Path
from reslab.core.contract import Contract
from reslab.core.experiment import Photographs
from reslab.data.loader import training_crops
from reslab.data.source import PictureFolder

WARM, STEPS = 500, 2500
settings = Photographs(contract=Contract(shorter_side=32, crop=32), scale=(32, 40))
photos = PictureFolder(Path(sys.argv[1])).read("all")

def resident():
    gc.collect()
    processes = ["self", *(child.pid for child in multiprocessing.active_children())]
    return [int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096 for process in processes]

warned = []
for step, batch in enumerate(
    training_crops(photos, batch=8, steps=STEPS, seed=0, settings=settings, workers=2, warn=warned.append), 1
):
    if step == WARM:
        before = resident()
    if step == STEPS:
        after = resident()
print(json.dumps({"before": before, "after": after, "warned": warned}))
"""


@pytest.mark.slow
def test_memory_grows_by_less_than_a_hundredth_over_2000_batches(
    folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", READ, str(folder_of(tmp_path / "photos", pictures=40))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["warned"] == []
    assert len(found["before"]) == len(found["after"]) == 3
    for before, after in zip(found["before"], found["after"], strict=True):
        assert after < 1.01 * before, found
