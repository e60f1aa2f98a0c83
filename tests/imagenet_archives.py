"""ImageNet's archives in their official layout, small: ten classes, real pictures, two of them odd."""

import functools
import gzip
import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.io import savemat
from tests.picture_bytes import image, saved

from reslab.core.imagenet import imagenet_classes

WNIDS: Final = tuple(sorted(one.wnid for one in imagenet_classes()[100:900:80]))
ORDER: Final = tuple(WNIDS[place] for place in (3, 7, 0, 9, 5, 1, 8, 2, 6, 4))  # as the test server numbers them
ROOT: Final = "ILSVRC2012_devkit_t12"
META: Final = f"{ROOT}/data/meta.mat"
TRUTH: Final = f"{ROOT}/data/ILSVRC2012_validation_ground_truth.txt"
EACH: Final = 6  # pictures of a class in training
ANSWERS: Final = (*range(1, 11), 4, 4, 9)  # the number of each validation picture's class
CMYK: Final = f"{WNIDS[2]}_11.JPEG"
PNG: Final = f"{WNIDS[5]}_2933.JPEG"
FIELDS: Final = (
    "ILSVRC2012_ID",
    "WNID",
    "words",
    "gloss",
    "num_children",
    "children",
    "wordnet_height",
    "num_train_images",
)
Entry = tuple[tarfile.TarInfo, bytes]


class Archives(NamedTuple):
    """Where the three files lie."""

    train: Path
    val: Path
    devkit: Path

    @property
    def words(self) -> tuple[str, ...]:
        """As the command line takes them."""
        return ("--train-archive", str(self.train), "--val-archive", str(self.val), "--devkit", str(self.devkit))


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mtime = len(data), kind, link, 1_339_000_000
    return info, data


def packed(entries: Iterable[Entry], layout: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar; by default as GNU tar, which made the official ones, writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@functools.cache
def photograph(seed: int) -> bytes:
    """A JPEG that no other seed gives."""
    draw = np.random.default_rng(seed)
    width, height = draw.integers(20, 41, 2)
    return saved("JPEG", image().resize((int(width), int(height))).rotate(int(draw.integers(360))))


def class_entries(wnid: str, each: int = EACH) -> list[Entry]:
    """The pictures of a training class, as entries of its archive."""
    first = 1000 * WNIDS.index(wnid)
    pictures = {f"{wnid}_{7 * number + 3}.JPEG": photograph(first + number) for number in range(each)}
    if CMYK.startswith(wnid):
        pictures[CMYK] = saved("JPEG", image("CMYK"))
    if PNG.startswith(wnid):
        pictures[PNG] = saved("PNG")
    return [entry(name, data) for name, data in pictures.items()]


def train_entries(wnids: Sequence[str] = WNIDS) -> list[Entry]:
    return [entry(f"{wnid}.tar", packed(class_entries(wnid))) for wnid in wnids]


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}.JPEG"


def val_entries(count: int = len(ANSWERS)) -> list[Entry]:
    return [entry(val_name(number), photograph(-number % 2**32)) for number in range(1, count + 1)]


def synsets(order: Sequence[str] = ORDER, above: int = 3) -> Any:
    """The rows of ``meta.mat``, classes first, then the synsets ``above`` them, as the official file has them."""
    rows = np.empty((len(order) + above, 1), [(name, object) for name in FIELDS])
    for place, wnid in enumerate(order):
        rows[place, 0] = (np.int16(place + 1), wnid, "a thing", "a thing that is", 0, np.zeros((1, 0)), 0, 1300)
    for place in range(len(order), len(rows)):
        children = np.arange(1, 3, dtype=np.uint16)
        rows[place, 0] = (np.int16(place + 1), f"n{place:08}", "a kind", "a kind of things", 2, children, 1, 0)
    return rows


@functools.cache
def official_meta() -> bytes:
    """``meta.mat`` as it should be; the same bytes at every call, although savemat writes the time into them."""
    return meta_mat(synsets())


def meta_mat(rows: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"synsets": rows}, do_compression=True)
    return buffer.getvalue()


def truth_text(answers: Iterable[object] = ANSWERS) -> bytes:
    return "".join(f"{answer}\n" for answer in answers).encode()


def devkit_entries(meta: bytes | None = None, truth: bytes | None = None) -> list[Entry]:
    return [
        entry(f"{ROOT}/", kind=tarfile.DIRTYPE),
        entry(f"{ROOT}/readme.txt", b"read me"),
        entry(f"{ROOT}/data/", kind=tarfile.DIRTYPE),
        entry(TRUTH, truth_text() if truth is None else truth),
        entry(META, official_meta() if meta is None else meta),
    ]


def devkit_bytes(meta: bytes | None = None, truth: bytes | None = None) -> bytes:
    return gzip.compress(packed(devkit_entries(meta, truth)))


@functools.cache
def official() -> tuple[bytes, bytes, bytes]:
    return packed(train_entries()), packed(val_entries()), devkit_bytes()


def write_archives(folder: Path) -> Archives:
    """All three, under their official names."""
    names = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
    found = Archives(*(folder / name for name in names))
    for path, data in zip(found, official(), strict=True):
        path.write_bytes(data)
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, hidden ones too, with its bytes; links are named, not followed."""
    return {
        path.relative_to(folder).as_posix(): b"link" if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def expected(*halves: str) -> dict[str, bytes]:
    """Every picture that must be there, by the entries that the archives are made of; of both halves by default."""
    pictures = {f"train/{wnid}/{info.name}": data for wnid in WNIDS for info, data in class_entries(wnid)}
    for number, (info, data) in zip(ANSWERS, val_entries(), strict=True):
        pictures[f"val/{ORDER[number - 1]}/{info.name}"] = data
    return {path: data for path, data in pictures.items() if not halves or path.split("/")[0] in halves}


def pictures_in(folder: Path) -> dict[str, bytes]:
    """Every picture in a folder."""
    return {path: data for path, data in tree(folder).items() if path.endswith(".JPEG")}
