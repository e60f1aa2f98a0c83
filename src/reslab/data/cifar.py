"""CIFAR-10 and CIFAR-100 in their official binary layout, checked before a picture is used.

A record is one label byte (two for CIFAR-100: coarse, fine) and 3,072 pixel bytes: red, green, blue, row by row.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reslab.core.errors import DataError
from reslab.core.units import counted
from reslab.data.official import copy_note
from reslab.data.parts import Split
from reslab.data.pictures import Pictures

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """What the official folder holds.

    ``label_bytes`` a record (the last one counts), ``records`` a split in its ``files``, ``names`` the file of class
    names, ``label_digests`` the sha256 of a split's labels in official order, where we know it.
    """

    name: str
    classes: int
    label_bytes: int
    names: str
    files: Mapping[Split, tuple[str, ...]]
    records: Mapping[Split, int]
    label_digests: Mapping[Split, str]

    def present(self, folder: Path) -> bool:
        """Whether ``folder`` holds any of the data files."""
        return any((folder / file).exists() for files in self.files.values() for file in files)


CIFAR10 = Layout(
    name="CIFAR-10",
    classes=10,
    label_bytes=1,
    names="batches.meta.txt",
    files={"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "val": ("test_batch.bin",)},
    records={"train": 50_000, "val": 10_000},
    label_digests={
        "train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "val": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
)
CIFAR100 = Layout(
    name="CIFAR-100",
    classes=100,
    label_bytes=2,
    names="fine_label_names.txt",
    files={"train": ("train.bin",), "val": ("test.bin",)},
    records={"train": 50_000, "val": 10_000},
    label_digests={},
)


def read_cifar(folder: Path, layout: Layout, split: Split) -> Pictures:
    """The pictures of ``split``, in official order; a near copy of CIFAR-10 passes, see `copy_note`.

    Raises:
        DataError: one line that names the file that is missing, of a wrong size, or wrongly labelled, or what was
            found where CIFAR-10's pictures should be.
    """
    pictures = read_layout(folder, layout, split)
    copy_note(pictures)
    return pictures


def read_layout(folder: Path, layout: Layout, split: Split) -> Pictures:
    """The pictures of ``split``, in official order, whatever is on them.

    Raises:
        DataError: one line that names the file that is missing, of a wrong size, or wrongly labelled.
    """
    files = [folder / file for file in layout.files[split]]
    share = layout.records[split] // len(files)
    records = torch.cat([_read_records(file, share, layout) for file in files])
    labels = records[:, layout.label_bytes - 1]
    _check_labels(folder, labels, layout, split)
    pixels = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    return Pictures(layout.name, split, pixels.contiguous(), labels.long(), _class_names(folder, layout))


def _read_records(file: Path, count: int, layout: Layout) -> Tensor:
    length = layout.label_bytes + PIXELS
    try:
        data = bytearray(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    if len(data) != count * length:
        raise DataError(
            f"{file} has {counted(len(data), 'byte')}; {layout.name}'s binary layout has {count * length:,}"
            f" ({count:,} records of {length:,})"
        )
    records = torch.frombuffer(data, dtype=torch.uint8).reshape(count, length)
    worst = int(records[:, layout.label_bytes - 1].argmax())
    label = int(records[worst, layout.label_bytes - 1])
    if label >= layout.classes:
        raise DataError(f"{file}: record {worst} has label {label}; {layout.name} has labels 0 to {layout.classes - 1}")
    return records


def _check_labels(folder: Path, labels: Tensor, layout: Layout, split: Split) -> None:
    each = layout.records[split] // layout.classes
    counts = torch.bincount(labels.int(), minlength=layout.classes)
    for label, count in enumerate(counts.tolist()):
        if count != each:
            raise DataError(
                f"{folder}: class {label} has {counted(count, f'{split} picture')}; {layout.name} has {each:,}"
            )
    known = layout.label_digests.get(split)
    if known is not None and hashlib.sha256(labels.contiguous().numpy().data).hexdigest() != known:
        raise DataError(f"{folder}: the {split} labels are not {layout.name}'s in their official order")


def _class_names(folder: Path, layout: Layout) -> tuple[str, ...]:
    file = folder / layout.names
    try:
        names = tuple(file.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from None
    if len(names) != layout.classes:
        raise DataError(f"{file} has {counted(len(names), 'class name')}; {layout.name} has {layout.classes}")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise DataError(f"{file} names {twice[0]!r} twice")
    return names
