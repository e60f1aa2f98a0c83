import io
from pathlib import Path

import pytest
from rich.console import Console

from reslab.cli.live_table import LiveTable, PlainTable, audience, table
from reslab.core.experiment import Experiment, ModelSpec, Recipe
from reslab.experiments.job import Job
from reslab.experiments.queue.attempt import note
from reslab.experiments.queue.follow import Followed, look
from reslab.experiments.queue.task import tasks_for

LINE = {"step": 20, "loss": 1.25, "train_error": 41.5, "images_per_second": 1234.5, "seconds": 9.0, "test_error": 40.25}


def followed(folder: Path, count: int = 1, steps: int = 40) -> list[Followed]:
    recipe = Recipe(steps=steps)
    experiments = [
        Experiment(model=ModelSpec(name="cifar-plain20"), data="embedded", recipe=recipe, seed=seed)
        for seed in range(count)
    ]
    places = [folder / f"run{seed}" for seed in range(count)]
    return [Followed(task) for task in tasks_for(experiments, places, Job(data="embedded", out=folder))]


def played(run: Followed, seen: LiveTable | PlainTable) -> None:
    """What the files of a run tell that is killed once."""
    seen.begun([run])
    for notice in ({"started": 11}, {"begun": 0}, {"warned": "take care"}):
        note(run.task.notices, notice)
    note(run.task.job.out / "metrics.jsonl", LINE)
    look(run, seen)
    seen.looked()
    for notice in ({"started": 12}, {"begun": 15}):
        note(run.task.notices, notice)
    note(run.task.job.out / "metrics.jsonl", {**LINE, "step": 40, "seconds": 18.0})
    look(run, seen)
    run.state = "done"
    seen.closed(run)
    seen.ended()


def test_a_log_gets_plain_lines_with_network_and_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = followed(tmp_path)
    played(run, PlainTable())
    captured = capsys.readouterr()
    assert captured.out == ""
    numbers = "loss 1.250  train 41.50 %  test 40.25 %  1,234 images/s"
    assert captured.err.splitlines() == [
        "cifar-plain20 seed 0: 40 steps",
        "reslab: warning: cifar-plain20 seed 0: take care",
        f"cifar-plain20 seed 0  step 20/40  {numbers}  9 s left",
        "reslab: warning: cifar-plain20 seed 0: its process died; it was started again, from its newest checkpoint",
        "cifar-plain20 seed 0: 40 steps, going on after step 15",
        f"cifar-plain20 seed 0  step 40/40  {numbers}  done in 18 s",
    ]


def test_a_run_of_one_step_is_no_plural(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = followed(tmp_path, steps=1)
    PlainTable().started(run)
    assert capsys.readouterr().err == "cifar-plain20 seed 0: 1 step\n"


def test_a_terminal_gets_a_table_with_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    (run,) = followed(tmp_path)
    played(run, LiveTable(Console(file=stream, force_terminal=True, width=120, height=30)))
    shown = stream.getvalue()
    for part in ("cifar-plain20", "20/40", "1.250", "41.50", "40.25", "1,234", "9 s", "running", "take care", "died"):
        assert part in shown
    last = shown[shown.rindex("network") :]
    assert "40/40" in last
    assert "1 done" in last
    assert "\x1b[3" not in shown, "colours are off where NO_COLOR is set"


def test_a_table_longer_than_the_terminal_shows_what_runs_and_counts_the_rest(tmp_path: Path) -> None:
    runs = followed(tmp_path, 30)
    runs[20].state, runs[25].state = "running", "failed"
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as captured:
        console.print(table(runs, 5))
    rows = [line.split() for line in captured.get().splitlines() if "cifar" in line]
    assert [int(row[1]) for row in rows] == [0, 1, 2, 20, 25]
    assert "28 waiting, 1 running, 1 failed" in captured.get()


def test_what_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(audience(), PlainTable)
