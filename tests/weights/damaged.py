"""Files that are damaged, claim too much, or hold what are no weights."""

import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch
from tests.weights.hostile import MAGIC

Write = Callable[[Path], object]
UNREADABLE: Final = "cannot read the weights in"
NOT_PLAIN: Final = "'w' is no plain tensor"
NOT_FINITE: Final = "'w' has values that are not finite"
NO_TENSORS: Final = "holds no tensors by name"


@dataclass(frozen=True)
class Damage:
    """``write(file)`` makes a file that is refused with ``says`` in the line."""

    name: str
    write: Write
    says: str = UNREADABLE


def plain(file: Path) -> None:
    torch.save({"w": torch.arange(4000.0)}, file)


def older(file: Path) -> None:
    torch.save({"w": torch.arange(4000.0)}, file, _use_new_zipfile_serialization=False)


def safe(file: Path) -> None:
    safetensors.torch.save_file({"w": torch.arange(4000.0)}, file)


def packed(file: Path) -> None:
    with file.open("wb") as stream:
        np.savez_compressed(stream, w=np.random.default_rng(0).normal(size=4000))


def one(make: Callable[[], Any]) -> Write:
    return lambda file: torch.save({"w": make()}, file)


def whole(value: Any) -> Write:
    return lambda file: torch.save(value, file)


def holding(data: bytes) -> Write:
    return lambda file: file.write_bytes(data)


def part_of(write: Write, share: float) -> Write:
    def cut(file: Path) -> None:
        write(file)
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return cut


def legacy_dict(value: bytes) -> bytes:
    """torch's older file, whose dictionary has what the opcodes ``value`` make under the name w."""
    body = b"\x80\x02}X\x01\x00\x00\x00w" + value + b"s."
    return b"".join(pickle.dumps(part, 2) for part in MAGIC) + body + pickle.dumps([], 2)


def header(size: int, text: bytes) -> bytes:
    """What a safetensors file begins with."""
    return struct.pack("<Q", size) + text


def broken_npz(file: Path) -> None:
    """A compressed member whose stream is overwritten."""
    packed(file)
    data = bytearray(file.read_bytes())
    data[200:300] = bytes(range(100))
    file.write_bytes(data)


def another_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")


def bomb(*names: str) -> Write:
    """Three small members, of which the archive's directory says that each unpacks to 3 GiB."""

    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, b"tiny")
        data = bytearray(file.read_bytes())
        at = data.find(b"PK\x01\x02")
        while at >= 0:
            data[at + 24 : at + 28] = struct.pack("<I", 3 * 2**30)
            at = data.find(b"PK\x01\x02", at + 1)
        file.write_bytes(data)

    return write


def quantised() -> torch.Tensor:
    return torch._empty_affine_quantized([2], scale=1.0, zero_point=0, dtype=torch.qint8)


BYTES_OF_A_FILE: Final = (
    Damage("empty", Path.touch),
    Damage("one-byte", holding(b"P")),
    Damage("text", holding(b"no weights at all\n" * 9)),
    Damage("random", holding(np.random.default_rng(0).bytes(5000))),
    Damage("zip-cut", part_of(plain, 0.6)),
    Damage("legacy-cut", part_of(older, 0.6)),
    Damage("legacy-cut-in-its-pickle", part_of(older, 0.01)),
    Damage("safetensors-cut", part_of(safe, 0.6)),
    Damage("npz-broken", broken_npz),
    Damage("zip-of-something-else", another_zip),
    Damage("header-of-4-EiB", holding(header(2**62, b'{"w"'))),
    Damage("header-deep", holding(header(10**6, b'{"w":' + b"[" * 10**6))),
    Damage("header-no-json", holding(header(50, b"{" * 50))),
    Damage("pickle-deep", holding(legacy_dict(b"]" * 10**5 + b"a" * (10**5 - 1))), NOT_PLAIN),
    Damage("pickle-of-32-TiB", holding(legacy_dict(b"cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\x20\x85R"))),
    Damage("bomb-npz", bomb("a.npy", "b.npy", "c.npy"), "would unpack to 9.0 GiB; at most 8.0 GiB are read"),
    Damage("bomb-torch", bomb("x/data.pkl", "x/version", "x/data/0"), "would unpack to 9.0 GiB; at most 8.0"),
)
TENSORS_IN_IT: Final = (
    Damage("stretched", one(lambda: torch.ones(1).expand(2**10, 2**10)), NOT_PLAIN),
    Damage("stretched-to-16-GiB", one(lambda: torch.ones(1).expand(2**20, 2**12)), "would unpack to 16.0 GiB"),
    Damage("nan", one(lambda: torch.tensor([1.0, float("nan")])), NOT_FINITE),
    Damage("infinite-half", one(lambda: torch.tensor([1.0, float("-inf")]).half()), NOT_FINITE),
    Damage("too-large-for-single", one(lambda: torch.tensor([1e300], dtype=torch.float64)), NOT_FINITE),
    Damage("complex", one(lambda: torch.ones(2, dtype=torch.complex64)), NOT_PLAIN),
    Damage("sparse", one(lambda: torch.eye(2).to_sparse()), NOT_PLAIN),
    Damage("quantised", one(quantised), NOT_PLAIN),
    Damage("without-values", one(lambda: torch.ones(2, device="meta")), NOT_PLAIN),
    Damage("number", one(lambda: 3.5), NOT_PLAIN),
    Damage("name-of-two-lines", whole({"a\nb\x1b": None}), r"'a\nb\x1b' is no plain tensor"),
    Damage("integer-names", whole({0: torch.ones(1)}), NO_TENSORS),
    Damage("tuple-names", whole({("w",): torch.ones(1)}), NO_TENSORS),
    Damage("list", whole([torch.ones(1)]), NO_TENSORS),
    Damage("nothing", whole({}), NO_TENSORS),
    Damage("tensor-alone", whole(torch.ones(3)), NO_TENSORS),
)
DAMAGED: Final = (*BYTES_OF_A_FILE, *TENSORS_IN_IT)
