"""``reslab weights``: a mistake or a bad file is one line, and leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from tests.weights.damaged import DAMAGED, Damage
from tests.weights.files import CLASSES, Command, refused
from tests.weights.hostile import ATTACKS, Attack

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(scope="module")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(tmp_path_factory.mktemp("photos") / "trees", CLASSES, 4)


MISTAKES: list[tuple[tuple[object, ...], str]] = [
    (("torchvision", "resnet18.pth"), "the weights do not name their 3 classes: --classes FILE, a name a line"),
    (("torchvision", "resnet18.pth", "--classes", "absent.txt"), "cannot read the classes in"),
    (("torchvision", "resnet18.pth", "--classes", "two.txt"), "names of classes for a network of 3"),
    (("torchvision", "resnet18.pth", "--classes", "twice.txt"), "names of classes for a network of 3"),
    (("timm", "timm", "--classes", "two.txt"), "names of classes for a network of 3"),
    (
        ("torchvision", "resnet18.pth", "--classes", "classes.txt", "--crop", 300),
        "a crop of 300 does not fit a shorter",
    ),
    (("torchvision", "resnet18.pth", "--classes", "classes.txt", "--crop", 0), "crop is 0: input should be greater"),
    (("torchvision", "resnet18.pth", "--preprocessing", "cafe"), "unknown preprocessing 'cafe'; did you mean 'caffe'?"),
    (("akamaster", "resnet8.th", "--crop", 28), "--crop and --resample are for photographs; these are small pictures"),
    (("akamaster", "resnet8.th", "--resample", "bicubic"), "--resample are for photographs; these are small pictures"),
    (("akamaster", "resnet8.th", "--preprocessing", "paper"), "are for photographs; these are small pictures"),
    (("akamaster", "resnet18.pth"), "has no linear.weight as akamaster's networks have"),
    (("torchvision", "resnet8.th"), "has no conv1.weight and fc.weight as torchvision's ResNets have"),
    (("caffe", "resnet18.pth"), "has none of the layers that end conv4_x"),
    (("keras-tfjs", "resnet18.pth"), "cannot read"),
    (("keras-tfjs", "timm/config.json"), "is no TensorFlow.js model of float32 weights: weightsManifest: Field req"),
    (("torchvision", "absent.pth"), "absent.pth does not exist; give a file of weights"),
    (("torchvision", "timm"), "timm is a folder; give a file of weights"),
    (("timm", "empty"), "empty holds no model.safetensors or pytorch_model.bin"),
    (("tensorflow", "resnet18.pth"), "tensorflow"),
]


@pytest.mark.parametrize(("words", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    words: tuple[object, ...], says: str, reslab: Command, files: Path, tmp_path: Path
) -> None:
    (files / "two.txt").write_text("ash\nelm\n")
    (files / "twice.txt").write_text("ash\nelm\nash\n")
    (files / "empty").mkdir(exist_ok=True)
    placed = [files / word if str(word).endswith((".pth", ".th", ".txt", ".json")) else word for word in words]
    placed[1] = files / str(words[1])
    line = refused(reslab("weights", "import", *placed, "--out", tmp_path / "new" / "ours"))
    assert says in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "dead link"])
def test_what_is_there_is_left_alone(kind: str, reslab: Command, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    if kind == "folder":
        out.mkdir()
        (out / "kept.txt").write_text("kept")
    elif kind == "file":
        out.write_text("kept")
    else:
        out.symlink_to("nowhere")
    source = ("torchvision", files / "resnet18.pth", "--classes", files / "classes.txt")
    assert f"{out} is there already; take another --out" in refused(reslab("weights", "import", *source, "--out", out))
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]
    assert kind != "folder" or (out / "kept.txt").read_text() == "kept"
    assert kind != "file" or out.read_text() == "kept"
    assert kind != "dead link" or str(out.readlink()) == "nowhere"


@pytest.mark.parametrize("library", ["torchvision", "akamaster", "timm", "caffe"])
@pytest.mark.parametrize("attack", ATTACKS[::4], ids=lambda attack: attack.name)
def test_nothing_in_a_file_is_run_when_it_comes_in(
    attack: Attack, library: str, reslab: Command, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    attack.write(tmp_path / "weights.pth", marker)
    line = refused(reslab("weights", "import", library, tmp_path / "weights.pth", "--out", tmp_path / "ours"))
    assert "cannot read the weights in" in line
    assert "cannot read the weights in" in refused(reslab("weights", "inspect", tmp_path / "weights.pth"))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("damage", DAMAGED[::5], ids=lambda damage: damage.name)
def test_a_damaged_file_is_one_line(damage: Damage, reslab: Command, tmp_path: Path) -> None:
    damage.write(tmp_path / "weights.pth")
    for words in (
        ("import", "torchvision", tmp_path / "weights.pth", "--out", tmp_path / "ours"),
        ("inspect", tmp_path / "weights.pth"),
    ):
        assert damage.says in refused(reslab("weights", *words))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("export", "ours", "--to", "timm"), "timm cannot express a width of 4, so it would compute something else"),
        (("export", "ours", "--to", "torchvision"), "torchvision cannot express a width of 4"),
        (
            ("export", "resnet18.pth", "--to", "safetensors"),
            "resnet18.pth is not a safetensors file; `reslab weights imp",
        ),
        (("export", "timm/model.safetensors", "--to", "safetensors"), "does not say all of its network, pictures and"),
        (("export", "absent", "--to", "safetensors"), "absent does not exist; give a run, or a safetensors file"),
        (("export", "timm", "--to", "safetensors"), "model.safetensors does not say all of its network, pictures and"),
        (("export", "ours", "--to", "onnx"), "onnx"),
    ],
)
@pytest.mark.usefixtures("brought")
def test_an_export_that_cannot_be_is_one_line_and_writes_nothing(
    words: tuple[str, ...], says: str, reslab: Command, files: Path, tmp_path: Path
) -> None:
    verb, place, *rest = words
    assert says in refused(reslab("weights", verb, files / place, *rest, "--out", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


HEADERS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda said: said["architecture"].update(depth=51), "its fingerprint is damaged: "),
    (lambda said: said["architecture"].update(width=-1), "its fingerprint is damaged: "),
    (
        lambda said: said["architecture"].update(width=10**12),
        "is damaged: width must be positive and at most 8,192, not 1000000000000",
    ),
    (lambda said: said["architecture"].update(bn_eps=2), "is damaged: bn_eps must be positive and at most 1, not 2"),
    (
        lambda said: said["architecture"].update(bn_eps=float("inf")),
        "is damaged: bn_eps must be positive and at most 1, not inf",
    ),
    (
        lambda said: said["architecture"].update(depth=6 * 10**8 + 2, family="cifar", pool=None),
        "is damaged: depth must be positive and at most 10,000, not ",
    ),
    (lambda said: said["architecture"].update(classes=4), "its fingerprint is damaged: 4 outputs, 3 classes"),
    (lambda said: said["architecture"].update(depth=34), "has the weights of another architecture than resnet34"),
    (lambda said: said["architecture"].update(width=8), "has the weights of another architecture than resnet18"),
    (lambda said: said.pop("classes"), "its fingerprint is damaged: Field required"),
    (
        lambda said: said["preprocessing"].pop("form"),
        "its fingerprint is damaged: the form of its pictures is None, which is none",
    ),
    (lambda said: said["preprocessing"]["contract"].update(crop=-1), "its fingerprint is damaged: "),
]


@pytest.mark.parametrize(("change", "says"), HEADERS)
def test_a_header_that_does_not_hold_is_one_line(
    change: Callable[[dict[str, Any]], object], says: str, reslab: Command, brought: Path, photos: Path, tmp_path: Path
) -> None:
    with safetensors.safe_open(brought / "model.safetensors", "pt") as file:
        found = json.loads(file.metadata()["reslab"])
    change(found)
    tensors = safetensors.torch.load_file(brought / "model.safetensors")
    safetensors.torch.save_file(tensors, tmp_path / "alone.safetensors", {"reslab": json.dumps(found)})
    done = reslab("evaluate", tmp_path / "alone.safetensors", "--data", photos, "--workers", 0)
    assert says in refused(done)
    assert [path.name for path in tmp_path.iterdir()] == ["alone.safetensors"]
