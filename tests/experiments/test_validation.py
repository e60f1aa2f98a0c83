import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Experiment, ModelSpec, Photographs, Recipe
from reslab.core.protocol import find_protocol
from reslab.data.parts import Split
from reslab.data.pictures import Pictures, set_aside
from reslab.experiments.feed import Feed
from reslab.experiments.job import Outcome
from reslab.experiments.notify import Notify
from reslab.experiments.testing import trained
from reslab.experiments.weights import read_weights
from reslab.training import checkpoint
from reslab.transforms.cifar import per_pixel_mean

Session = Callable[..., Outcome]


@pytest.fixture(scope="module")
def aside(tiny: Experiment) -> Experiment:
    return tiny.but({"recipe": {"validation": 20}})


@pytest.fixture(scope="module")
def run(carry_out: Session, aside: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("aside") / "run"
    carry_out(out, aside)
    return out


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_pictures_set_aside_are_validated_on_wherever_the_others_are_tested_on(run: Path) -> None:
    tested = [line for line in lines(run) if "test_error" in line]
    assert [line["step"] for line in tested] == [4, 8]
    assert [line["validation_n"] for line in tested] == [20, 20]
    assert [line["step"] for line in lines(run) if "validation_error" in line] == [4, 8]


def test_the_error_on_them_is_that_of_the_network_on_just_them(run: Path, splits: dict[Split, Pictures]) -> None:
    network = trained(read_weights(run, pytest.fail), torch.device("cpu"))
    _, apart = set_aside(splits["train"], 20)
    wrong = 0
    usual = find_protocol(None, network.inputs.native)
    with torch.inference_mode():
        for view in network.inputs.views(apart, usual, range(20), Feed(torch.device("cpu"))):
            wrong += int((network.net(view.images).argmax(dim=1) != apart.labels[view.indices]).sum())
    result = json.loads((run / "result.json").read_text())
    assert result["validation_error"] == 100 * wrong / 20 == lines(run)[-1]["validation_error"]
    assert result["validation_n"] == 20
    assert result["n"] == 40


def test_they_are_not_trained_on_and_do_not_enter_the_mean(run: Path, splits: dict[Split, Pictures]) -> None:
    left, _ = set_aside(splits["train"], 20)
    kept = checkpoint.newest(run / "checkpoints", pytest.fail)
    assert kept is not None
    assert kept.facts["data"]["train"] == left.digest
    assert torch.equal(kept.parts[checkpoint.FORM]["mean"], per_pixel_mean(left.pixels))


def test_a_stopped_run_goes_on_with_the_same_pictures_set_aside(
    carry_out: Session, aside: Experiment, run: Path, tmp_path: Path
) -> None:
    class Stop(Exception):  # noqa: N818 it is no error
        pass

    class Stopping(Notify):
        def recorded(self, line: dict[str, Any]) -> None:
            if line["step"] == 6:
                raise Stop

    with pytest.raises(Stop):
        carry_out(tmp_path / "run", aside, notify=Stopping(), checkpoint_every=3)
    carry_out(tmp_path / "run", aside, resume=True)
    clockless = [
        [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines(one)]
        for one in (run, tmp_path / "run")
    ]
    assert clockless[0] == clockless[1]


def test_without_any_set_aside_no_line_speaks_of_validation(carry_out: Session, tmp_path: Path) -> None:
    carry_out(tmp_path / "run")
    assert not any("validation_error" in line for line in lines(tmp_path / "run"))
    assert "validation_error" not in json.loads((tmp_path / "run" / "result.json").read_text())


def test_too_many_are_refused_and_nothing_is_left_behind(carry_out: Session, tiny: Experiment, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="noise has 100 pictures: 99 set aside leave some class none to train on"):
        carry_out(tmp_path / "run", tiny.but({"recipe": {"validation": 99}}))
    assert not (tmp_path / "run").exists()


def test_photographs_have_a_setting_of_their_own() -> None:
    recipe = Recipe(photographs=Photographs(), validation=5)
    with pytest.raises(SpecError, match=r"recipe\.validation is for small pictures; photographs have photographs"):
        Experiment.parse({"model": ModelSpec(name="resnet18"), "data": "folder", "recipe": recipe})
