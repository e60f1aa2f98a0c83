"""``reslab recipes diff`` as a user runs it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from reslab.core.experiment import Experiment, ModelSpec
from reslab.core.rundir import RunDirectory
from reslab.experiments.recipes import named_recipe

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_what_differs_is_said_field_by_field(reslab: Command) -> None:
    done = reslab("recipes", "diff", "paper-cifar", "paper-cifar-warm-up", "--json")
    assert json.loads(done.stdout) == {
        "schedule.warm_up.lr": [None, 0.01],
        "schedule.warm_up.until_error": [None, 80.0],
        "schedule.warm_up.window": [None, 50],
    }
    text = reslab("recipes", "diff", "paper-cifar", "short").stdout
    assert [line.split() for line in text.splitlines() if line.startswith("steps")] == [["steps", "64000", "200"]]
    assert "momentum" not in text


def test_equal_recipes_and_runs(reslab: Command, tmp_path: Path) -> None:
    assert reslab("recipes", "diff", "short", "short").stdout == "no setting differs\n"
    assert reslab("recipes", "diff", "short", "short", "--json").stdout == "{}\n"
    recipe = named_recipe("short").but({"steps": 7})
    experiment = Experiment(model=ModelSpec(name="cifar-resnet8"), data="embedded", recipe=recipe)
    RunDirectory.create(tmp_path / "run", experiment)
    done = reslab("recipes", "diff", tmp_path / "run", "short", "--json")
    assert json.loads(done.stdout) == {"steps": [7, 200]}


def test_an_unknown_recipe_is_one_line(reslab: Command, tmp_path: Path) -> None:
    done = reslab("recipes", "diff", "paper-cifar", "papr-cifar")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("reslab: unknown recipe 'papr-cifar'")
    assert reslab("recipes", "diff", "short", tmp_path).stderr == (
        f"reslab: {tmp_path} is not a run directory: it has no spec.json\n"
    )
