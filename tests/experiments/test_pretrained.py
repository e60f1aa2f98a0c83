"""Trained weights from Python: as a network, and into one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.weights.networks import network, photo_net, pictures, require_equal, stirred

import reslab
from reslab.core.errors import DataError, RunError
from reslab.experiments.importing import Known, import_weights
from reslab.models.architecture import Architecture
from reslab.models.network import ResNet
from reslab.training import checkpoint
from reslab.weights.fingerprint import Fingerprint
from reslab.weights.layout import Tensors

pytestmark = pytest.mark.usefixtures("quick_disk")

CLASSES = tuple("abcdefghij")
V15 = photo_net(50)
USUAL: dict[str, Any] = {"stride_on": "3x3", "width": 4, "classes": 10}


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return stirred(V15)


@pytest.fixture(scope="module")
def v15(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow ResNet-50 of torchvision's, brought in."""
    place = tmp_path_factory.mktemp("v15")
    torch.save(tensors, place / "resnet50.pth")
    import_weights("torchvision", place / "resnet50.pth", place / "ours", Known(classes=CLASSES), pytest.fail)
    return place / "ours"


def said_to_be(architecture: Architecture, folder: Path) -> Path:
    """A file that says that it is of ``architecture``."""
    form = reslab.Photographs().model_dump(mode="json")
    header = Fingerprint(architecture, {"form": "photographs", **form}, CLASSES[: architecture.classes]).to_json()
    file = folder / "weights.safetensors"
    safetensors.torch.save_file(stirred(architecture), file, {checkpoint.HEADER: header})
    return file


def state(net: ResNet) -> Tensors:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_a_network_is_made_with_its_weights_in_it(v15: Path, tensors: Tensors) -> None:
    net = reslab.pretrained(v15)
    assert net.architecture == V15
    assert not net.training
    require_equal(dict(net.state_dict()), tensors)
    x = pictures(64)
    torch.testing.assert_close(net.double()(x), network(V15, tensors)(x), rtol=0, atol=0)


@pytest.mark.parametrize("as_text", [str, Path])
def test_a_lone_file_that_says_what_it_is_of_is_enough(as_text: Callable[[Path], str | Path], tmp_path: Path) -> None:
    v1 = photo_net(50, stride_on="1x1")
    file = said_to_be(v1, tmp_path)
    assert reslab.pretrained(as_text(file)).architecture == v1


def test_batch_normalisations_epsilon_comes_with_the_weights(tmp_path: Path) -> None:
    described = reslab.resnet(18, width=4, classes=10, bn_eps=1e-3).architecture
    assert described is not None
    net = reslab.pretrained(said_to_be(described, tmp_path))
    assert {module.eps for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {1e-3}


def test_a_runs_newest_weights_are_taken(finished_on_photos: Path) -> None:
    found = checkpoint.newest(finished_on_photos / "checkpoints", pytest.fail)
    assert found is not None
    net = reslab.pretrained(finished_on_photos)
    require_equal(dict(net.state_dict()), found.parts[checkpoint.MODEL])
    assert net.architecture is not None
    fresh = reslab.build(net.architecture)
    require_equal(dict(reslab.load_weights(fresh, finished_on_photos).state_dict()), dict(net.state_dict()))


def test_a_bare_file_is_no_network_by_itself(tensors: Tensors, tmp_path: Path) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "bare.safetensors")
    with pytest.raises(DataError, match=r"bare\.safetensors does not say all of its network, pictures and classes"):
        reslab.pretrained(tmp_path / "bare.safetensors")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent does not exist; give a run, or a safetensors file"):
        reslab.pretrained(tmp_path / "absent")
    with pytest.raises(RunError, match="is not a run directory"):
        reslab.load_weights(reslab.build(V15), tmp_path)


def test_weights_go_into_their_own_network_which_is_given_back(v15: Path, tensors: Tensors) -> None:
    net = reslab.build(V15)
    assert reslab.load_weights(net, v15) is net
    require_equal(dict(net.state_dict()), tensors)


CONFLICTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"stride_on": "1x1"},
        {},
        "resnet50 (stride on 1x1), not of resnet50 (stride on 3x3)",
    ),
    (
        {},
        {"stride_on": "1x1"},
        "resnet50 (stride on 3x3), not of resnet50 (stride on 1x1)",
    ),
    ({"pool": "caffe"}, {}, "resnet50 (pool caffe), not of resnet50 (pool pad1)"),
    ({"bn_eps": 1e-3}, {}, "resnet50 (bn eps 0.001), not of resnet50 (bn eps 1e-05)"),
    (
        {"shortcut": "A"},
        {"shortcut": "none"},
        "resnet50 (shortcut A), not of plain50 (shortcut none)",
    ),
    (
        {"shortcut": "none"},
        {"shortcut": "A"},
        "plain50 (shortcut none), not of resnet50 (shortcut A)",
    ),
    (
        {"stride_on": "1x1", "pool": "caffe"},
        {},
        "resnet50 (stride on 1x1, pool caffe), not of resnet50 (stride on 3x3, pool pad1)",
    ),
]


@pytest.mark.parametrize(("theirs", "ours", "says"), CONFLICTS)
def test_weights_of_another_network_are_refused_although_all_shapes_agree(
    theirs: dict[str, Any], ours: dict[str, Any], says: str, tmp_path: Path
) -> None:
    described = reslab.resnet(50, **{**USUAL, **theirs}).architecture
    assert described is not None
    file = said_to_be(described, tmp_path)
    net = reslab.resnet(50, **{**USUAL, **ours})
    before = state(net)
    with pytest.raises(DataError) as caught:
        reslab.load_weights(net, file)
    assert str(caught.value) == f"{file} has the weights of {says}; to use them all the same, force it"
    require_equal(dict(net.state_dict()), before)
    forced = reslab.load_weights(net, file, force=True)
    require_equal(dict(forced.state_dict()), stirred(described))


def test_forcing_changes_what_is_computed_and_not_the_network(v15: Path, tensors: Tensors) -> None:
    net = reslab.load_weights(reslab.resnet(50, **{**USUAL, "stride_on": "1x1"}), v15, force=True).eval()
    assert net.architecture == photo_net(50, stride_on="1x1")
    x = pictures(64)
    with torch.no_grad():
        assert (net.double()(x) - network(V15, tensors)(x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("ours", "says", "shapes"),
    [
        (
            {"classes": 9},
            r"\(classes 10\), not of resnet50 \(classes 9\)",
            r"fc\.weight \(10, 128\) instead of \(9, 128\)",
        ),
        ({"width": 8}, r"\(width 4\), not of resnet50 \(width 8\)", "and 263 more .*another width"),
        ({"shortcut": "C"}, r"\(shortcut B\), not of resnet50 \(shortcut C\)", "another shortcut option"),
    ],
)
def test_force_does_not_fit_what_has_another_shape(ours: dict[str, Any], says: str, shapes: str, v15: Path) -> None:
    net = reslab.resnet(50, **{**USUAL, **ours})
    before = state(net)
    with pytest.raises(DataError, match=f"has the weights of resnet50 {says}; to use them all the same"):
        reslab.load_weights(net, v15)
    with pytest.raises(DataError, match=shapes):
        reslab.load_weights(net, v15, force=True)
    require_equal(dict(net.state_dict()), before)


@pytest.mark.parametrize("stride_on", ["1x1", "3x3"])
@pytest.mark.parametrize("lacking", ["nothing", "num_batches_tracked"])
def test_a_bare_file_goes_wherever_its_shapes_agree(
    lacking: str, stride_on: str, tensors: Tensors, tmp_path: Path
) -> None:
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith(lacking)}
    safetensors.torch.save_file(given, tmp_path / "bare.safetensors")
    net = reslab.load_weights(reslab.resnet(50, **{**USUAL, "stride_on": stride_on}), tmp_path / "bare.safetensors")
    require_equal({name: tensor for name, tensor in net.state_dict().items() if name in given}, given)


def test_a_bare_file_of_other_shapes_is_refused_with_what_differs(tensors: Tensors, tmp_path: Path) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "bare.safetensors")
    with pytest.raises(DataError, match=r"another architecture than resnet101: missing: layer3\.6\.conv1\.weight"):
        reslab.load_weights(reslab.resnet(101, **USUAL), tmp_path / "bare.safetensors")


def test_a_network_that_nobody_described_takes_what_fits(v15: Path, tensors: Tensors) -> None:
    net = reslab.build(V15)
    net.architecture = None
    require_equal(dict(reslab.load_weights(net, v15).state_dict()), tensors)
    other = reslab.build(photo_net(50, classes=9))
    other.architecture = None
    with pytest.raises(DataError, match="of another architecture than this network: misshapen: "):
        reslab.load_weights(other, v15)


def test_other_libraries_pickles_must_be_brought_in_first(v15: Path) -> None:
    with pytest.raises(DataError, match=r"resnet50\.pth is not a safetensors file; `reslab weights import` reads"):
        reslab.load_weights(reslab.build(V15), v15.parent / "resnet50.pth")
