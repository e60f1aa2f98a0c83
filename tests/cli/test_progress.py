import io
from typing import Any

import pytest
from rich.console import Console

from reslab.cli.progress import LiveProgress, PlainProgress, progress

LINE: dict[str, Any] = {
    "step": 20,
    "loss": 1.25,
    "train_error": 41.5,
    "images_per_second": 1234.5,
    "seconds": 9.0,
    "test_error": 40.25,
}


def played(notify: LiveProgress | PlainProgress) -> None:
    notify.begun("cifar-plain20", 10, 40)
    notify.stepped(20)
    notify.recorded(LINE)
    notify.warned("take care")
    notify.ended()


def test_a_log_gets_plain_lines_with_step_loss_error_speed_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    played(PlainProgress())
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second, third = captured.err.splitlines()
    assert first == "cifar-plain20: 40 steps, going on after step 10"
    assert second.startswith("cifar-plain20  step 20/40  loss 1.250  train 41.50 %  test 40.25 %  1,234 images/s")
    assert second.endswith("left")
    assert third == "reslab: warning: take care"


def test_a_terminal_gets_a_bar_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    played(LiveProgress(Console(file=stream, force_terminal=True, width=160)))
    shown = stream.getvalue()
    for part in ("cifar-plain20", "20/40", "loss 1.250", "train 41.50 %", "1,234 images/s", "take care"):
        assert part in shown
    assert "\x1b[3" not in shown, "colours are off where NO_COLOR is set"


def test_what_is_no_terminal_gets_plain_lines() -> None:
    assert isinstance(progress(), PlainProgress)


def test_a_long_test_says_how_far_it_is_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("reslab.cli.progress.time.monotonic", lambda: now[0])
    plain = PlainProgress()
    for seconds, views in ((1, 10), (5, 20), (6, 40), (5, 60), (60, 100), (1, 10), (20, 30)):
        now[0] += seconds
        plain.scored(views, 100)
    assert capsys.readouterr().err.splitlines() == [
        "40 of 100 views, 22 s left",
        "30 of 100 views, 1 min 10 s left",
    ]


def test_a_terminal_gets_a_bar_for_a_test_that_goes_when_it_ends() -> None:
    stream = io.StringIO()
    live = LiveProgress(Console(file=stream, force_terminal=True, width=160))
    for _ in range(2):
        live.scored(40, 100)
        assert [(task.completed, task.total) for task in live.bars.tasks] == [(40, 100)]
        live.scored(100, 100)
        assert live.bars.tasks == []
    assert "views" in stream.getvalue()


def test_a_long_recomputing_of_batch_statistics_says_how_far_it_is_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("reslab.cli.progress.time.monotonic", lambda: now[0])
    plain = PlainProgress()
    plain.begun("cifar-plain20", 10, 40)
    now[0] += 60
    plain.recorded(LINE)
    for seconds, pictures in ((8, 1000), (11, 2000), (9, 3000), (2, 4000), (60, 5000)):
        now[0] += seconds
        plain.averaged(pictures, 5000)
    assert capsys.readouterr().err.splitlines()[2:] == [
        "batch statistics over 2,000 of 5,000 pictures, 33 s left",
        "batch statistics over 4,000 of 5,000 pictures, 7 s left",
    ]


def test_a_terminal_gets_a_bar_for_them_that_knows_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    now = [100.0]
    stream = io.StringIO()
    live = LiveProgress(Console(file=stream, force_terminal=True, width=160, get_time=lambda: now[0]))
    live.begun("cifar-plain20", 10, 40)
    live.stepped(40)
    for seconds, pictures in ((1, 1000), (2, 2000), (4, 3000)):
        now[0] += seconds
        live.averaged(pictures, 5000)
    training, statistics = live.bars.tasks[-2:]
    assert (training.completed, training.total) == (40, 40)
    assert (statistics.completed, statistics.total, statistics.time_remaining) == (3000, 5000, 6)
    live.ended()
    for part in ("batch statistics", "3000/5000", "pictures", "00:06"):
        assert part in stream.getvalue()
