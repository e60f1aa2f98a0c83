"""akamaster's networks, written here from their description, compute what ours do with the imported weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.weights.networks import network, pictures, require_equal, small_net, stirred
from torch import Tensor
from torch.nn import functional as F

from reslab.core.errors import DataError
from reslab.models.architecture import blocks_a_stage
from reslab.transforms.cifar import CifarForm
from reslab.weights import akamaster
from reslab.weights.akamaster import from_akamaster
from reslab.weights.foreign import read_tensors
from reslab.weights.imported import Imported
from reslab.weights.layout import Tensors

Option = Literal["A", "B"]


def their_name(name: str) -> str:
    return name.replace("downsample", "shortcut").replace("fc.", "linear.")


def theirs(depth: int, option: Option, width: int = 4) -> Tensors:
    architecture = small_net(depth, shortcut=option, width=width)
    return {their_name(name): tensor for name, tensor in stirred(architecture, seed=depth).items()}


class TheirNetwork:
    """A forward pass from their state dict, in double precision."""

    def __init__(self, tensors: Tensors, depth: int, option: Option) -> None:
        self.tensors = {name: tensor.double() for name, tensor in tensors.items()}
        self.blocks, self.option = blocks_a_stage(depth, "basic"), option

    def normalised(self, x: Tensor, convolution: str, normalisation: str, stride: int = 1) -> Tensor:
        weight = self.tensors[f"{convolution}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance, scale, shift = (
            self.tensors[f"{normalisation}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, training=False, eps=1e-5)

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = self.normalised(x, f"{name}.conv1", f"{name}.bn1", stride).relu()
        y = self.normalised(y, f"{name}.conv2", f"{name}.bn2")
        if y.shape != x.shape and self.option == "A":
            half = (y.shape[1] - x.shape[1]) // 2
            nothing = torch.zeros(len(x), half, *y.shape[2:], dtype=x.dtype)
            x = torch.cat((nothing, x[:, :, ::2, ::2], nothing), dim=1)  # half of the zeros before, half behind
        elif y.shape != x.shape:
            x = self.normalised(x, f"{name}.shortcut.0", f"{name}.shortcut.1", stride)
        return (x + y).relu()

    def __call__(self, x: Tensor) -> Tensor:
        x = self.normalised(x, "conv1", "bn1").relu()
        for stage in (1, 2, 3):
            for block in range(self.blocks):
                x = self.block(x, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1)
        return x.mean((2, 3)) @ self.tensors["linear.weight"].T + self.tensors["linear.bias"]


def imported(tensors: Tensors, folder: Path) -> Imported:
    """Saved as their training script does, and read."""
    wrapped = {f"module.{name}": tensor for name, tensor in tensors.items()}
    file = folder / "resnet.th"
    torch.save({"state_dict": wrapped, "best_prec1": 91.73}, file, _use_new_zipfile_serialization=False)
    return from_akamaster(read_tensors(file), file)


def farthest(depth: int, option: Option, folder: Path) -> float:
    """The largest difference of the two networks' outputs, relative to the largest output."""
    tensors, x = theirs(depth, option), pictures()
    found = imported(tensors, folder)
    wanted, ours = TheirNetwork(tensors, depth, option)(x), network(found.architecture, found.tensors)(x)
    return float((ours - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("option", ["A", "B"])
@pytest.mark.parametrize("depth", [8, 14, 20])
def test_outputs_equal_theirs(depth: int, option: Option, tmp_path: Path) -> None:
    assert farthest(depth, option, tmp_path) < 1e-12


@pytest.fixture
def unmoved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(akamaster, "_put_zeros_behind", lambda _tensors, _architecture: None)
    return


@pytest.mark.usefixtures("unmoved")
def test_without_the_permutation_option_a_computes_something_else(tmp_path: Path) -> None:
    assert farthest(8, "A", tmp_path) > 1e-3
    assert farthest(8, "B", tmp_path) < 1e-12


def test_the_permutation_changes_no_value_and_leaves_the_first_stage_alone(tmp_path: Path) -> None:
    tensors = theirs(14, "A")
    found = imported(tensors, tmp_path).tensors
    for name, tensor in tensors.items():
        ours = found[name.replace("linear.", "fc.")]
        torch.testing.assert_close(ours.flatten().sort()[0], tensor.flatten().sort()[0], rtol=0, atol=0)
        if name.startswith(("conv1", "bn1", "layer1")):
            assert torch.equal(ours, tensor)


@pytest.mark.parametrize(("option", "width"), [("A", 16), ("B", 6)])
def test_depth_width_and_option_are_found(option: Option, width: int, tmp_path: Path) -> None:
    found = imported(theirs(14, option, width), tmp_path)
    assert found.architecture == small_net(14, shortcut=option, width=width)
    assert found.classes is not None
    assert found.classes[:2] == ("airplane", "automobile")


def test_option_b_keeps_every_tensor(tmp_path: Path) -> None:
    tensors = theirs(8, "B")
    found = imported(tensors, tmp_path).tensors
    require_equal({their_name(name): tensor for name, tensor in found.items()}, tensors)


def test_pictures_are_prepared_as_theirs_are(tmp_path: Path) -> None:
    form = imported(theirs(8, "A"), tmp_path).form
    assert isinstance(form, CifarForm)
    pixels = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wanted = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(form.test(pixels), wanted, rtol=1e-5, atol=1e-5)
    assert form.pad == 4


def changed(**changes: Tensor | None) -> Tensors:
    tensors = theirs(8, "A", 16) | {
        name.replace("__", "."): tensor for name, tensor in changes.items() if tensor is not None
    }
    return {
        name: tensor for name, tensor in tensors.items() if changes.get(name.replace(".", "__"), tensor) is not None
    }


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (lambda: changed(linear__weight=None), "has no linear.weight as akamaster's networks have"),
        (lambda: changed(conv1__weight=torch.ones(3)), "has no conv1.weight and linear.weight"),
        (lambda: changed(layer2__0__bn2__bias=None), r"missing: layer2.0.bn2.bias \(likely cause: .* cut short\)"),
        (lambda: changed(layer3__0__bn9__bias=torch.ones(64)), r"left over: layer3.0.bn9.bias \(likely cause: "),
        (lambda: changed(layer2__0__conv1__weight=torch.ones(32, 16, 1, 1)), r"\(32, 16, 1, 1\) instead of"),
        (lambda: theirs(8, "A", 5), "has 1 block of 5 filters in its first stage, as no such network has"),
        (
            lambda: theirs(8, "A") | {f"layer1.{n}.conv1.weight": torch.ones(1) for n in range(200_000)},
            "has 200,000 blocks of 4 filters in its first stage",
        ),
        (
            lambda: {name: tensor for name, tensor in theirs(8, "A").items() if "layer1" not in name},
            "has 0 blocks of 4 filters in its first stage",
        ),
    ],
)
def test_what_is_no_such_network_is_refused_in_one_line(tensors: object, says: str) -> None:
    assert callable(tensors)
    with pytest.raises(DataError, match=f"^weights.th .*{says}") as caught:
        from_akamaster(tensors(), "weights.th")
    assert str(caught.value).isprintable()
