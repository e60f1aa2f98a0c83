"""``reslab weights``: other libraries' weights come in, are told apart, and go out."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.weights.files import CLASSES, Command, refused, said
from tests.weights.networks import photo_net, small_net, stirred

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "trees", CLASSES, 4)


def test_an_import_says_what_it_has_kept(reslab: Command, files: Path, tmp_path: Path) -> None:
    named = ("--classes", files / "classes.txt")
    done = reslab("weights", "import", "torchvision", files / "resnet18.pth", *named, "--out", tmp_path / "ours")
    assert done.returncode == 0
    assert done.stderr == f"kept in {tmp_path / 'ours'}\n"
    rows = {line.split("  ")[0]: line.rstrip() for line in done.stdout.splitlines()}
    assert rows["kind"].endswith("reslab")
    assert rows["network"].endswith("resnet18")
    assert rows["classes"].endswith("3: ash, birch, cedar")
    assert "shorter side 256, central crop 224, RGB" in rows["pictures"]
    assert "123.675, 116.28, 103.53" in rows["subtracted"]


def test_an_import_is_evaluated_and_predicts(reslab: Command, brought: Path, photos: Path, tmp_path: Path) -> None:
    flags = ("--data", photos, "--workers", 0, "--out", tmp_path / "scores", "--json")
    tested = reslab("evaluate", brought, *flags)
    assert tested.returncode == 0, tested.stderr
    assert json.loads(tested.stdout)["n"] == 12
    predicted = reslab("predict", brought, photos / "ash" / "000.jpg", "--json")
    assert {answer["class"] for answer in json.loads(predicted.stdout)[0]["answers"]} == set(CLASSES)


def test_a_lone_file_is_tested_as_its_folder_is(reslab: Command, brought: Path, photos: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(brought / "model.safetensors", alone)
    answers = []
    for number, place in enumerate((brought, alone)):
        flags = ("--data", photos, "--workers", 0, "--out", tmp_path / f"scores{number}", "--json")
        done = reslab("evaluate", place, *flags)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        answers.append({key: value for key, value in answer.items() if key not in ("scores", "command")})
    assert answers[0] == answers[1]
    assert said(reslab, "inspect", alone) == said(reslab, "inspect", brought)


@pytest.mark.parametrize(
    ("place", "kind", "network", "classes"),
    [
        ("resnet18.pth", "torchvision", "resnet18", None),
        ("resnet8.th", "akamaster", "cifar-resnet8", 10),
        ("timm", "timm", "resnet18", 3),
        ("timm/model.safetensors", "torchvision", "resnet18", None),
        ("ours", "reslab", "resnet18", 3),
        ("ours/model.safetensors", "reslab", "resnet18", 3),
    ],
)
@pytest.mark.usefixtures("brought")
def test_inspecting_says_whose_weights_they_are(
    place: str, kind: str, network: str, classes: int | None, reslab: Command, files: Path
) -> None:
    found = said(reslab, "inspect", files / place)
    assert (found["kind"], found["model"]) == (kind, network)
    assert (found["classes"] and len(found["classes"])) == classes
    assert found["architecture"]["width"] == 4
    assert found["parameters"] == sum(t.numel() for name, t in tensors_of(network) if is_learnt(name))
    assert (found["sha256"] is None) == (place == "timm")
    text = reslab("weights", "inspect", files / place).stdout
    assert f"kind        {kind}" in text
    assert ("(timm's files look the same)" in text) == (kind == "torchvision")
    assert f"parameters  {found['parameters']:,}" in text
    assert "not named" in text or classes


def tensors_of(network: str) -> list[tuple[str, torch.Tensor]]:
    return list(stirred(photo_net(classes=3) if network == "resnet18" else small_net()).items())


def is_learnt(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_inspecting_shows_how_pictures_are_prepared(reslab: Command, files: Path) -> None:
    found = said(reslab, "inspect", files / "timm")
    assert found["preprocessing"]["contract"] == {
        "order": "RGB", "mean": [127.5] * 3, "std": [127.5] * 3, "mean_image": None,
        "resample": "bicubic", "shorter_side": 32, "crop": 32,
    }  # fmt: skip
    assert (found["preprocessing"]["resample"], found["notes"]) == ("bicubic, antialiased", [])
    text = reslab("weights", "inspect", files / "timm").stdout
    assert "shorter side 32, central crop 32, RGB" in text
    assert "resized     bicubic, antialiased" in text
    small = reslab("weights", "inspect", files / "resnet8.th").stdout
    assert "32x32" in small
    assert "mean of each channel: 123.675, 116.28, 103.53" in small


def test_inspecting_knows_the_authors_layers_by_their_names(reslab: Command, tmp_path: Path) -> None:
    np.savez(tmp_path / "blobs.npz", **{"res2a_branch2a.0": np.ones(3, "f4")})
    assert "none of the layers that end conv4_x" in refused(reslab("weights", "inspect", tmp_path / "blobs.npz"))
    (tmp_path / "model.json").write_text('{"weightsManifest": []}')
    assert "none of the layers that end conv4_x" in refused(reslab("weights", "inspect", tmp_path / "model.json"))


def test_a_note_about_the_pictures_is_told_when_weights_come_in(reslab: Command, files: Path, tmp_path: Path) -> None:
    done = reslab("weights", "import", "timm", files / "timm", "--out", tmp_path / "ours")
    assert done.returncode == 0
    assert "timm resizes" not in done.stderr
    shutil.copytree(files / "timm", tmp_path / "timm")
    said = (tmp_path / "timm" / "config.json").read_text()
    (tmp_path / "timm" / "config.json").write_text(said.replace("bicubic", "lanczos"))
    done = reslab("weights", "import", "timm", tmp_path / "timm", "--out", tmp_path / "a")
    assert done.returncode == 0
    assert "timm resizes with lanczos interpolation, reslab with antialiased bilinear" in done.stderr
    done = reslab(
        "weights", "import", "timm", files / "resnet18.pth", "--classes", files / "classes.txt", "--out", tmp_path / "b"
    )
    assert done.returncode == 0
    assert "there is no config.json beside it" in done.stderr


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ((), {}),
        (("--crop", 200), {"crop": 200}),
        (("--shorter-side", 300), {"shorter_side": 300}),
        (("--resample", "bicubic"), {"resample": "bicubic"}),
        (("--preprocessing", "paper"), {"mean": [123.68, 116.779, 103.939], "std": [1, 1, 1]}),
        (
            ("--preprocessing", "caffe", "--crop", 192, "--shorter-side", 192),
            {"order": "BGR", "mean": [103.939, 116.779, 123.68], "std": [1, 1, 1], "crop": 192, "shorter_side": 192},
        ),
        (("--crop", 520, "--shorter-side", 600), {"crop": 520, "shorter_side": 600}),
    ],
)
def test_what_a_user_knows_better_changes_the_contract(
    flags: tuple[object, ...], changed: dict[str, Any], reslab: Command, files: Path, tmp_path: Path
) -> None:
    usual = {"order": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    usual |= {"mean_image": None, "resample": "bilinear", "shorter_side": 256, "crop": 224}
    source = ("torchvision", files / "resnet18.pth", "--classes", files / "classes.txt")
    found = said(reslab, "import", *source, *flags, "--out", tmp_path / "ours")
    assert found["preprocessing"]["contract"] == usual | changed


def test_an_export_names_its_files(reslab: Command, brought: Path, tmp_path: Path) -> None:
    done = reslab("weights", "export", brought, "--to", "safetensors", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    written = [line.removeprefix("written: ") for line in done.stdout.splitlines()]
    assert written == sorted(str(path) for path in (tmp_path / "a").iterdir())
    assert said(reslab, "export", brought, "--to", "safetensors", "--out", tmp_path / "b") == {
        "files": sorted(str(path) for path in (tmp_path / "b").iterdir())
    }
    assert said(reslab, "inspect", tmp_path / "b") == said(reslab, "inspect", brought)


def test_a_run_is_exported_and_tested_as_before(reslab: Command, finished: Path, tmp_path: Path) -> None:
    assert reslab("weights", "export", finished, "--to", "safetensors", "--out", tmp_path / "out").returncode == 0
    hits = [
        json.loads(reslab("evaluate", place, "--data", "embedded", "--out", tmp_path / str(number), "--json").stdout)[
            "hits"
        ]
        for number, place in enumerate((finished, tmp_path / "out"))
    ]
    assert hits[0] == hits[1]
    assert "torchvision cannot express CIFAR networks" in refused(
        reslab("weights", "export", finished, "--to", "torchvision", "--out", tmp_path / "tv")
    )


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "hits"), [("resnet20-12fca82f.th", 9_173), ("resnet56-4bfd9763.th", 9_339)])
def test_published_cifar_networks_have_their_published_error(
    name: str, hits: int, reslab: Command, real_cifar10: Path, tmp_path: Path
) -> None:
    file = Path(os.environ["RESLAB_DATA"]) / "weights" / name
    found = said(reslab, "import", "akamaster", file, "--out", tmp_path / "ours")
    assert found["model"] == f"cifar-{name.split('-')[0]}"
    done = reslab("evaluate", tmp_path / "ours", "--data", real_cifar10, "--json")
    assert done.returncode == 0, done.stderr
    tested = json.loads(done.stdout)
    assert tested["n"] == 10_000
    assert abs(tested["hits"] - hits) <= 2
