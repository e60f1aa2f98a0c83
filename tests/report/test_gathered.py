import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reslab.cli.report import claims, report
from reslab.core.errors import ReslabError, RunError
from reslab.core.rundir import RunDirectory
from reslab.report import scored
from reslab.report.gathered import Gathered, gather

Maker = Callable[..., RunDirectory]
pytestmark = pytest.mark.usefixtures("unpainted")
PLAIN = '{"model": {"name": "cifar-plain20"}, "data": "embedded"}'


@pytest.fixture
def folder(make_run: Maker, tmp_path: Path) -> Path:
    """Three runs: two finished ones of plain-20, of seeds 0 and 2, and between them one that stopped."""
    for seed in range(3):
        make_run("cifar-plain20", 30, 31, seed=seed).path.rename(tmp_path / f"seed{seed}")
    (tmp_path / "seed1" / "result.json").unlink()
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("metrics.jsonl", "", "{run} is not finished: step 0 of 200"),
        ("metrics.jsonl", "5\n5\n", "{run}/metrics.jsonl is damaged at line 1"),
        ("result.json", '{"parameters": 1}', "{run}/result.json is damaged: multiply_adds: field required"),
        ("responses.json", "{", "cannot read {run}/responses.json: "),
        ("spec.json", "{}", "{run}/spec.json: model is missing"),
        ("spec.json", f'{{"experiment": {PLAIN}}}', "{run}/spec.json is damaged: its digest does not match"),
    ],
)
def test_a_run_in_a_folder_that_cannot_be_used_is_left_out_and_one_that_is_named_is_refused(
    make_run: Maker, tmp_path: Path, file: str, text: str, says: str
) -> None:
    whole, broken = (make_run("cifar-plain20", 30, 31, seed=seed) for seed in range(2))
    (broken.path / file).write_text(text)
    found = gather([tmp_path])
    assert [run.directory for run in found.runs] == [str(whole.path)]
    (said,) = found.left_out
    assert said.startswith(says.format(run=broken.path))
    for paths in ([broken.path], [tmp_path, broken.path], [broken.path, tmp_path]):
        with pytest.raises(ReslabError) as raised:
            gather(paths)
        assert str(raised.value) == said


def test_a_run_that_is_found_and_named_is_read_once(folder: Path) -> None:
    found = gather([folder, folder / "seed0", folder / ".." / folder.name / "seed2"])
    assert [run.experiment.seed for run in found.runs] == [0, 2]
    assert len(found.left_out) == 1


def test_where_none_is_finished_that_is_said_in_one_line(folder: Path) -> None:
    for seed in (0, 2):
        (folder / f"seed{seed}" / "result.json").unlink()
    lines = "; ".join(f"{folder}/seed{seed} is not finished: step 200 of 200" for seed in range(3))
    with pytest.raises(RunError) as raised:
        gather([folder])
    assert str(raised.value) == f"there is no finished run in {folder}: {lines}"


def test_the_warning_names_three_and_counts_the_others() -> None:
    assert Gathered([]).warning is None
    assert Gathered([], tuple("abcde")).warning == "left out (5 of 5 runs): a; b; c and 2 more"


def test_report_and_claims_warn_once_and_the_page_says_what_is_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = f"{folder}/seed1 is not finished: step 200 of 200"
    warning = f"reslab: warning: left out (1 of 3 runs): {why}\n"
    claims(folder)
    assert capsys.readouterr().err == warning
    report(folder, out=folder / "page.html", json=True)
    printed = capsys.readouterr()
    assert printed.err == warning
    assert json.loads(printed.out)["left_out"] == [why]
    assert f">Left out: {why}.</p>" in (folder / "page.html").read_text()
    assert f"\n\nLeft out: {why}.\n\n## Fashion-MNIST" in (folder / "page.md").read_text()
    report(folder / "seed0", folder / "seed2", out=folder / "page.html")
    assert capsys.readouterr().err == ""
    assert "Left out" not in (folder / "page.html").read_text() + (folder / "page.md").read_text()


def test_what_a_page_says_is_left_out_is_escaped(folder: Path) -> None:
    shutil.move(folder / "seed1", folder / "<b>*1*")
    report(folder, out=folder / "page.html")
    assert "&lt;b&gt;*1* is not finished" in (folder / "page.html").read_text()
    assert r"&lt;b&gt;\*1\* is not finished" in (folder / "page.md").read_text()


def test_a_run_whose_scores_are_damaged_is_left_out_of_a_page_and_no_claim_needs_them(
    make_photo_run: Maker, make_run: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = make_photo_run((0, 1), (0, 1), (0.9, 0.8), ("ash", "birch"))
    make_run("cifar-plain20", 30, 31)
    scores = photographs.scores / "center-val" / "scores.safetensors"
    scores.write_bytes(b"")
    report(tmp_path, out=tmp_path / "page.html")
    assert f"left out (1 of 2 runs): cannot read {scores}: " in capsys.readouterr().err
    assert "ResNet-18" not in (tmp_path / "page.html").read_text()
    with pytest.raises(RunError, match=r"cannot read .*scores"):
        report(photographs.path, out=tmp_path / "page.html")
    claims(tmp_path)
    assert capsys.readouterr().err == ""


def test_scores_are_read_once_for_a_page(
    make_photo_run: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photo_run((0, 1), (0, 1), (0.9, 0.8), ("ash", "birch"))
    read: list[Path] = []
    tensors = scored._tensors
    monkeypatch.setattr(scored, "_tensors", lambda file, facts: (read.append(file), tensors(file, facts))[1])
    report(tmp_path, out=tmp_path / "page.html")
    assert len(read) == 1
