"""Weights say what they are: they are used as that, or refused, or forced and it is recorded."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
from tests.said import one_line

from reslab.core.contract import CONTRACTS

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]

SIZES = ("--crop", 32, "--shorter-side", 36, "--scale", 34, 50)
SHORT = ("--steps", 2, "--batch", 8, "--evaluate-every", 2, "--workers", 0)


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture(scope="module")
def trained(reslab: Command, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of bottlenecks that stride as the paper's do, on pictures prepared as Caffe does."""
    run = tmp_path_factory.mktemp("identity") / "v1"
    words = ("--model", "cifar-bottleneck11", "--width", 8, "--preprocessing", "caffe", *SIZES, *SHORT)
    done = reslab("train", "--data", photos, *words, "--out", run)
    assert done.returncode == 0, done.stderr
    return run


OTHERS = [
    (
        ("--stride-on", "3x3"),
        "the weights of cifar-bottleneck11 (stride on 1x1), not of cifar-bottleneck11 (stride on 3x3)",
    ),
    (
        ("--preprocessing", "paper"),
        "weights for pictures with order BGR, mean (103.939, 116.779, 123.68),"
        " not with order RGB, mean (123.68, 116.779, 103.939)",
    ),
]


@pytest.mark.parametrize("verb", ["evaluate", "predict", "train"])
@pytest.mark.parametrize(("held", "line"), OTHERS)
def test_weights_of_another_identity_exit_with_2_and_one_line_that_names_both(
    held: tuple[str, str], line: str, verb: str, reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    words = {
        "evaluate": (trained, "--data", photos, "--workers", 0, "--out", tmp_path / "s"),
        "predict": (trained, photos / "ash" / "000.jpg"),
        "train": ("--from", trained, "--data", photos, *SIZES, *SHORT, "--out", tmp_path / "r"),
    }[verb]
    refused = one_line(reslab(verb, *words, *held))
    assert refused == f"reslab: {trained} has {line}; to use them all the same, force it"
    assert list(tmp_path.iterdir()) == []
    assert reslab(verb, *words, *held, "--force").returncode == 0


def scores_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {key: value for key, value in found.items() if key not in ("scores", "command", "step")}


def test_what_was_forced_is_recorded_beside_the_scores(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(trained, tmp_path / "run")
    before = (copied / "scores" / "center-val" / "scores.safetensors").read_bytes()
    words = ("evaluate", copied, "--data", photos, "--split", "val", "--workers", 0)
    forced = scores_of(reslab(*words, "--stride-on", "3x3", "--preprocessing", "paper", "--force", "--json"))
    assert [text.split(",")[0] for text in forced["forced"]] == [
        "the weights of cifar-bottleneck11 (stride on 1x1)",
        "weights for pictures with order BGR",
    ]
    assert (copied / "scores" / "center-val" / "scores.safetensors").read_bytes() == before
    (kept,) = (copied / "scores").glob("center-val-forced-*")
    assert json.loads((kept / "protocol.json").read_text())["forced"] == forced["forced"]
    assert (kept / "scores.safetensors").read_bytes() != before
    command = json.loads((kept / "protocol.json").read_text())["command"]
    assert command.endswith("--split val --stride-on 3x3 --preprocessing paper --force")
    text = reslab(*words, "--stride-on", "3x3", "--force").stdout
    assert " has the weights of cifar-bottleneck11 (stride on 1x1), not of" in text
    assert len(list((copied / "scores").glob("center-val-forced-*"))) == 2
    told = reslab("predict", copied, photos / "ash" / "000.jpg", "--stride-on", "3x3", "--force", "--json")
    assert json.loads(told.stdout)
    assert f"forced: {copied} has the weights of cifar-bottleneck11 (stride on 1x1), not of" in told.stderr


def test_both_differences_are_named_at_once(reslab: Command, trained: Path, photos: Path) -> None:
    words = ("evaluate", trained, "--data", photos, "--stride-on", "3x3", "--preprocessing", "paper")
    line = one_line(reslab(*words))
    assert "stride on 1x1" in line
    assert " and weights for pictures with order BGR" in line


def test_scores_that_could_not_be_kept_are_refused_before_a_picture_is_tested(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reslab.experiments.testing.score_views", lambda *_: pytest.fail("pictures were tested"))
    (tmp_path / "file").write_text("x")
    done = reslab("evaluate", trained, "--data", photos, "--out", tmp_path / "file" / "scores")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'file'} is a file, not a directory" in done.stderr


def test_weights_for_small_pictures_are_not_for_photographs_nor_the_other_way(
    reslab: Command, finished: Path, trained: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("--data", photos, *SIZES, *SHORT, "--preprocessing", "paper", "--out", tmp_path / "r")
    line = one_line(reslab("train", "--from", finished, *words))
    assert "has weights for small pictures, not for photographs; to use them all the same, force it" in line
    other = ("--data", "embedded", "--steps", 2, "--batch", 8, "--out", tmp_path / "r")
    line = one_line(reslab("train", "--from", trained, *other))
    assert "has weights for photographs, not for small pictures" in line
    assert list(tmp_path.iterdir()) == []


def test_what_is_so_may_be_said_and_changes_nothing(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("evaluate", trained, "--data", photos, "--split", "val", "--workers", 0, "--json")
    plain = scores_of(reslab(*words, "--out", tmp_path / "a"))
    said = ("--stride-on", "1x1", "--preprocessing", "caffe", "--shortcut", "B")
    assert scores_of(reslab(*words, *said, "--out", tmp_path / "b")) == plain
    assert plain["forced"] == []
    scores = [(tmp_path / name / "scores.safetensors").read_bytes() for name in "ab"]
    assert scores[0] == scores[1]


def test_force_alone_means_nothing(reslab: Command, trained: Path, photos: Path) -> None:
    assert "--force has no effect here" in one_line(reslab("evaluate", trained, "--data", photos, "--force"))


def test_a_forced_start_is_in_the_spec_and_in_the_environment(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    words = ("--from", trained, "--data", photos, *SIZES, *SHORT, "--stride-on", "3x3", "--out", tmp_path / "r")
    done = reslab("train", *words, "--force")
    assert done.returncode == 0, done.stderr
    assert "forced: " in done.stderr
    assert json.loads((tmp_path / "r" / "spec.json").read_text())["experiment"]["start"]["force"] is True
    (noted,) = json.loads((tmp_path / "r" / "environment.json").read_text())["weights"]["forced"]
    assert noted.endswith("not of cifar-bottleneck11 (stride on 3x3)")


def test_every_checkpoint_carries_its_identity_in_the_header_of_its_weights(trained: Path) -> None:
    (file,) = trained.glob("checkpoints/step-2/model.safetensors")
    with safetensors.safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert list(metadata) == ["reslab"]
    said = json.loads(metadata["reslab"])
    assert said["architecture"] == {
        "family": "cifar",
        "depth": 11,
        "block": "bottleneck",
        "shortcut": "B",
        "stride_on": "1x1",
        "pool": None,
        "width": 8,
        "bn_eps": 1e-5,
        "classes": 3,
    }
    assert said["preprocessing"]["contract"]["order"] == "BGR"
    assert said["preprocessing"]["contract"]["mean"] == list(CONTRACTS["caffe"].mean)
    assert said["classes"] == ["ash", "birch", "cedar"]


def test_a_lone_file_of_weights_is_tested_as_its_run_is(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    (file,) = trained.glob("checkpoints/step-2/model.safetensors")
    lone = shutil.copy(file, tmp_path / "lone.safetensors")
    words = ("--data", photos, "--split", "val", "--workers", 0, "--json")
    assert scores_of(reslab("evaluate", lone, *words)) == scores_of(reslab("evaluate", trained, *words))
    (kept,) = (tmp_path / "lone-scores").iterdir()
    assert kept.name.startswith("center-val-")
    whole = scores_of(reslab("evaluate", trained / "checkpoints" / "step-2", *words, "--out", tmp_path / "s"))
    assert whole["hits"] == scores_of(reslab("evaluate", trained, *words))["hits"]


def test_a_fingerprint_that_was_tampered_with_is_one_line(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    (file,) = trained.glob("checkpoints/step-2/model.safetensors")
    data = file.read_bytes()
    for old, new in ((b'\\"depth\\":11', b'\\"depth\\":12'), (b'\\"shortcut\\":\\"B\\"', b'\\"shortcut\\":\\"X\\"')):
        assert data.count(old) == 1
        (tmp_path / "w.safetensors").write_bytes(data.replace(old, new))
        line = one_line(reslab("evaluate", tmp_path / "w.safetensors", "--data", photos))
        assert "w.safetensors: its fingerprint is damaged: " in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar-bottleneck28", "has 9n+2 layers (11, 20, 29, ...), not 28; the nearest is 29"),
        ("cifar-plain-bottleneck6", "has 9n+2 layers (11, 20, 29, ...), not 6; the nearest is 11"),
        ("bottleneck29", "did you mean 'cifar-bottleneck29'?"),
        ("cifar-resnet-1", "cifar- networks also in any other depth 6n+2, of bottlenecks 9n+2"),
    ],
)
def test_a_network_that_is_none_is_one_line(name: str, message: str, reslab: Command) -> None:
    assert message in one_line(reslab("show", name))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("resnet18", "--stride-on", "3x3"), "stride_on has no effect on resnet18: basic blocks stride in their first"),
        (
            ("cifar-bottleneck29", "--pool", "caffe"),
            "pool has no effect on cifar-bottleneck29: networks for CIFAR do not",
        ),
    ],
)
def test_a_choice_without_effect_is_one_line(words: tuple[str, ...], message: str, reslab: Command) -> None:
    assert message in one_line(reslab("show", *words))


def test_plain_bottlenecks_have_names_too(reslab: Command) -> None:
    found = json.loads(reslab("show", "cifar-plain-bottleneck29", "--json").stdout)
    assert (found["shortcut"], found["projections"]) == ("none", 0)
    assert "for shortcut B use cifar-bottleneck29" in one_line(
        reslab("show", "cifar-plain-bottleneck29", "--shortcut", "B")
    )
    assert json.loads(reslab("show", "plain50", "--json").stdout)["parameters"] == 22_780_456
