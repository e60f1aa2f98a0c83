"""Whoever trains, and however often that changes: each picture comes exactly once an epoch, in the same order."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.torchrun import Torchrun

from reslab.data.chance import Stream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURES, BATCH, STEPS, STOP = 24, 8, 24, 7
WORDS = (
    *("train", "--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--shorter-side", 32, "--scale", 32, 40),
    *("--steps", STEPS, "--batch", BATCH, "--bn-group", 4, "--evaluate-every", STEPS, "--log-every", 1),
    *("--precision", "fp32", "--seed", 3),
)
NOTING = f"""
import json, os, signal, sys, time
from reslab.cli.app import run
from reslab.experiments import session

step = session.train_step

def noted(training, batch, **how):
    with open(f"{{os.environ['SEEN']}}/{{training.step:03}}-{{os.environ.get('RANK', 0)}}", "a") as file:
        file.write(json.dumps(batch.indices.tolist()) + "\\n")
    if training.step == {STOP} and "STOP" in os.environ and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return step(training, batch, **how)

session.train_step = noted
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 to train on, 6 to test on; nobody may change them."""
    place = tmp_path_factory.mktemp("photos")
    folder_of(place / "train", pictures=8)
    folder_of(place / "val", pictures=2, seed=1)
    return place


def batches(seen: Path) -> list[list[int]]:
    """The pictures of every update, the processes' parts one after the other; none was made twice."""
    found: list[list[int]] = [[] for _ in range(STEPS)]
    for file in sorted(seen.iterdir()):
        (line,) = file.read_text().splitlines()
        found[int(file.name.partition("-")[0])] += json.loads(line)
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("later", [1, 3])
def test_stopped_with_two_processes_and_gone_on_with_others(
    later: int, workers: int, photos: Path, tmp_path: Path, begun: list[Torchrun], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, program = tmp_path / "seen", tmp_path / "noting.py"
    seen.mkdir()
    program.write_text(NOTING)
    monkeypatch.setenv("SEEN", str(seen))
    words = (*WORDS, "--data", photos, "--workers", workers, "--out", tmp_path / "run", "--resume")
    monkeypatch.setenv("STOP", "1")
    begun.append(Torchrun(tmp_path / "log", 2, *words, program=[str(program)]))
    assert begun[0].wait() != 0
    assert re.search(r"SIGTERM: stopped and saved after step \d+ of 24", begun[0].log.read_text())
    monkeypatch.delenv("STOP")
    begun.append(Torchrun(tmp_path / "later", later, *words, program=[str(program)]))
    assert begun[1].wait() == 0, begun[1].log.read_text()
    stream = Stream(3, PICTURES)
    order = [int(number) for _, piece in stream.pieces(0, STEPS * BATCH) for number in piece]
    assert batches(seen) == [order[place : place + BATCH] for place in range(0, len(order), BATCH)]
    for epoch in range(0, STEPS * BATCH, PICTURES):
        assert sorted(order[epoch : epoch + PICTURES]) == list(range(PICTURES))
