"""`train --from`: what the weights bring, what flags change, what is refused."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.said import one_line

from reslab.core.contract import CONTRACTS
from reslab.core.experiment import ModelSpec
from reslab.experiments.networks import build

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]

SIZES = ("--crop", 32, "--shorter-side", 36, "--scale", 34, 50)
NETWORK = ("--model", "cifar-resnet8", "--width", 4)
SHORT = ("--steps", 3, "--batch", 8, "--evaluate-every", 3, "--workers", 0)
DRY = ("--dry-run", "--json")


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture(scope="module")
def source(reslab: Command, folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two other classes, prepared as Caffe does."""
    place = tmp_path_factory.mktemp("source")
    folder_of(place / "photos", ("oak", "yew"), 8, seed=5)
    words = (*NETWORK, *SIZES, *SHORT, "--preprocessing", "caffe")
    done = reslab("train", "--data", place / "photos", *words, "--out", place / "run")
    assert done.returncode == 0, done.stderr
    return place / "run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """resnet18 of width 8 under torchvision's names."""
    net = build(ModelSpec(name="resnet18", width=8))
    safetensors.torch.save_file(dict(net.state_dict()), tmp_path / "resnet18.safetensors")
    return tmp_path / "resnet18.safetensors"


def spec_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_run_brings_its_network_its_contract_and_the_recipe_for_fine_tuning(
    reslab: Command, source: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("--from", source, "--data", photos, "--scale", 34, 50, "--out", tmp_path / "r")
    spec = spec_of(reslab("train", *words, *DRY))
    assert (spec["model"]["name"], spec["model"]["width"]) == ("cifar-resnet8", 4)
    contract = spec["recipe"]["photographs"]["contract"]
    caffe = CONTRACTS["caffe"].model_dump(mode="json")
    assert contract == {**caffe, "crop": 32, "shorter_side": 36}
    assert (spec["recipe"]["steps"], spec["recipe"]["optim"]["lr"]) == (500, 0.01)
    assert spec["start"]["freeze"] == []
    assert spec["start"]["body_rate"] == 0.1
    assert len(spec["start"]["weights"]) == 64


def test_weights_trained_on_parts_of_a_random_area_bring_it_and_others_leave_the_recipes(
    reslab: Command, source: Path, photos: Path, tmp_path: Path
) -> None:
    sizes = ("--crop", 32, "--shorter-side", 36)
    area = ("--area", 0.2, 1)
    done = reslab("train", "--data", photos, *NETWORK, *sizes, *area, *SHORT, "--out", tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    words = ("train", "--data", photos, "--out", tmp_path / "r", *DRY)
    found = spec_of(reslab(*words, "--from", tmp_path / "parts"))["recipe"]["photographs"]
    assert found["area"]["share"] == [0.2, 1.0]
    changed = spec_of(reslab(*words, "--from", tmp_path / "parts", "--area", 0.5, 1))["recipe"]["photographs"]
    assert changed["area"] == {"share": [0.5, 1.0], "aspect": found["area"]["aspect"]}
    plain = spec_of(reslab(*words, "--from", tmp_path / "parts", "--area", "off", "--scale", 34, 50))
    assert (plain["recipe"]["photographs"]["area"], plain["recipe"]["photographs"]["scale"]) == (None, [34, 50])
    other = spec_of(reslab(*words, "--from", source))["recipe"]["photographs"]
    assert (other["area"], other["scale"]) == (None, [34, 50])


def test_flags_override_what_the_weights_bring_and_the_run_records_it(
    reslab: Command, source: Path, photos: Path, tmp_path: Path
) -> None:
    """The named preprocessing is about channels: the weights' sizes stay."""
    flags = (
        "--preprocessing",
        "torchvision",
        "--force",
        "--shorter-side",
        40,
        "--freeze",
        "stem",
        "layer1",
        "--body-rate",
        0.5,
    )
    words = ("--from", source, "--data", photos, "--scale", 34, 50, *SHORT, *flags, "--out", tmp_path / "r")
    done = reslab("train", *words)
    assert done.returncode == 0, done.stderr
    assert (
        "has weights for pictures with order BGR, mean (103.939, 116.779, 123.68), std (1, 1, 1), not with order"
        in " ".join(done.stderr.split())
    )
    spec = json.loads((tmp_path / "r" / "spec.json").read_text())["experiment"]
    contract = spec["recipe"]["photographs"]["contract"]
    expected = CONTRACTS["torchvision"].model_dump(mode="json") | {"crop": 32, "shorter_side": 40}
    assert contract == expected
    assert (spec["start"]["freeze"], spec["start"]["body_rate"]) == (["stem", "layer1"], 0.5)
    noted = json.loads((tmp_path / "r" / "environment.json").read_text())["weights"]
    assert (len(noted["forced"]), noted["preprocessing"]["order"]) == (1, "BGR")
    assert noted["sha256"] == spec["start"]["weights"]
    [state] = (tmp_path / "r" / "checkpoints").glob("step-3/state.json")
    assert json.loads(state.read_text())["preprocessing"]["contract"] == expected


def test_a_fine_tuned_run_is_tested_like_any_other(reslab: Command, source: Path, photos: Path, tmp_path: Path) -> None:
    words = ("--from", source, "--data", photos, "--scale", 34, 50, *SHORT, "--out", tmp_path / "r", "--json")
    done = reslab("train", *words)
    assert done.returncode == 0, done.stderr
    tested = json.loads(
        reslab("evaluate", tmp_path / "r", "--data", photos, "--split", "val", "--workers", 0, "--json").stdout
    )
    assert tested["error"] == json.loads(done.stdout)["test_error"]


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_bare_file_says_nothing_of_its_pictures_so_the_user_must(
    name: str, reslab: Command, file: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("--from", file, "--data", photos, "--model", "resnet18", "--width", 8, "--out", tmp_path / "r")
    line = one_line(reslab("train", *words))
    assert f"{file} does not say how its pictures were prepared: --preprocessing paper, torchvision or caffe" in line
    spec = spec_of(reslab("train", *words, "--preprocessing", name, *DRY))
    assert spec["recipe"]["photographs"]["contract"] == CONTRACTS[name].model_dump(mode="json")
    assert not (tmp_path / "r").exists()


def test_a_spec_file_may_say_it_too(reslab: Command, file: Path, photos: Path, tmp_path: Path) -> None:
    toml = tmp_path / "spec.toml"
    contract = "std = [58.0, 57.0, 57.0]\ncrop = 32\nshorter_side = 36\n"
    toml.write_text(f"[recipe.photographs]\nscale = [34, 50]\n[recipe.photographs.contract]\n{contract}")
    words = ("--from", file, "--data", photos, "--model", "resnet18", "--width", 8, "--spec", toml)
    spec = spec_of(reslab("train", *words, "--out", tmp_path / "r", *DRY))
    assert spec["recipe"]["photographs"]["contract"]["std"] == [58.0, 57.0, 57.0]


def test_a_file_does_not_say_which_network_it_is_of(reslab: Command, file: Path, photos: Path, tmp_path: Path) -> None:
    words = ("--from", file, "--data", photos, "--preprocessing", "torchvision", "--out", tmp_path / "r")
    assert "which network? --model NAME" in one_line(reslab("train", *words))
    line = one_line(reslab("train", *words, "--model", "resnet34", "--width", 8))
    assert "has the weights of another architecture than this network: missing: layer1.2.conv1.weight" in line
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "cifar-resnet14"), "has the weights of cifar-resnet8, not of cifar-resnet14"),
        (("--width", 8), "has the weights of cifar-resnet8 (width 4), not of cifar-resnet8 (width 8)"),
        (("--shortcut", "B"), "weights of cifar-resnet8 (shortcut A), not of cifar-resnet8 (shortcut B)"),
        (("--freeze", "layer4"), "--freeze: unknown part of this network 'layer4'"),
        (("--freeze", "fc"), 'Invalid value "fc" for --freeze'),
        (("--body-rate", 0), "body_rate is 0.0"),
        (("--body-rate", 1.5), "body_rate is 1.5"),
        (("--recipe", "cifar-paper", "--dry-run"), "this recipe is for small pictures"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    words: tuple[object, ...], message: str, reslab: Command, source: Path, photos: Path, tmp_path: Path
) -> None:
    rest = ("--data", photos, "--scale", 34, 50, "--batch", 8, "--out", tmp_path / "r")
    assert message in one_line(reslab("train", "--from", source, *rest, *words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights.pth", "is not a safetensors file; `reslab weights import` reads those of other libraries"),
        ("absent.safetensors", "absent.safetensors"),
        ("damaged.safetensors", "cannot read the weights in"),
        ("empty", "is not a run directory"),
        ("absent", "does not exist; give a run, or a safetensors file"),
    ],
)
def test_what_holds_no_weights_is_one_line(
    name: str, message: str, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "weights.pth")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    (tmp_path / "empty").mkdir()
    words = ("--from", tmp_path / name, "--data", photos, *NETWORK, *SIZES, "--preprocessing", "paper")
    assert message in one_line(reslab("train", *words, "--out", tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def stopped(reslab: Command, words: tuple[object, ...]) -> None:
    """A run that has a checkpoint and no result."""
    done = reslab("train", *words)
    assert done.returncode == 0, done.stderr
    run = Path(str(words[words.index("--out") + 1]))
    (run / "result.json").unlink()


def test_a_run_goes_on_although_what_it_began_from_is_gone(
    reslab: Command, source: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(source, tmp_path / "source")
    settings = ("--data", photos, "--scale", 34, 50, *SHORT, "--freeze", "stem")
    words = ("--from", tmp_path / "source", *settings, "--out", tmp_path / "r")
    stopped(reslab, words)
    shutil.rmtree(tmp_path / "source")
    assert "does not exist" in one_line(reslab("train", *words))
    done = reslab("train", *words, "--resume")
    assert done.returncode == 0, done.stderr
    assert "source does not exist" in done.stderr
    assert "going on from the run's own checkpoint" in done.stderr


def test_a_run_goes_on_although_what_it_began_from_was_trained_further(
    reslab: Command, source: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(source, tmp_path / "source")
    words = ("--from", tmp_path / "source", "--data", photos, "--scale", 34, 50, *SHORT, "--out", tmp_path / "r")
    stopped(reslab, words)
    begun = json.loads((tmp_path / "r" / "spec.json").read_text())["experiment"]["start"]["weights"]
    shutil.copytree(tmp_path / "r" / "checkpoints" / "step-3", tmp_path / "source" / "checkpoints" / "step-9")
    done = reslab("train", *words, "--resume")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r" / "spec.json").read_text())["experiment"]["start"]["weights"] == begun
