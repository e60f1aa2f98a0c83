"""Keras' ResNet-50 as TensorFlow.js stores it: ``model.json`` and binary shards beside it.

It is the port of the authors' Caffe network: the same names of layers, kernels as (height, width, inputs, outputs),
biases in convolutions. Its configuration says 1e-3 for batch normalisation's epsilon; Caffe's 1e-5 is what the weights
were trained with.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.core.units import bytes_text, counted
from reslab.weights.caffe import Convolution, Normalisation, assembled
from reslab.weights.foreign import FLOAT, MOST_BYTES, first_fault
from reslab.weights.imported import Imported
from reslab.weights.layout import Tensors

Positive = Annotated[int, pydantic.Field(gt=0, lt=2**31)]


class _Entry(pydantic.BaseModel):
    name: str
    shape: list[Positive]
    dtype: Literal["float32"]
    quantization: None = None


class _Group(pydantic.BaseModel):
    paths: list[Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]]
    weights: list[_Entry]


class _Model(pydantic.BaseModel):
    weightsManifest: list[_Group]  # noqa: N815 the format's own spelling


def from_keras_tfjs(model_json: Path) -> Imported:
    """Keras' ResNet-50 as our tensors, with the authors' preprocessing.

    Args:
        model_json: its shards lie beside it.

    Raises:
        DataError: a file is missing, cut short, or not of this format; shards outside the folder are not opened.
    """
    tensors = _read(model_json)

    def taken(name: str) -> Tensor:
        if name not in tensors:
            raise DataError(f"{model_json} lacks the weights {name}")
        return tensors[name]

    def convolution(name: str) -> Convolution:
        kernel = taken(f"{name}/kernel")
        return Convolution(kernel.permute(3, 2, 0, 1) if kernel.dim() == 4 else kernel.T, tensors.get(f"{name}/bias"))

    def normalisation(name: str) -> Normalisation:
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        return Normalisation(*(taken(f"{name}/{part}") for part in parts))

    return assembled({name.rsplit("/", 1)[0] for name in tensors}, convolution, normalisation, model_json)


def is_keras_tfjs(path: Path) -> bool:
    """Whether a file's name is that of a TensorFlow.js model, whose weights are beside it."""
    return path.suffix.lower() == ".json"


def _read(path: Path) -> Tensors:
    try:
        model = _Model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except pydantic.ValidationError as error:
        fault = first_fault(error, "")
        raise DataError(f"{path} is no TensorFlow.js model of float32 weights: {fault}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    tensors = Tensors()
    for group in model.weightsManifest:
        tensors |= _read_group(path, group)
    return tensors


def _read_group(path: Path, group: _Group) -> Tensors:
    needed = FLOAT * sum(math.prod(entry.shape) for entry in group.weights)
    if needed > MOST_BYTES:
        raise DataError(f"{path} names {bytes_text(needed)} of weights; at most {bytes_text(MOST_BYTES)} are read")
    data = _shards(path, group, needed)
    values, tensors, start = np.frombuffer(data, "<f4"), Tensors(), 0
    for entry in group.weights:
        stop = start + math.prod(entry.shape)
        tensor = torch.from_numpy(values[start:stop].reshape(entry.shape).astype(np.float32))
        if not tensor.isfinite().all():
            raise DataError(f"{path}: {entry.name[:80]!r} has values that are not finite")
        tensors[entry.name], start = tensor, stop
    return tensors


def _shards(path: Path, group: _Group, needed: int) -> bytes:
    files = [path.parent / name for name in group.paths]
    try:
        found = sum(file.stat().st_size for file in files)
        if found != needed:
            raise DataError(
                f"{path}: {counted(found, 'byte')} in {counted(len(files), 'shard')}, and its weights take {needed:,}:"
                f" a shard was cut short, or is another model's"
            )
        return b"".join(file.read_bytes() for file in files)
    except OSError as error:
        raise DataError(f"{path}: cannot read its shard: {error}") from None
