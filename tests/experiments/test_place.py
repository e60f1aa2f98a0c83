import errno
import os
from pathlib import Path

import pytest

from reslab.core.errors import RunError, StorageError
from reslab.core.experiment import Experiment, ModelSpec
from reslab.core.rundir import RunDirectory
from reslab.experiments.job import Job
from reslab.experiments.place import check_place
from reslab.experiments.world import ALONE, World

TINY = Experiment(model=ModelSpec(name="cifar-resnet8"), data="embedded")
SECOND = World(rank=1, size=2)


def test_the_first_process_alone_judges_a_place_without_a_run(tmp_path: Path) -> None:
    job = Job(data="embedded", out=tmp_path)
    (tmp_path / "trial").touch()
    assert check_place(TINY, job, SECOND) is None
    with pytest.raises(RunError, match="is not empty"):
        check_place(TINY, job, ALONE)


def test_every_process_finds_the_result_of_a_finished_run(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run", TINY).write("result.json", {"n": 1})
    job = Job(data="embedded", out=tmp_path / "run", resume=True)
    assert [check_place(TINY, job, world) for world in (ALONE, SECOND)] == [{"n": 1}, {"n": 1}]


def test_a_place_that_may_not_be_looked_into_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(StorageError, match=r"^cannot write .*run: Permission denied$"):
        check_place(TINY, Job(data="embedded", out=tmp_path / "run"), ALONE)
