import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reslab.core.errors import CheckpointError, DataError
from reslab.core.rundir import RunDirectory
from reslab.data.parts import Split
from reslab.data.pictures import Pictures
from reslab.data.source import SmallPictures
from reslab.experiments.job import Outcome
from reslab.experiments.responses import keep_responses

Splits = dict[Split, Pictures]


@pytest.fixture
def run(carry_out: Callable[..., Outcome], tmp_path: Path) -> RunDirectory:
    carry_out(tmp_path / "run", checkpoint_every=3)
    return RunDirectory.open(tmp_path / "run")


@pytest.fixture
def data(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SmallPictures("embedded", "embedded", splits.__getitem__)
    monkeypatch.setattr("reslab.experiments.responses.find_data", lambda _: source)


@pytest.mark.usefixtures("data")
def test_the_last_network_is_measured_on_the_pictures_it_was_tested_on(run: RunDirectory, splits: Splits) -> None:
    keep_responses(run, "embedded", "cpu")
    kept = json.loads((run.path / "responses.json").read_text())
    assert (kept["step"], kept["pictures"], len(kept["layers"])) == (8, len(splits["val"]), 7)
    (run.path / "responses.json").write_text('{"kept": true}')
    keep_responses(run, "embedded", "cpu")
    assert json.loads((run.path / "responses.json").read_text()) == {"kept": True}, "it is measured once"


@pytest.mark.usefixtures("data")
def test_an_earlier_network_is_not_measured_in_its_place(run: RunDirectory) -> None:
    (run.checkpoints / "step-8" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"its last checkpoint is lost or damaged: .* again from step 6$"):
        keep_responses(run, "embedded", "cpu")
    shutil.rmtree(run.checkpoints / "step-8")
    with pytest.raises(CheckpointError, match="again from step 6"):
        keep_responses(run, "embedded", "cpu")
    assert not (run.path / "responses.json").exists()


def test_other_pictures_are_refused(run: RunDirectory) -> None:
    with pytest.raises(DataError, match="embedded holds other test pictures than those that"):
        keep_responses(run, "embedded", "cpu")
    assert not (run.path / "responses.json").exists()
