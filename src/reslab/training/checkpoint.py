"""Checkpoints: safetensors for tensors, JSON for facts, a manifest of sha256s written last, one rename to be there.

Nothing is pickled. A checkpoint that a crash cut short has no name; one whose bytes changed does not match its
manifest; in both cases the one before it is used.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from reslab.core.errors import CheckpointError
from reslab.core.files import PARTIAL, sha256_file, storing, whole_folder, write_synced

Parts = dict[str, dict[str, Tensor]]
PREFIX = "step-"
MANIFEST = "manifest.json"
HEADER = "reslab"
MODEL, FORM = "model", "form"  # the parts of a network at rest: its weights, and what prepares its pictures


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint.

    ``parts`` by file stem, tensors by name; the ``facts`` of ``state.json``; the sha256 of each file in ``digests``.
    """

    path: Path
    parts: Parts
    facts: dict[str, Any]
    digests: dict[str, str]


def write(
    target: Path, parts: Parts, facts: dict[str, Any], header: str | None = None, *, replace: bool = False
) -> None:
    """Make ``target`` a folder that `read` verifies and reads, in one rename.

    Args:
        target: the folder.
        parts: tensors by file and name; stored contiguous, whatever their memory format.
        facts: plain JSON.
        header: what ``model.safetensors`` says of itself, where it may be met alone.
        replace: what is there; else it stays, and the writing fails.

    Raises:
        StorageError: it could not be written; what was there is intact and the space is released.
    """
    files = {f"{part}.safetensors": _tensor_bytes(tensors, part, header) for part, tensors in parts.items()}
    files["state.json"] = (json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    with whole_folder(target, sum(len(data) for data in files.values())) as partial:
        for name, data in files.items():
            write_synced(partial / name, data)
        manifest = {"sha256": {name: sha256_file(partial / name) for name in files}}
        write_synced(partial / MANIFEST, json.dumps(manifest, indent=1).encode())
        if replace:
            _discard(target)


def save(
    folder: Path, step: int, parts: Parts, facts: dict[str, Any], keep: int = 2, header: str | None = None
) -> Path:
    """Store a checkpoint below ``folder`` as ``step-N``, then drop all but the newest ``keep``.

    Args:
        folder: the run's ``checkpoints`` directory.
        step: updates done.
        parts: tensors by file and name; stored contiguous, whatever their memory format.
        facts: plain JSON.
        keep: how many to retain.
        header: as for `write`.

    Raises:
        StorageError: it could not be written; earlier checkpoints are intact and the space is released.
    """
    target = folder / f"{PREFIX}{step}"
    write(target, parts, facts, header, replace=True)
    with storing(folder):
        kept = [old for old in steps(folder) if old <= step][:keep]  # a later one is damaged: it was passed over
        for old in set(steps(folder)).difference(kept):
            _discard(folder / f"{PREFIX}{old}")
    return target


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint below ``folder``, newest first."""
    names = [path.name.removeprefix(PREFIX) for path in folder.glob(f"{PREFIX}*")]
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def remove_orphans(folder: Path) -> None:
    """Delete what a crash left half-written or half-deleted."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there is none at all.

    Args:
        folder: the run's ``checkpoints`` directory.
        warn: told about each damaged checkpoint that is passed over.

    Raises:
        CheckpointError: there are checkpoints and all are damaged.
    """
    damaged = []
    for step in steps(folder):
        path = folder / f"{PREFIX}{step}"
        try:
            checkpoint = read(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        for line in damaged:
            warn(f"{line}; using {path.name} instead")
        return checkpoint
    if damaged:
        raise CheckpointError(f"no checkpoint in {folder} is whole: {'; '.join(damaged)}")
    return None


def digest_of(folder: Path, step: int) -> str:
    """The sha256 of the tensors that ``folder`` keeps of ``step``.

    Raises:
        CheckpointError: it keeps none, or what it keeps is damaged.
    """
    path = folder / f"{PREFIX}{step}"
    with _damage(path):
        return str(json.loads((path / MANIFEST).read_bytes())["sha256"][f"{MODEL}.safetensors"])


def read(path: Path) -> Checkpoint:
    """Verify and read one checkpoint.

    Raises:
        CheckpointError: a file is missing or its bytes are not those that were written.
    """
    with _damage(path):
        manifest = json.loads((path / MANIFEST).read_bytes())
        files = {name: (path / name).read_bytes() for name in manifest["sha256"]}
        for name, digest in manifest["sha256"].items():
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise CheckpointError(f"{path / name} is damaged: its sha256 differs from the manifest's")
        facts = json.loads(files["state.json"])
        tensors = [name for name in files if name.endswith(".safetensors")]
        parts = {name.removesuffix(".safetensors"): safetensors.torch.load(files[name]) for name in tensors}
    return Checkpoint(path, parts, facts, manifest["sha256"])


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None


def _tensor_bytes(tensors: dict[str, Tensor], part: str, header: str | None) -> bytes:
    metadata = {HEADER: header} if header is not None and part == MODEL else None  # one key: more come in any order
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, metadata)


def _discard(path: Path) -> None:
    """Take the name away first, so that no half-deleted checkpoint is ever seen."""
    if path.exists():
        doomed = path.with_name(f"{PARTIAL}{path.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)
