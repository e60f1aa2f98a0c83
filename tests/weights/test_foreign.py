"""The same tensors from every kind of file."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from reslab.weights.foreign import read_header, read_tensors

Write = Callable[[dict[str, Tensor], Path], object]


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(3)
    return {
        "conv1.weight": torch.randn(4, 3, 3, 3, generator=draw),
        "fc.bias": torch.randn(5, generator=draw),
        "bn1.num_batches_tracked": torch.tensor(12),
    }


def older(value: Any, file: Path) -> None:
    torch.save(value, file, _use_new_zipfile_serialization=False)


def arrays(save: Callable[..., None]) -> Write:
    def write(tensors: dict[str, Tensor], file: Path) -> None:
        with file.open("wb") as stream:  # a name without .npz stays as it is
            save(stream, **{name: tensor.numpy() for name, tensor in tensors.items()})

    return write


WRITERS: dict[str, Write] = {
    "safetensors": safetensors.torch.save_file,
    "torch-zip": torch.save,
    "torch-legacy": older,
    "npz": arrays(np.savez),
    "npz-compressed": arrays(np.savez_compressed),
}


def require_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype is tensor.dtype
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".npz", ".th", ""])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_bytes_say_what_a_file_is_and_not_its_name(
    kind: str, suffix: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    WRITERS[kind](tensors, tmp_path / f"weights{suffix}")
    require_same(read_tensors(tmp_path / f"weights{suffix}"), tensors)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("write", [torch.save, older], ids=["zip", "legacy"])
def test_the_wrappers_of_training_scripts_are_taken_off(
    write: Callable[[Any, Path], None], key: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    write({"epoch": 90, "arch": "resnet", "best_prec1": 91.7, key: OrderedDict(tensors)}, tmp_path / "weights")
    require_same(read_tensors(tmp_path / "weights"), tensors)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_prefixes_of_wrapped_networks_are_taken_off(
    kind: str, prefix: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    WRITERS[kind]({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, tmp_path / "weights")
    require_same(read_tensors(tmp_path / "weights"), tensors)


def test_a_prefix_that_not_all_have_belongs_to_the_names(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    mixed = {**tensors, "module.fc.weight": torch.ones(2)}
    torch.save(mixed, tmp_path / "weights")
    require_same(read_tensors(tmp_path / "weights"), mixed)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_half_and_double_precision_become_single(
    kind: str, dtype: torch.dtype, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    stored = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    WRITERS[kind](stored, tmp_path / "weights")
    require_same(
        read_tensors(tmp_path / "weights"),
        {name: t.float() if t.is_floating_point() else t for name, t in stored.items()},
    )


@pytest.mark.parametrize("write", [safetensors.torch.save_file, torch.save])
def test_bfloat16_becomes_single(write: Write, tmp_path: Path) -> None:
    halves = torch.tensor([1.5, -3.25]).bfloat16()
    write({"w": halves}, tmp_path / "weights")
    require_same(read_tensors(tmp_path / "weights"), {"w": halves.float()})


def test_parameters_and_views_become_plain_tensors(tmp_path: Path) -> None:
    turned = torch.arange(6.0).reshape(2, 3)
    torch.save({"p": nn.Parameter(turned), "t": turned.T, "part": turned[:, 1:]}, tmp_path / "weights")
    found = read_tensors(tmp_path / "weights")
    require_same(found, {"p": turned, "t": turned.T, "part": turned[:, 1:]})
    assert all(type(tensor) is Tensor and tensor.is_contiguous() for tensor in found.values())
    assert not found["p"].requires_grad


def test_a_files_header_is_what_was_written_into_it(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    safetensors.torch.save_file(tensors, tmp_path / "with", {"reslab": "said"})
    safetensors.torch.save_file(tensors, tmp_path / "without")
    assert read_header(tmp_path / "with") == {"reslab": "said"}
    assert read_header(tmp_path / "without") == {}
