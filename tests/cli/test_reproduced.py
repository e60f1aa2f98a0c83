from pathlib import Path

import pytest
import torch

from reslab.cli.reproduced import EndedRun, measure_responses
from reslab.core.errors import DataError
from reslab.core.experiment import Experiment, ModelSpec, Recipe
from reslab.core.rundir import RunDirectory
from reslab.experiments import responses
from reslab.experiments.job import Job
from reslab.experiments.queue.task import Ending, tasks_for


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DataError("other pictures"), "other pictures"),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate"), "CUDA out of memory. Tried to allocate"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_responses_that_cannot_be_measured_cost_no_report(
    error: Exception, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(responses, "keep_responses", failing)
    experiment = Experiment(model=ModelSpec(name="cifar-resnet8"), data="embedded", recipe=Recipe(), seed=0)
    RunDirectory.create(tmp_path / "run", experiment)
    (task,) = tasks_for([experiment], [tmp_path / "run"], Job(data="embedded", out=tmp_path))
    measure_responses([EndedRun(task, Ending("done")), EndedRun(task, Ending("failed"))], "cpu")
    line = f"reslab: warning: cifar-resnet8 seed 0: its responses were not measured: {says}"
    assert capsys.readouterr().err.splitlines() == [line]
