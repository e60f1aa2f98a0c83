"""``reslab recipes`` as a user runs it."""

import contextlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.said import Terminal, answer, bare_line

from reslab.cli.app import run
from reslab.core.experiment import Experiment, ModelSpec
from reslab.core.rundir import RunDirectory
from reslab.experiments.recipes import RECIPES, about_recipe, named_recipe

Command = Callable[..., subprocess.CompletedProcess[str]]
LINES = {"Expected": "expectation", "Cost": "cost", "Command": "command"}


@pytest.fixture(scope="module")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture
def own_run(tmp_path: Path) -> Path:
    """A run with the recipe `short`, but of 7 steps."""
    recipe = named_recipe("short").but({"steps": 7})
    experiment = Experiment(model=ModelSpec(name="cifar-resnet8"), data="embedded", recipe=recipe)
    return RunDirectory.create(tmp_path / "run", experiment).path


def test_what_differs_is_said_field_by_field(reslab: Command) -> None:
    done = reslab("recipes", "diff", "cifar-paper", "cifar-paper-warm-up", "--json")
    assert json.loads(done.stdout) == {
        "schedule.warm_up.lr": [None, 0.01],
        "schedule.warm_up.until_error": [None, 80.0],
        "schedule.warm_up.window": [None, 50],
    }
    text = reslab("recipes", "diff", "cifar-paper", "short").stdout
    assert [line.split() for line in text.splitlines() if line.startswith("steps")] == [["steps", "64000", "200"]]
    assert "momentum" not in text


def test_equal_recipes_and_runs(reslab: Command, own_run: Path) -> None:
    assert reslab("recipes", "diff", "short", "short").stdout == "no setting differs\n"
    assert reslab("recipes", "diff", "short", "short", "--json").stdout == "{}\n"
    done = reslab("recipes", "diff", own_run, "short", "--json")
    assert json.loads(done.stdout) == {"steps": [7, 200]}


def test_initial_weights_are_set_by_a_file_shown_and_compared(reslab: Command, tmp_path: Path) -> None:
    rows = [line.split() for line in reslab("recipes", "show", "paper").stdout.splitlines()]
    assert ["init.fan", '"fan_out"'] in rows
    assert ["init.classifier", '"uniform"'] in rows
    file = tmp_path / "caffe.toml"
    file.write_text('[recipe.init]\nfan = "fan_in"\nclassifier = "he"\n')
    words = ("train", "--model", "cifar-resnet8", "--width", 4, "--data", "embedded", "--spec", file)
    small = ("--steps", 2, "--batch", 8, "--evaluate-every", 2, "--out", tmp_path / "run")
    done = reslab(*words, *small)
    assert done.returncode == 0, done.stderr
    found = json.loads(reslab("recipes", "diff", tmp_path / "run", "short", "--json").stdout)
    assert found["init.fan"] == ["fan_in", "fan_out"]
    assert found["init.classifier"] == ["he", "uniform"]
    file.write_text('[recipe.init]\nfan = "fan_inn"\n')
    refused = reslab(*words, "--out", tmp_path / "no")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "recipe.init.fan is 'fan_inn': input should be 'fan_out' or 'fan_in'" in refused.stderr
    assert not (tmp_path / "no").exists()


def test_an_unknown_recipe_is_one_line(reslab: Command) -> None:
    done = reslab("recipes", "diff", "cifar-paper", "cifr-paper")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("reslab: unknown recipe 'cifr-paper'")


def test_a_recipe_is_shown_with_what_it_is_for_and_every_setting(reslab: Command) -> None:
    text = reslab("recipes", "show", "paper-plateau").stdout
    assert text.startswith("Section 3.4 to the letter")
    assert "Command: reslab train --model resnet34 --data IMAGENET --recipe paper-plateau --out RUN" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["schedule.plateau.patience", "3"] in rows
    assert ["photographs.scale", "[256,", "480]"] in rows
    assert reslab("recipes", "show", "papr").stderr.startswith("reslab: unknown recipe 'papr'; did you mean 'paper'?")


def test_its_json_has_a_field_for_each_thing_that_is_said(reslab: Command) -> None:
    found = answer(reslab("recipes", "show", "paper-plateau", "--json"))
    assert list(found) == ["recipe", "summary", "expectation", "cost", "command", "settings"]
    assert found["recipe"] == "paper-plateau"
    assert found["settings"] == named_recipe("paper-plateau").model_dump(mode="json")
    assert found["command"] == "reslab train --model resnet34 --data IMAGENET --recipe paper-plateau --out RUN"
    lines = reslab("recipes", "show", "paper-plateau").stdout.splitlines()
    said = [found["summary"], "", *(f"{key}: {found[field]}" for key, field in LINES.items())]
    assert lines[: len(said)] == said


def test_of_a_run_the_recipe_that_it_has_is_shown(reslab: Command, own_run: Path) -> None:
    found = answer(reslab("recipes", "show", own_run, "--json"))
    recipe = named_recipe("short").but({"steps": 7})
    assert found == {"run": str(own_run), "settings": recipe.model_dump(mode="json")}
    text = reslab("recipes", "show", own_run).stdout
    assert text.startswith(f"The recipe of the run {own_run}.\n\nsetting")
    assert ["steps", "7"] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("words", [("show",), ("diff", "paper")])
def test_a_recipe_comes_before_a_folder_of_its_name(
    words: tuple[str, ...], reslab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paper").mkdir()
    monkeypatch.chdir(tmp_path)
    done = reslab("recipes", *words, "paper")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [("show",), ("diff", "paper")])
def test_a_place_without_a_run_is_one_line(words: tuple[str, ...], reslab: Command, tmp_path: Path) -> None:
    line = bare_line(reslab("recipes", *words, tmp_path))
    assert line == f"{tmp_path} is not a run directory: it has no spec.json"
    assert bare_line(reslab("recipes", *words, tmp_path / "no")) == f"there is no run at {tmp_path / 'no'}"


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_of_every_recipe_is_one(name: str, reslab: Command, photos: Path, brought: Path) -> None:
    program, *words = about_recipe(name).command.split()
    places = {"CIFAR10": "embedded", "IMAGENET": photos, "FOLDER": photos, "WEIGHTS": brought}
    done = reslab(*(places.get(word, word) for word in words), "--dry-run", "--json")
    assert (program, done.returncode, done.stderr) == ("reslab", 0, "")
    stated = json.loads(done.stdout)["recipe"]
    wanted = named_recipe(name).model_dump(mode="json")
    assert {key: stated[key] for key in ("steps", "batch", "schedule", "optim")} == {
        key: wanted[key] for key in ("steps", "batch", "schedule", "optim")
    }


def test_longer_is_a_multiplier_of_the_steps(reslab: Command) -> None:
    words = ("train", "--model", "cifar-resnet20", "--data", "embedded", "--out", "run", "--dry-run", "--json")

    def steps(*more: object) -> int:
        found = json.loads(reslab(*words, *more).stdout)["recipe"]
        assert found["schedule"]["drops"] == [0.5, 0.75]
        return int(found["steps"])

    assert steps("--longer", 3) == 600
    assert steps("--longer", 3, "--steps", 50) == 150
    assert steps("--longer", 0.5, "--epochs", 1) == 47  # half of 12,000 pictures in batches of 128
    done = reslab(*words, "--longer", 0)
    assert (done.returncode, done.stderr) == (2, "reslab: --longer must be positive, not 0.0\n")


def test_in_a_narrow_terminal_no_setting_loses_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "84")
    monkeypatch.setattr("reslab.cli.output.WIDE", 84)
    with contextlib.redirect_stdout(Terminal()) as shown:
        assert run(["recipes", "diff", "paper", "torchvision-v1"]) == 0
    told = "".join(line[:26].strip() for line in shown.getvalue().splitlines())
    assert "photographs.colour.eigenvalues" in told
    assert "photographs.colour.eigenvectors" in told
    assert "…" not in shown.getvalue()


def test_every_spec_file_of_the_documents_is_one(reslab: Command, photos: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    files = text.split("```toml\n")[1:]
    assert len(files) == 2
    for file in files:
        (tmp_path / "spec.toml").write_text(file.partition("```")[0])
        words = ("--model", "resnet18", "--data", photos, "--spec", tmp_path / "spec.toml", "--out", tmp_path / "run")
        done = reslab("train", *words, "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["recipe"]["schedule"]["drops"] == []


def test_what_the_documents_show_is_printed(reslab: Command) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    shown = text.partition("$ reslab recipes diff paper paper-plateau\n")[2].partition("```")[0]
    printed = reslab("recipes", "diff", "paper", "paper-plateau").stdout
    assert [line.split() for line in shown.splitlines()] == [line.split() for line in printed.splitlines()]
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert rows == list(RECIPES)
