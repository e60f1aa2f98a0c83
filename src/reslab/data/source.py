"""What ``--data`` may name, and how it is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reslab.core.errors import DataError
from reslab.core.experiment import DataName
from reslab.data.cifar import CIFAR10, CIFAR100, Layout, read_cifar
from reslab.data.embedded import embedded
from reslab.data.pictures import Pictures, Split

CIFAR: dict[DataName, tuple[Layout, str]] = {
    "cifar10": (CIFAR10, "cifar-10-batches-bin"),
    "cifar100": (CIFAR100, "cifar-100-binary"),
}


@dataclass(frozen=True)
class Source:
    """A data set that was found: its short name, where it lies, and how to read a split of it."""

    name: DataName
    place: str
    read: Callable[[Split], Pictures]


def find_data(path: str) -> Source:
    """Recognise ``path``: ``embedded``, a CIFAR binary folder, or the folder around one.

    Raises:
        DataError: it is none of these; the line says what would be.
    """
    if path == "embedded":
        return Source("embedded", "embedded", embedded)
    folder = Path(path)
    for name, (layout, usual) in CIFAR.items():
        for place in (folder, folder / usual):
            if layout.present(place):
                return Source(name, str(place.resolve()), partial(read_cifar, place, layout))
    found = "does not exist" if not folder.exists() else "holds no pictures that reslab knows"
    raise DataError(
        f"{path} {found}; --data takes 'embedded' or a CIFAR-10 or CIFAR-100 folder in the official binary layout"
        " (data_batch_1.bin ... test_batch.bin, or train.bin and test.bin)"
    )


def load(path: str, split: Split = "train") -> Pictures:
    """The pictures of ``split`` at ``path``, as `find_data` understands it.

    Raises:
        DataError: there are none, or they are damaged.
    """
    return find_data(path).read(split)
