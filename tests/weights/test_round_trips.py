"""There and back: nothing changes, and equal weights are equal bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from tests.weights.networks import photo_net, require_equal, small_net, stirred

from reslab.core.contract import CONTRACTS
from reslab.core.errors import DataError, RunError, SpecError, StorageError
from reslab.experiments.exporting import export_weights
from reslab.experiments.importing import Known, import_weights
from reslab.experiments.weights import Weights, read_weights
from reslab.weights.fingerprint import parse_fingerprint
from reslab.weights.layout import Tensors
from reslab.weights.libraries import Library, Target

pytestmark = pytest.mark.usefixtures("quick_disk")

NET = photo_net(width=64)
CLASSES = tuple("abcdefghij")
OTHER: tuple[Target, ...] = ("torchvision", "timm")


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return stirred(NET)


@pytest.fixture(scope="module")
def ours(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """ResNet-18 as torchvision has it, brought in."""
    place = tmp_path_factory.mktemp("torchvision")
    torch.save(tensors, place / "resnet18.pth")
    return import_weights("torchvision", place / "resnet18.pth", place / "ours", Known(classes=CLASSES), pytest.fail)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow ResNet-50, which only our own files express."""
    place = tmp_path_factory.mktemp("narrow")
    torch.save(stirred(photo_net(50)), place / "resnet50.pth")
    import_weights("torchvision", place / "resnet50.pth", place / "ours", Known(classes=CLASSES), pytest.fail)
    return place / "ours"


def back(target: Target, out: Path, again: Path) -> Weights:
    library: Library = "timm" if target == "timm" else "torchvision"
    file = out if target == "timm" else out / "model.safetensors"
    return import_weights(library, file, again, Known(classes=CLASSES), pytest.fail)


@pytest.mark.parametrize("target", OTHER)
def test_weights_come_back_bit_by_bit(target: Target, ours: Weights, tensors: Tensors, tmp_path: Path) -> None:
    export_weights(ours, target, tmp_path / "out")
    found = back(target, tmp_path / "out", tmp_path / "back")
    assert found.tensors is not None
    require_equal(found.tensors, tensors)
    assert (found.architecture, found.classes) == (NET, CLASSES)
    assert found.photographs is not None
    assert found.photographs.contract == CONTRACTS["torchvision"]


def test_a_library_reads_the_tensors_that_it_wrote(ours: Weights, tensors: Tensors, tmp_path: Path) -> None:
    (file,) = export_weights(ours, "torchvision", tmp_path / "out")
    require_equal(safetensors.torch.load_file(file), tensors)


def test_timm_gets_a_config_beside_the_weights(ours: Weights, tmp_path: Path) -> None:
    files = export_weights(ours, "timm", tmp_path / "out")
    assert [file.name for file in files] == ["config.json", "model.safetensors"]


def test_equal_weights_are_equal_bytes_however_they_came(ours: Weights, tmp_path: Path) -> None:
    (wanted,) = export_weights(ours, "torchvision", tmp_path / "out")
    export_weights(ours, "timm", tmp_path / "timm")
    again = back("timm", tmp_path / "timm", tmp_path / "back")
    assert again.digest == ours.digest
    (found,) = export_weights(again, "torchvision", tmp_path / "again")
    assert found.read_bytes() == wanted.read_bytes()


def test_our_own_folder_says_everything_again(narrow: Path, tmp_path: Path) -> None:
    weights = read_weights(narrow)
    files = export_weights(weights, "safetensors", tmp_path / "out")
    again = read_weights(tmp_path / "out")
    assert weights.tensors is not None
    assert again.tensors is not None
    require_equal(again.tensors, weights.tensors)
    for what in ("digest", "architecture", "classes", "step", "photographs"):
        assert getattr(again, what) == getattr(weights, what)
    assert {file.name for file in files} == {file.name for file in narrow.iterdir()}


def test_the_order_of_the_tensors_and_the_kind_of_file_leave_no_trace(tmp_path: Path) -> None:
    tensors = stirred(photo_net(50))
    torch.save(dict(reversed(tensors.items())), tmp_path / "a.pth")
    torch.save(tensors, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    digests = {
        import_weights("torchvision", tmp_path / f"{n}.pth", tmp_path / n, Known(classes=CLASSES), pytest.fail).digest
        for n in "ab"
    }
    assert len(digests) == 1


@pytest.mark.parametrize("target", ["torchvision", "safetensors"])
def test_the_file_says_in_its_header_what_it_is_of(target: Target, ours: Weights, tmp_path: Path) -> None:
    export_weights(ours, target, tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        said = parse_fingerprint(file.metadata()["reslab"], "model.safetensors")
    assert (said.architecture, said.classes) == (NET, CLASSES)
    assert ours.inputs is not None
    assert said.preprocessing == ours.inputs.contract()


def test_a_file_alone_is_taken_by_its_header(narrow: Path, tmp_path: Path) -> None:
    whole = read_weights(narrow)
    (tmp_path / "alone.safetensors").write_bytes((narrow / "model.safetensors").read_bytes())
    found = read_weights(tmp_path / "alone.safetensors")
    for what in ("digest", "architecture", "classes", "photographs"):
        assert getattr(found, what) == getattr(whole, what)


def test_small_pictures_need_their_folder(tmp_path: Path) -> None:
    theirs = {name.replace("fc.", "linear."): tensor for name, tensor in stirred(small_net()).items()}
    torch.save(theirs, tmp_path / "resnet8.th")
    import_weights("akamaster", tmp_path / "resnet8.th", tmp_path / "ours", Known(), pytest.fail)
    alone = read_weights(tmp_path / "ours" / "model.safetensors")
    assert (alone.architecture, alone.inputs) == (small_net(), None)
    assert read_weights(tmp_path / "ours").inputs is not None
    with pytest.raises(DataError, match="lacks the mean picture, which lies beside it: give its folder"):
        export_weights(alone, "safetensors", tmp_path / "out")


@pytest.mark.parametrize("target", OTHER)
def test_what_cannot_be_expressed_is_refused_before_anything_is_written(
    target: Target, narrow: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=f"^{target} cannot express a width of 4, so it would compute something else"):
        export_weights(read_weights(narrow), target, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["safetensors", *OTHER])
def test_a_folder_that_is_there_is_left_alone(target: Target, ours: Weights, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(RunError, match="out is there already; take another --out"):
        export_weights(ours, target, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def full(path: Path, _data: bytes) -> None:
    if path.name.strip(".").startswith("model"):
        raise OSError(28, "No space left on device")
    path.touch()


Act = Callable[[Weights, Path], object]


@pytest.mark.parametrize(
    "act",
    [
        lambda ours, out: export_weights(ours, "timm", out),
        lambda ours, out: export_weights(ours, "torchvision", out),
        lambda ours, out: export_weights(ours, "safetensors", out),
        lambda ours, out: import_weights(
            "torchvision", ours.place.parent / "resnet18.pth", out, Known(classes=CLASSES), pytest.fail
        ),
    ],
)
def test_a_full_disk_leaves_nothing_behind(
    act: Act, ours: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("core.files", "training.checkpoint", "experiments.exporting"):
        monkeypatch.setattr(f"reslab.{module}.write_synced", full)
    with pytest.raises(StorageError, match=r"^the disk is full: cannot write"):
        act(ours, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
