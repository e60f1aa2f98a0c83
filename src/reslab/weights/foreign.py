"""Reading files that anyone may have written: the one place where a pickle is opened, and nothing in it runs."""

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydantic
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.core.text import printable
from reslab.core.units import bytes_text

Tensors = dict[str, Tensor]

FLOAT: Final = 4  # bytes
MOST_BYTES: Final = 8 * 2**30  # unpacked; ResNet-152 with option C takes 0.9 GB in float64
WRAPPERS: Final = ("state_dict", "model_state_dict", "model")  # keys under which training scripts put the tensors
PREFIXES: Final = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
ZIP: Final = b"PK\x03\x04"
SPEAKING: Final = (OSError, RuntimeError, ValueError, safetensors.SafetensorError, zipfile.BadZipFile)


def read_tensors(path: Path) -> Tensors:
    """The tensors of a safetensors, torch (``.pth``, ``.pt``, ``.th``, ``.bin``) or ``.npz`` file, by their names.

    What the file is, its bytes say, not its name. Half and double precision become single; wrappers and prefixes of
    training scripts are taken off.

    Raises:
        DataError: it cannot be read, holds more than tensors, or would run something.
    """
    if not path.is_file():
        raise DataError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a file of weights")
    try:
        with warnings.catch_warnings(action="ignore"):  # of torch, about what a file asks for
            found = _unwrapped(_read(path), path)
            _refuse_bombs(path, sum(FLOAT * tensor.numel() for tensor in found.values() if isinstance(tensor, Tensor)))
            return {name: _plain(tensor, name, path) for name, tensor in found.items()}
    except DataError:
        raise
    except Exception as error:  # three parsers, and bytes that anyone may have written: nobody knows all they raise
        raise DataError(f"cannot read the weights in {path}: {_why(error)}") from None


def read_header(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing where it is no such file.

    Raises:
        DataError: it is one, and damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"cannot read the weights in {path}: {_why(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that another program wrote.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {_why(error)}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} is not a JSON object")
    return found


def first_fault(error: pydantic.ValidationError, whole: str) -> str:
    """Where JSON is not what it should be, and why; ``whole`` names it where all of it is not."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg']}"


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as a safetensors file does: eight bytes of length, then JSON.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(9)[8:] == b"{"
    except OSError as error:
        raise DataError(f"cannot read the weights in {path}: {_why(error)}") from None


def _read(path: Path) -> Any:
    with path.open("rb") as stream:
        start = stream.read(4)
    if is_safetensors(path):
        return safetensors.torch.load_file(path)
    if start == ZIP:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        _refuse_bombs(path, sum(member.file_size for member in members))
        if members and all(member.filename.endswith(".npy") for member in members):
            return _read_npz(path)
    with path.open("rb") as stream:  # of a path, torch believes the name
        return torch.load(stream, map_location="cpu", weights_only=True)


def _refuse_bombs(path: Path, total: int) -> None:
    if total > MOST_BYTES:
        raise DataError(f"{path} would unpack to {bytes_text(total)}; at most {bytes_text(MOST_BYTES)} are read")


def _read_npz(path: Path) -> Tensors:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}


def _unwrapped(found: Any, path: Path) -> Mapping[str, Any]:
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) for name in found):
        raise DataError(f"{path} holds no tensors by name")
    named: Mapping[str, Any] = found
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in named)), None):
        named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def _plain(tensor: Any, name: str, path: Path) -> Tensor:
    if not isinstance(tensor, Tensor) or not _is_plain(tensor):
        raise DataError(f"{path}: {name[:80]!r} is no plain tensor")
    whole = tensor.detach()
    if not whole.is_floating_point():
        return whole.clone()
    single = whole.float().contiguous()
    if not single.isfinite().all():
        raise DataError(f"{path}: {name[:80]!r} has values that are not finite")
    return single


def _is_plain(tensor: Tensor) -> bool:
    """Numbers one after the other, all of them there: a few bytes can be viewed as a tensor of any size."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _why(error: Exception) -> str:
    """The reason in a line; torch's own words invite to run what is in the file."""
    text = str(error).strip()
    if wanted := re.search(r"GLOBAL (\S+)", text):
        return f"it holds more than tensors: {printable(wanted[1][:80])}, which was not run"
    if not text or not isinstance(error, SPEAKING) or "weights_only" in text or "allow_pickle" in text:
        return "it is damaged, or holds more than tensors, and nothing in it was run"
    return printable(text.splitlines()[0][:200])
