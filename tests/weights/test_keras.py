"""TensorFlow.js' files, written here from a network of ours, and every way in which they can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.weights.authors import counted, released, their_layer
from tests.weights.networks import require_equal, stirred

from reslab.core.contract import CONTRACTS
from reslab.core.errors import DataError
from reslab.weights.keras import from_keras_tfjs, is_keras_tfjs
from reslab.weights.layout import Tensors

PARTS = {
    "bn": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    "conv": {"weight": "kernel", "bias": "bias"},
}
Change = Callable[[Path, dict[str, Any]], object]


def kernels(tensors: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """Keras' weights by name: kernels as (height, width, inputs, outputs), a bias of zeros in the first convolution."""
    found = {"conv1/bias": np.zeros(64, "<f4")}
    for name, tensor in tensors.items():
        module, part = name.rsplit(".", 1)
        layer = their_layer(module, 50)
        parts = PARTS["bn" if layer.startswith("bn") else "conv"]
        if part in parts:
            axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[tensor.dim()]
            found[f"{layer}/{parts[part]}"] = np.ascontiguousarray(tensor.permute(axes).numpy(), "<f4")
    return found


def write_group(folder: Path, number: int, arrays: dict[str, np.ndarray[Any, Any]], shards: int) -> dict[str, Any]:
    """A group of weights whose bytes are cut into shards wherever it falls, within a number too."""
    data = b"".join(array.tobytes() for array in arrays.values())
    cuts = [0, *sorted(np.random.default_rng(number).integers(0, len(data), shards - 1).tolist()), len(data)]
    paths = [f"group{number}-shard{shard + 1}of{shards}" for shard in range(shards)]
    for path, start, stop in zip(paths, cuts[:-1], cuts[1:], strict=True):
        (folder / path).write_bytes(data[start:stop])
    weights = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in arrays.items()]
    return {"paths": paths, "weights": weights}


def write_model(folder: Path, arrays: dict[str, np.ndarray[Any, Any]], shards: tuple[int, ...]) -> Path:
    """model.json with a group for each number of shards."""
    names = [list(part) for part in np.array_split(list(arrays), len(shards))]
    groups = [
        write_group(folder, number, {name: arrays[name] for name in names[number]}, count)
        for number, count in enumerate(shards)
    ]
    (folder / "model.json").write_text(json.dumps({"format": "layers-model", "weightsManifest": groups}))
    return folder / "model.json"


@pytest.fixture(scope="module")
def ours() -> Tensors:
    return stirred(released(50))


def test_groups_of_shards_cut_anywhere_are_imported_bit_by_bit(ours: Tensors, tmp_path: Path) -> None:
    place = write_model(tmp_path, kernels(ours), (5, 1, 7))
    found = from_keras_tfjs(place)
    assert is_keras_tfjs(place)
    assert found.architecture == released(50)
    assert found.form == CONTRACTS["caffe"]
    require_equal(found.tensors, counted(ours))


def test_a_bias_is_folded_into_the_mean_behind_it(ours: Tensors, tmp_path: Path) -> None:
    bias = np.linspace(-1, 1, 64, dtype="<f4")
    found = from_keras_tfjs(write_model(tmp_path, kernels(ours) | {"conv1/bias": bias}, (2,))).tensors
    assert torch.equal(found["bn1.running_mean"], ours["bn1.running_mean"] - torch.from_numpy(bias))
    assert torch.equal(found["bn1.running_var"], ours["bn1.running_var"])


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A whole file of two layers, of no network, and what its model.json says."""
    arrays = {"a/kernel": np.arange(6, dtype="<f4").reshape(2, 3), "a/bias": np.ones(3, "<f4")}
    place = write_model(tmp_path, arrays, (3,))
    return place, json.loads(place.read_text())


def entry(**changes: Any) -> Change:
    return lambda _folder, model: model["weightsManifest"][0]["weights"][0].update(changes)


def paths(*names: str) -> Change:
    return lambda _folder, model: model["weightsManifest"][0].update(paths=list(names))


def shard(change: Callable[[Path], object]) -> Change:
    return lambda folder, _model: change(folder / "group0-shard2of3")


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def shorter(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def not_a_number(folder: Path, _model: dict[str, Any]) -> None:
    data = b"".join(file.read_bytes() for file in sorted(folder.glob("group*")))
    for file, part in zip(sorted(folder.glob("group*")), (b"", b"\0\0\xc0\x7f", data[4:]), strict=True):
        file.write_bytes(part)


SHAPE = "weightsManifest.0.weights.0.shape"
OUTSIDE = "weightsManifest.0.paths.0: String should match pattern"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _folder, _model: None, "none of the layers that end conv4_x"),
        (shard(shorter), "35 bytes in 3 shards, and its weights take 36: a shard was cut short"),
        (shard(longer), "37 bytes in 3 shards, and its weights take 36"),
        (shard(Path.unlink), "cannot read its shard: [Errno 2] No such file or directory"),
        (not_a_number, "'a/kernel' has values that are not finite"),
        (paths("../x"), OUTSIDE),
        (paths("/etc/passwd"), OUTSIDE),
        (paths("sub/../../x"), OUTSIDE),
        (paths(".."), OUTSIDE),
        (paths("x\n"), OUTSIDE),
        (paths("\\\\server\\x"), OUTSIDE),
        (paths(), "0 bytes in 0 shards, and its weights take 36"),
        (entry(dtype="int32"), "weightsManifest.0.weights.0.dtype: Input should be 'float32'"),
        (entry(quantization={"dtype": "uint8", "scale": 1, "min": 0}), "weights.0.quantization: Input should be None"),
        (entry(shape=[2**30, 2**30]), "names 4194304.0 TiB of weights; at most 8.0 GiB are read"),
        (entry(shape=[2**40]), f"{SHAPE}.0: Input should be less than 2147483648"),
        (entry(shape=[-2, -3]), f"{SHAPE}.0: Input should be greater than 0"),
        (entry(shape=[0]), f"{SHAPE}.0: Input should be greater than 0"),
        (entry(shape="23"), f"{SHAPE}: Input should be a valid list"),
        (entry(name=None), "weights.0.name: Input should be a valid string"),
        (entry(name="a\nb"), "none of the layers that end conv4_x"),
        (lambda _folder, model: model.pop("weightsManifest"), "weightsManifest: Field required"),
    ],
)
def test_a_wrong_model_is_refused_in_one_line(change: Change, says: str, small: tuple[Path, dict[str, Any]]) -> None:
    place, model = small
    change(place.parent, model)
    place.write_text(json.dumps(model))
    with pytest.raises(DataError) as caught:
        from_keras_tfjs(place)
    line = str(caught.value)
    assert line.isprintable()
    assert str(place) in line
    assert says in line


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1" * 5000, "[" * 200_000, '{"weightsManifest": {}}'])
def test_what_is_no_model_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    place = tmp_path / "model.json"
    place.write_text(text)
    with pytest.raises(DataError) as caught:
        from_keras_tfjs(place)
    assert str(caught.value).isprintable()
    assert str(place) in str(caught.value)


def test_a_network_that_lacks_weights_is_refused_by_their_name(ours: Tensors, tmp_path: Path) -> None:
    arrays = kernels(ours)
    del arrays["bn3a_branch1/moving_variance"]
    with pytest.raises(DataError, match=r"model\.json lacks the weights bn3a_branch1/moving_variance$"):
        from_keras_tfjs(write_model(tmp_path, arrays, (2,)))
