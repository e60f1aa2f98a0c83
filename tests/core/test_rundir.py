import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reslab.core.errors import RunError, SpecError, StorageError
from reslab.core.experiment import Experiment
from reslab.core.rundir import RunDirectory, find_places, find_runs

EXPERIMENT = Experiment.parse({"model": {"name": "cifar-resnet20"}, "data": "cifar10", "seed": 3})
HOLDER = """
import sys, time
from pathlib import Path
from reslab.core.rundir import RunDirectory
with RunDirectory.open(Path(sys.argv[1])).exclusive():
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run", EXPERIMENT)


@contextlib.contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def test_a_created_run_opens_with_the_same_experiment(run: RunDirectory) -> None:
    assert RunDirectory.open(run.path).experiment == EXPERIMENT
    spec = json.loads((run.path / "spec.json").read_text(encoding="utf-8"))
    assert spec["digest"] == EXPERIMENT.digest()


def test_creating_the_same_run_again_opens_it(run: RunDirectory) -> None:
    run.append_metrics({"step": 1})
    assert RunDirectory.create(run.path, EXPERIMENT).metrics() == [{"step": 1}]


def test_an_empty_folder_becomes_a_run_and_folders_above_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    RunDirectory.create(tmp_path / "empty", EXPERIMENT)
    RunDirectory.create(tmp_path / "deep" / "down", EXPERIMENT)
    assert RunDirectory.open(tmp_path / "empty").experiment == RunDirectory.open(tmp_path / "deep/down").experiment


def test_another_spec_is_refused_with_its_differences(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"holds another run: seed is 3 there and 4 here$"):
        RunDirectory.create(run.path, EXPERIMENT.but({"seed": 4}))
    two = r"holds another run: recipe\.optim\.lr is 0\.1 there and 0\.2 here, seed is 3 there and 4 here$"
    with pytest.raises(RunError, match=two):
        RunDirectory.create(run.path, EXPERIMENT.but({"recipe": {"optim": {"lr": 0.2}}, "seed": 4}))


def test_of_many_differences_three_are_named_and_the_others_counted(run: RunDirectory) -> None:
    many = {"batch": 256, "bn_group": 128, "log_every": 7, "steps": 5, "validation": 9}
    named = ", ".join(rf"recipe\.{key} is \d+ there and {many[key]} here" for key in ("batch", "bn_group", "log_every"))
    with pytest.raises(RunError, match=rf"holds another run: {named} and 2 more$"):
        RunDirectory.create(run.path, EXPERIMENT.but({"recipe": many}))


def test_a_table_in_the_place_of_nothing_is_a_difference(run: RunDirectory) -> None:
    warm = EXPERIMENT.but({"recipe": {"schedule": {"warm_up": {}}}})
    with pytest.raises(RunError, match=r"recipe\.schedule\.warm_up\.lr is None there and 0\.01 here"):
        RunDirectory.create(run.path, warm)


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"is not empty and is not a run directory: it has no spec\.json"):
        RunDirectory.create(tmp_path, EXPERIMENT)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="file is a file, not a directory"):
        RunDirectory.create(file, EXPERIMENT)
    with pytest.raises(RunError, match="file is not a run directory"):
        RunDirectory.open(file)
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_place_without_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=r"^cannot write .*run: Permission denied$"):
        RunDirectory.create(tmp_path / "run", EXPERIMENT)


def test_an_empty_or_missing_folder_does_not_open_as_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run directory: it has no spec\.json"):
        RunDirectory.open(tmp_path)
    with pytest.raises(RunError, match=r"there is no run at .*absent"):
        RunDirectory.open(tmp_path / "absent")


def test_an_edited_digest_is_damage(run: RunDirectory) -> None:
    file = run.path / "spec.json"
    file.write_text(file.read_text(encoding="utf-8").replace(EXPERIMENT.digest(), "0" * 64), encoding="utf-8")
    with pytest.raises(RunError, match=r"spec\.json is damaged: its digest does not match its experiment"):
        RunDirectory.open(run.path)


def test_an_edited_experiment_is_damage(run: RunDirectory) -> None:
    file = run.path / "spec.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"seed": 3', '"seed": 4'), encoding="utf-8")
    with pytest.raises(RunError, match=r"spec\.json is damaged: its digest does not match its experiment"):
        RunDirectory.create(run.path, EXPERIMENT)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", RunError, r"cannot read .*spec\.json: "),
        ("[]", RunError, r"spec\.json is damaged: it is not a JSON object"),
        ("{}", SpecError, r"spec\.json: model is missing"),
        ('{"experiment": 5}', SpecError, r"spec\.json: "),
    ],
)
def test_a_spec_file_that_holds_no_spec_is_refused(
    run: RunDirectory, content: str, error: type[Exception], message: str
) -> None:
    (run.path / "spec.json").write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        RunDirectory.open(run.path)


def test_metrics_come_back_in_the_order_they_were_appended(run: RunDirectory) -> None:
    assert run.metrics() == []
    records = [{"step": step, "loss": 1 / step, "place": "Ö"} for step in (50, 100, 150)]
    for record in records:
        run.append_metrics(record)
    assert run.metrics() == records
    assert len((run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_rewinding_forgets_later_steps_only(run: RunDirectory) -> None:
    for step in (50, 100, 150):
        run.append_metrics({"step": step})
    run.rewind_metrics(100)
    assert run.metrics() == [{"step": 50}, {"step": 100}]
    run.append_metrics({"step": 120})
    assert [record["step"] for record in run.metrics()] == [50, 100, 120]


def test_rewinding_a_run_without_metrics_leaves_none(run: RunDirectory) -> None:
    run.rewind_metrics(0)
    assert run.metrics() == []


@pytest.mark.parametrize("kept", [1, 5, 20])
def test_a_last_line_cut_short_is_ignored_and_rewinding_removes_it(run: RunDirectory, kept: int) -> None:
    run.append_metrics({"step": 50})
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"step": 100, "loss": 0.25}'[:kept])
    assert run.metrics() == [{"step": 50}]
    run.rewind_metrics(50)
    run.append_metrics({"step": 100})
    assert run.metrics() == [{"step": 50}, {"step": 100}]


def test_a_damaged_line_in_the_middle_is_refused(run: RunDirectory) -> None:
    (run.path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n', encoding="utf-8")
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged at line 2"):
        run.metrics()


def test_a_metric_that_is_not_a_number_is_not_written(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="JSON"):
        run.append_metrics({"step": 1, "loss": float("nan")})
    assert run.metrics() == []


def test_results_and_environment_are_there_once_written(run: RunDirectory) -> None:
    assert run.result() is None
    assert run.environment() is None
    run.write("result.json", {"errors": 7})
    run.write("environment.json", {"torch": "2"})
    assert (run.result(), run.environment()) == ({"errors": 7}, {"torch": "2"})


def test_a_run_held_by_another_process_is_refused_until_that_process_is_killed(run: RunDirectory) -> None:
    with held_elsewhere(run.path) as holder:
        with pytest.raises(RunError, match=f"another process is working on {run.path}"), run.exclusive():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with run.exclusive():
            pass


def test_a_run_is_free_again_after_its_work_failed(run: RunDirectory) -> None:
    with pytest.raises(ZeroDivisionError), run.exclusive():
        raise ZeroDivisionError
    with held_elsewhere(run.path):
        pass


def test_an_error_of_the_work_itself_is_not_taken_for_a_failed_write(run: RunDirectory) -> None:
    with pytest.raises(FileNotFoundError, match="no such picture"), run.exclusive():
        raise FileNotFoundError(errno.ENOENT, "no such picture")


def test_a_folder_of_runs_stands_for_the_runs_inside_it(tmp_path: Path) -> None:
    for name in ("b", "a"):
        RunDirectory.create(tmp_path / "all" / name, EXPERIMENT)
    RunDirectory.create(tmp_path / "single", EXPERIMENT)
    (tmp_path / "all" / "notes").mkdir()
    found = find_runs([tmp_path / "single", tmp_path / "all"])
    assert [run.path.relative_to(tmp_path).as_posix() for run in found] == ["single", "all/a", "all/b"]


def test_a_run_is_not_searched_for_runs_inside_it(run: RunDirectory) -> None:
    RunDirectory.create(run.path / "inner", EXPERIMENT)
    assert [found.path for found in find_runs([run.path])] == [run.path]


def test_runs_are_named_or_found(tmp_path: Path) -> None:
    for name in ("a", "b"):
        RunDirectory.create(tmp_path / name, EXPERIMENT)
    a, b, missing = (tmp_path / name for name in ("a", "b", "missing"))
    assert find_places([tmp_path]) == {a: False, b: False}
    assert find_places([tmp_path, b]) == find_places([b, tmp_path]) == {a: False, b: True}
    assert find_places([missing]) == {missing: True}


def test_a_place_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        find_runs([tmp_path])
    with pytest.raises(RunError, match="there is no run at"):
        find_runs([tmp_path / "absent"])


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(RunError, match=r"which runs\? give run directories, or folders of them"):
        find_runs([])
