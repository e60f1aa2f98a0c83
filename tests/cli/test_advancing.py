"""How far the data tools are: lines in a log, bars on a terminal; never a word among the results."""

import contextlib
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imagenet_archives import Archives
from tests.said import Terminal

from reslab.cli.advancing import INTERVAL, LATELY, Lines, advancing, advancing_parts, in_bytes
from reslab.cli.app import run

Command = Callable[..., subprocess.CompletedProcess[str]]
Pass = Callable[[float], None]

pytestmark = pytest.mark.usefixtures("quick_meta")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Lets seconds pass; no other clock runs."""
    now = [100.0]
    monkeypatch.setattr("reslab.cli.advancing.time.monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


def test_a_log_gets_a_line_an_interval_with_the_time_left(passes: Pass, capsys: pytest.CaptureFixture[str]) -> None:
    with advancing("verified") as checked:
        for seconds, done in ((5, 1000), (INTERVAL - 1, 1600), (1, 2000), (INTERVAL - 1, 2100), (1, 3000), (99, 4000)):
            passes(seconds)
            checked(done, 4000)
    assert capsys.readouterr() == (
        "",
        "verified: 2,000 of 4,000 pictures, 1 min 00 s left\nverified: 3,000 of 4,000 pictures, 30 s left\n",
    )


def test_each_part_has_lines_of_its_own(passes: Pass, capsys: pytest.CaptureFixture[str]) -> None:
    with advancing_parts(text=in_bytes) as advanced:
        for part, whole in (("train", 2**40), ("val", 2**33)):
            for quarter in range(5):
                passes(INTERVAL)
                advanced(part, quarter * whole // 4, whole)
    assert capsys.readouterr().err.splitlines() == [
        *("train: 256.0 GiB of 1.0 TiB, 1 min 30 s left", "train: 512.0 GiB of 1.0 TiB, 1 min 00 s left"),
        *("train: 768.0 GiB of 1.0 TiB, 30 s left", "val: 2.0 GiB of 8.0 GiB, 1 min 30 s left"),
        *("val: 4.0 GiB of 8.0 GiB, 1 min 00 s left", "val: 6.0 GiB of 8.0 GiB, 30 s left"),
    ]


def test_what_was_passed_over_at_once_is_soon_forgotten(passes: Pass) -> None:
    lines, of = Lines(10), 10_000
    lines.left(0, of)
    passes(10)
    assert lines.left(9_000, of) == "1 s"
    for done in range(9_001, 9_001 + LATELY):
        passes(10)
        left = lines.left(done, of)
    assert left == "2 h 45 min"


def test_nothing_is_said_where_nothing_was_done(passes: Pass) -> None:
    lines = Lines(10)
    assert [lines.left(5, 9), passes(60), lines.left(5, 9), lines.left(9, 9)] == [None] * 4


def test_a_terminal_gets_bars_and_one_that_cannot_draw_them_lines(
    monkeypatch: pytest.MonkeyPatch, passes: Pass
) -> None:
    for term, shows in (("xterm", "50%"), ("dumb", "packed: 2 of 4 pictures, 1 min 00 s left\n")):
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("COLUMNS", "80")
        with contextlib.redirect_stderr(Terminal()) as shown, advancing("packed") as packed:
            for done in (1, 2):
                passes(INTERVAL / 2)
                packed(done, 4)
            passes(INTERVAL / 2)
            packed(2, 4)
        assert shows in shown.getvalue()


@pytest.fixture
def trees(folder_of: Callable[..., Path], tmp_path: Path) -> Path:
    """Three classes of 20 pictures."""
    return folder_of(tmp_path / "trees", pictures=20)


LEFT = r"(\d+ h )?(\d+ min )?\d+ (s|min) left"


def said_by(reslab: Command, *words: object) -> list[str]:
    """What a verb says beside one JSON document."""
    done = reslab(*words, "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), dict)
    return done.stderr.splitlines()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_verbs_say_how_far_they_are_in_a_log(
    workers: int, reslab: Command, trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reslab.cli.advancing.INTERVAL", 0.0)
    monkeypatch.setattr("reslab.data.folder.REPORT_EVERY", 25)
    out = tmp_path / "out"
    for of, dones, words in (
        ("verified: {} of 60 pictures", (32, 48), ("verify", trees)),
        ("measured: {} of 48 pictures", (32,), ("stats", trees, "--crop", 32, "--shorter-side", 32)),
        ("packed: {} of 60 pictures", (40,), ("pack", trees, "--out", out, "--shard-size", 20)),
        ("verified: {} of 60 pictures", (32, 48), ("verify", out)),
    ):
        *found, _ = said = said_by(reslab, "data", *words, "--workers", workers)
        if trees in words:
            assert found[:2] == ["25 pictures found so far", "50 pictures found so far"]
        for line, done in zip(said[-len(dones) :], dones, strict=True):
            assert re.fullmatch(f"{of.format(done)}, {LEFT}", line)
    assert said_by(reslab, "data", "pack", trees, "--out", out, "--shard-size", 20)[2:] == []


@pytest.mark.parametrize(
    ("form", "of"),
    [((), r"train: [\d.]+ KiB of [\d.]+ KiB"), (("--shards", "--shard-size", 9), r"train: \d+ of 62 pictures")],
)
def test_preparing_says_how_far_it_is_in_a_log(
    form: tuple[object, ...],
    of: str,
    reslab: Command,
    archives: Archives,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ("data", "prepare", "imagenet", *archives.words, *form, "--out")
    assert said_by(reslab, *words, tmp_path / "quick") == []
    monkeypatch.setattr("reslab.cli.advancing.INTERVAL", 0.0)
    said = said_by(reslab, *words, tmp_path / "slow")
    assert len([line for line in said if re.fullmatch(f"{of}, {LEFT}", line)]) >= 5
    assert {line.split(":")[0] for line in said} <= {"train", "val"}
    assert said_by(reslab, *words, tmp_path / "slow") == []


def test_a_terminal_sees_bars_of_every_verb(trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    for part, words in (
        ("verified", ["verify", str(trees)]),
        ("packed", ["pack", str(trees), "--out", str(tmp_path / "out")]),
        ("measured", ["stats", str(trees), "--crop", "32", "--shorter-side", "32"]),
    ):
        with contextlib.redirect_stderr(Terminal()) as shown, contextlib.redirect_stdout(io.StringIO()):
            assert run(["data", *words, "--workers", "0"]) == 0
        assert part in shown.getvalue()
        assert "%" in shown.getvalue()
