"""Blobs as Caffe keeps them, made here from networks of ours, are imported as those networks."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.weights.authors import counted, released, their_layer
from tests.weights.networks import network, pictures, require_equal, stirred

from reslab.core.contract import CONTRACTS
from reslab.core.errors import DataError
from reslab.models.resnet import build
from reslab.weights.caffe import from_caffe
from reslab.weights.foreign import read_tensors
from reslab.weights.layout import Tensors

NAMES = {  # how many layers have blobs, and the sha256 of their sorted names, a line each, in the authors' prototxts
    50: (160, "48aecc529321240811bf38f09c225437badf7ddfdf767a2bbb0c5f6f01524834"),
    101: (313, "1f4e888e0027208afbcef77bbc1fec14f686e4653a2c5746fe746fe8746a85d3"),
    152: (466, "32d8e8eeb16be3b80215575a19c7863451493fdaf04d754026bb0d15776273b8"),
}


def blobs(tensors: Tensors, depth: int, factor: float = 1, separator: str = ".") -> Tensors:
    """Caffe's, by layer and number: statistics are multiplied by the factor that stands beside them."""
    found: dict[tuple[str, int], torch.Tensor] = {}
    for name, tensor in tensors.items():
        module, part = name.rsplit(".", 1)
        layer = their_layer(module, depth)
        scale = layer.replace("bn", "scale", 1) if layer.startswith("bn") else layer
        if part in ("weight", "bias"):
            found[scale, int(part == "bias")] = tensor
        elif part.startswith("running"):
            found[layer, int(part == "running_var")] = tensor * factor
            found[layer, 2] = torch.tensor([factor])
    return {f"{layer}{separator}{number}": tensor for (layer, number), tensor in found.items()}


@pytest.fixture(scope="module")
def ours() -> Tensors:
    return stirred(released(50))


@pytest.fixture
def theirs(ours: Tensors) -> Tensors:
    return blobs(ours, 50)


def as_npz(tensors: Tensors, file: Path) -> None:
    with file.open("wb") as stream:
        np.savez(stream, **{name: tensor.numpy() for name, tensor in tensors.items()})


def as_safetensors(tensors: Tensors, file: Path) -> None:
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


@pytest.mark.parametrize(("write", "separator"), [(as_npz, "."), (as_npz, "/"), (as_safetensors, "_")])
def test_blobs_with_a_factor_of_one_are_imported_bit_by_bit(
    write: Callable[[Tensors, Path], None], separator: str, ours: Tensors, tmp_path: Path
) -> None:
    file = tmp_path / "blobs"
    write(blobs(ours, 50, separator=separator), file)
    found = from_caffe(read_tensors(file), file)
    assert found.architecture == released(50)
    assert found.form == CONTRACTS["caffe"]
    require_equal(found.tensors, counted(ours))


def test_statistics_are_divided_by_their_factor(ours: Tensors) -> None:
    found = from_caffe(blobs(ours, 50, factor=999.982), "blobs")
    for name, tensor in counted(ours).items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-6, atol=1e-7)
    assert not torch.equal(found.tensors["bn1.running_mean"], ours["bn1.running_mean"])


def test_a_factor_of_zero_gives_statistics_of_zero_as_in_caffe(theirs: Tensors) -> None:
    found = from_caffe(theirs | {"bn2a_branch1.2": torch.zeros(1)}, "blobs").tensors
    assert not found["layer1.0.downsample.1.running_mean"].any()
    assert not found["layer1.0.downsample.1.running_var"].any()
    assert found["layer1.0.bn1.running_var"].all()


def test_a_convolutions_bias_is_folded_into_the_mean_behind_it(ours: Tensors, theirs: Tensors) -> None:
    draw = torch.Generator().manual_seed(8)
    biases = {name: torch.randn(64, generator=draw) for name in ("conv1.1", "res2a_branch2a.1")}
    found = from_caffe(theirs | biases, "blobs")
    with_biases = network(released(50), ours)
    for module, bias in zip(("conv1", "layer1.0.conv1"), biases.values(), strict=True):
        with_biases.get_submodule(module).bias = torch.nn.Parameter(bias.double(), requires_grad=False)
    x = pictures(64)
    wanted, without = with_biases(x), network(released(50), counted(ours))(x)
    torch.testing.assert_close(network(found.architecture, found.tensors)(x), wanted, rtol=1e-5, atol=1e-5)
    assert (without - wanted).abs().max() > 1e-2


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_the_names_are_those_of_the_authors_prototxts(depth: int) -> None:
    with torch.device("meta"):
        names = blobs(build(released(depth)).state_dict(), depth)
    layers = sorted({name.rsplit(".", 1)[0] for name in names})
    assert (len(layers), hashlib.sha256("\n".join(layers).encode()).hexdigest()) == NAMES[depth]


@pytest.mark.parametrize("depth", [101, pytest.param(152, marks=pytest.mark.slow)])
def test_the_deeper_networks_are_imported(depth: int) -> None:
    ours = stirred(released(depth))
    found = from_caffe(blobs(ours, depth), "blobs")
    assert found.architecture == released(depth)
    require_equal(found.tensors, counted(ours))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"res4f_branch2a.0": None}, "has none of the layers that end conv4_x in the authors' ResNet-50, 101 or 152"),
        ({"bn3b_branch2b.1": None}, "lacks the blob bn3b_branch2b.1"),
        ({"scale_conv1.0": None}, "lacks the blob scale_conv1.0"),
        ({"bn_conv1.2": torch.ones(0)}, "the blob bn_conv1.2 has 0 values instead of 1"),
        ({"bn_conv1.2": torch.ones(64)}, "the blob bn_conv1.2 has 64 values instead of 1"),
        ({"conv1.1": torch.ones(5)}, r"bn_conv1 has a mean of \(64,\) behind a bias of \(5,\)"),
        ({"fc1000.0": torch.ones(())}, "the weights of fc1000 have 0 dimensions instead of 2"),
        ({"fc1000.0": torch.ones(1, 1, 10, 2048)}, "the weights of fc1000 have 4 dimensions instead of 2"),
        ({"fc1000.1": None}, r"missing: fc.bias"),
        ({"conv1.0": torch.ones(64, 1, 7, 7)}, r"misshapen: conv1.weight \(64, 1, 7, 7\) .*another stem"),
        ({"res2a_branch2a.0": torch.ones(64, 64, 3, 3)}, r"misshapen: layer1.0.conv1.weight \(64, 64, 3, 3\)"),
        ({"bn2a_branch1.0": torch.ones(3)}, r"misshapen: layer1.0.downsample.1.running_mean \(3,\)"),
        ({"prelu_7.0": torch.ones(3)}, "has layers that the authors' network has not: prelu_7$"),
    ],
)
def test_blobs_that_do_not_fit_are_refused_by_name(
    change: dict[str, torch.Tensor | None], says: str, theirs: Tensors
) -> None:
    wrong = {name: tensor for name, tensor in (theirs | change).items() if tensor is not None}
    if "res4f_branch2a.0" in change:
        wrong = {name: tensor for name, tensor in wrong.items() if "4f_branch2a" not in name}
    with pytest.raises(DataError, match=f"^blobs.npz.*{says}") as caught:
        from_caffe(wrong, "blobs.npz")
    assert str(caught.value).isprintable()
