from pathlib import Path
from typing import Any

import pytest
from tests.report.conftest import Maker

from reslab.report.finished import finished
from reslab.report.page import write_report
from reslab.report.where import where

CHANGED = {"step": 44_000, "revision": "b", "changed": ["revision was a and is b", "processor was p and is q"]}


def test_one_machine_is_said_once(make_run: Maker) -> None:
    runs = finished([make_run("cifar-plain20", 30, 31), make_run("cifar-resnet20", 28, 29)])
    assert where(runs) == ["reslab 0; torch 2; processor p; threads 2."]


def test_each_machine_names_its_runs(make_run: Maker) -> None:
    there = make_run("cifar-resnet20", 28, 29, seed=1)
    there.write("environment.json", {"reslab": "0", "threads": 8})
    assert where(finished([make_run("cifar-plain20", 30, 31), there])) == [
        "plain-20, seed 0: reslab 0; torch 2; processor p; threads 2.",
        "ResNet-20, seed 1: reslab 0; threads 8.",
    ]


def test_another_device_than_the_processor_is_named_and_a_run_that_noted_nothing_is_not(make_run: Maker) -> None:
    there, nowhere = make_run("cifar-resnet20", 28, 29, seed=1), make_run("cifar-resnet20", 28, 29, seed=2)
    there.write("environment.json", {"device": "NVIDIA H100", "processor": "p"})
    nowhere.write("environment.json", {})
    assert where(finished([there, nowhere])) == ["device NVIDIA H100; processor p."]
    nowhere.write("environment.json", {"device": "cpu", "processor": "p"})
    assert where(finished([there, nowhere]))[1] == "ResNet-20, seed 2: processor p."


def test_what_changed_on_the_way_and_what_was_said_of_the_pictures_is_on_both_pages(
    make_run: Maker, tmp_path: Path
) -> None:
    run = make_run("cifar-resnet20", 8.6, 0.8)
    noted = {"reslab": "0", "resumed": [{"step": 500, "changed": []}, CHANGED], "data": {"warnings": ["2 are lossy"]}}
    run.write("environment.json", noted)
    other = make_run("cifar-resnet20", 8.6, 0.8, seed=1)
    other.write("environment.json", {"reslab": "0", "data": {"warnings": ["2 are lossy"]}})
    runs = finished([run, other])
    went_on = "ResNet-20, seed 0, went on after step 44,000: revision was a and is b; processor was p and is q."
    assert where(runs) == ["reslab 0.", went_on, "2 are lossy."]
    written = write_report(runs, tmp_path / "page.html")
    for file in (written.html, written.markdown):
        assert went_on in file.read_text()
        assert "2 are lossy." in file.read_text()


@pytest.mark.parametrize("noted", [{"resumed": 5, "data": 5}, {"resumed": [5, {"step": "x"}], "data": {"warnings": 5}}])
def test_a_damaged_environment_is_no_obstacle(make_run: Maker, noted: dict[str, Any]) -> None:
    run = make_run("cifar-resnet20", 8.6, 0.8)
    run.write("environment.json", noted)
    assert where(finished([run])) == []
