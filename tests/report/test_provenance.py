from collections.abc import Callable
from pathlib import Path

import pytest
from tests.report.compared import Page

from reslab.core.rundir import RunDirectory
from reslab.report.finished import finished
from reslab.report.page import write_report
from reslab.report.provenance import of_mean, of_test, of_training

Maker = Callable[..., RunDirectory]


def keep_checkpoint(run: RunDirectory) -> None:
    (run.checkpoints / "step-200").mkdir(parents=True)
    (run.checkpoints / "step-200" / "manifest.json").write_text("{}")


def test_a_test_error_names_the_command_that_gives_it_again(make_run: Maker) -> None:
    run = make_run("cifar-resnet20", 28, 25, seed=3)
    keep_checkpoint(run)
    source = of_test(finished([run])[0])
    assert source.title == "ResNet-20, seed 3: test error"
    assert source.facts == {
        "run directory": str(run.path),
        "step": "200",
        "seed": "3",
        "precision": "fp32",
        "pictures": "Fashion-MNIST val",
        "n": "2,000",
        "command": f"reslab evaluate {run.path} --data embedded",
    }
    assert source.hint.splitlines()[:3] == [source.title, f"run directory: {run.path}", "step: 200"]


def test_a_run_on_photographs_names_protocol_and_pictures(make_photo_run: Maker) -> None:
    run = make_photo_run([0, 1], [0, 1], [0.9, 0.8], ("ash", "birch"), data="trees", name="two words")
    keep_checkpoint(run)
    facts = of_test(finished([run])[0]).facts
    assert facts["protocol"] == "center"
    assert facts["pictures"] == "trees val, sha256 222222222222"
    assert facts["command"] == f"reslab evaluate '{run.path}' --data FOLDER"


def test_a_run_without_checkpoint_promises_no_command(make_run: Maker) -> None:
    facts = of_test(finished([make_run("cifar-resnet20", 28, 25)])[0]).facts
    assert facts["weights"] == "not kept"
    assert "command" not in facts


def test_a_training_error_says_over_what_and_in_what_precision(make_run: Maker) -> None:
    run = make_run("cifar-resnet20", 28, 25)
    run.write("environment.json", {"precision": "bf16"})
    facts = of_training(finished([run])[0]).facts
    assert facts["protocol"] == "mean over the last 50 training batches"
    assert facts["precision"] == "bf16"
    assert facts["n"] == "6,400"


def test_a_mean_names_its_runs(make_run: Maker) -> None:
    runs = finished([make_run("cifar-plain20", 30, 31, seed=seed) for seed in (1, 2)])
    source = of_mean("test error", runs)
    assert source.title == "plain-20: mean test error ± standard deviation"
    assert source.facts["seeds"] == "1, 2"
    assert source.facts["command"] == f"reslab report {runs[0].directory} {runs[1].directory}"


@pytest.mark.usefixtures("unpainted")
def test_every_error_of_the_results_says_where_it_comes_from(make_run: Maker, tmp_path: Path) -> None:
    runs = [make_run("cifar-plain20", 30, 31, seed=seed) for seed in (0, 1)]
    other = make_run("cifar-resnet20", 28, 25, width=8)
    written = write_report(finished([*runs, other]), tmp_path / "out" / "page.html")
    page = Page(written.html.read_text())
    assert len(page.targets) == 8
    assert sorted(page.targets) == sorted(page.popovers)
    assert len(set(page.ids)) == len(page.ids)
    whose = ("plain-20, seed 0: ", "plain-20, seed 1: ", "plain-20: mean ", "ResNet-20, seed 0: ")
    for what in ("training error", "test error"):
        assert all(any(hint.startswith(one + what) for hint in page.hints) for one in whose)
    assert "popover" not in written.markdown.read_text()


@pytest.mark.usefixtures("unpainted")
def test_a_hostile_directory_is_shown_and_does_nothing(make_run: Maker, tmp_path: Path) -> None:
    run = make_run("cifar-plain20", 30, 31)
    name = '"><script>alert(1)<\\script>\n'
    run.path.rename(tmp_path / name)
    html = write_report(finished([RunDirectory.open(tmp_path / name)]), tmp_path / "page.html").html.read_text()
    page = Page(html)
    assert "script" not in page.tags
    assert '"><script>alert(1)<\\script>\\n' in page.hints[0]
