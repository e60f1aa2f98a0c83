"""One set of pictures to be packed: how it is divided into shards, and what its index will say."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL
from numpy.typing import NDArray

from reslab.core.errors import DataError, PictureError
from reslab.core.files import canonical_json, sha256_text, storing
from reslab.core.text import printable
from reslab.core.units import bytes_of
from reslab.data import chance
from reslab.data.photographs import PhotoFolder
from reslab.data.picture_file import MAX_BYTES
from reslab.data.pool import in_order
from reslab.data.shard_writer import Look, Smaller, WriteShards, Written
from reslab.data.shards import COLUMNS, FORMAT, PACKING, ShardFile, Shards
from reslab.data.store import LocalFiles

SEED: Final = 20151210  # of the order in shards; ours: the day of the paper, any other would do
BLOCK: Final = 512  # bytes that a TAR file is made of
BESIDE: Final = 3  # blocks beside a picture's own: two headers and a label
PATIENCE: Final = 600.0  # seconds on one picture; ours: a slow disk may take that long to hold a shard
USUAL_SIZE: Final = "256 MiB"  # ours: 550 shards of ImageNet-1k as it is


@dataclass(frozen=True)
class Packing:
    """How pictures are packed.

    Args:
        size: bytes of a shard at most, unless one picture has more; by the sizes that files have in the folder.
        pictures: in a shard at most; instead of ``size``.
        smaller: how pictures are resized; None: they stay byte for byte as they are.
    """

    size: int = bytes_of(USUAL_SIZE)
    pictures: int | None = None
    smaller: Smaller | None = None


def nothing_odd(_path: str, _data: bytes) -> str:
    """Pictures are packed as they are, and nobody looks at them."""
    return ""


class PackSet:
    """The pictures of one index: those of ``train``, of ``val``, or all.

    Args:
        part: ``train``, ``val`` or ``.``: the folder in ``out``.
        photos: the pictures.
        out: where shards go.
        how: sizes.
        look: what is odd about a picture.
    """

    def __init__(self, part: str, photos: PhotoFolder, out: Path, how: Packing, look: Look = nothing_odd) -> None:
        self.part, self.photos, self.how, self.look = part, photos, how, look
        self.folder, self.room = out / part, out / PACKING / part
        self.members = divide(photos.index.sizes, how)
        settings = {"format": FORMAT, "seed": SEED, "pictures": photos.digest, "how": asdict(how)}
        self.plan = sha256_text(canonical_json(settings | ({"pillow": PIL.__version__} if how.smaller else {})))

    def require_readable(self) -> None:
        """Find what can never be packed before anything is: empty files, broken links, far too large ones.

        Raises:
            PictureError: there is one.
        """
        sizes = self.photos.index.sizes
        for number in np.flatnonzero((sizes <= 0) | (sizes > MAX_BYTES)).tolist():
            try:
                self.photos.store.read(number)
            except PictureError as error:
                raise self.photos.named(number, error) from None

    def lacking(self, there: Shards | None) -> Sequence[int]:
        """The numbers of the shards that a set lacks whose index is ``there``: all, where there is none.

        Raises:
            DataError: one cannot be looked for.
        """
        return range(len(self.members)) if there is None else LocalFiles(self.folder).lacking(there.files)

    def written(
        self, numbers: Sequence[int], workers: int, warn: Callable[[str], None]
    ) -> Generator[Written, None, None]:
        """The shards of these numbers, in order, each when it is finished.

        Raises:
            PictureError: a picture cannot be read.
            StorageError: a shard cannot be written.
        """
        with storing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.room.mkdir(parents=True, exist_ok=True)
        work = WriteShards(self.photos, self.members, self.folder, self.room, self.plan, self.how.smaller, self.look)
        with closing(in_order(work, numbers, workers, warn, PATIENCE)) as shards:
            for shard, _ in shards:
                yield shard

    def require_same(self, made: Written, lost: ShardFile) -> None:
        """That a shard which was made again is the one that the set lost.

        Raises:
            DataError: it is another, and is removed.
        """
        if made.file != lost:
            place = self.folder / lost.name
            place.unlink()
            raise DataError(
                f"{printable(str(place))} cannot be made again: pictures have changed since; remove"
                f" {printable(str(self.folder))}, and all of it is made again"
            )

    def shards(self, written: list[Written]) -> Shards:
        """The index of shards that are all there."""
        index, numbers = self.photos.index, np.concatenate(self.members)
        columns: dict[str, NDArray[Any]] = {
            key: np.empty(len(index), COLUMNS[key]) for key in ("shards", "offsets", "sizes", "crcs")
        }
        columns["shards"][numbers] = np.repeat(np.arange(len(written)), list(map(len, self.members)))
        for key in ("offsets", "sizes", "crcs"):
            columns[key][numbers] = np.concatenate([getattr(shard, key) for shard in written])
        facts: dict[str, Any] = {"plan": self.plan, "pictures": self.photos.digest}
        if self.how.smaller:
            facts |= asdict(self.how.smaller)
            facts["resized"] = sum(shard.resized for shard in written)
            facts["damaged"] = sorted(number for shard in written for number in shard.damaged)
        kept = replace(index, sizes=columns.pop("sizes"), others=())
        return Shards(kept, **columns, files=tuple(shard.file for shard in written), facts=facts)


def divide(sizes: NDArray[np.int64], how: Packing) -> list[NDArray[np.int64]]:
    """Which pictures each shard has, in its order: all of them once, shuffled, as many in a shard as fit.

    Args:
        sizes: int64, (N,), bytes of the files.
        how: what fits.
    """
    order = chance.order(SEED, 0, len(sizes))
    if how.pictures is not None:
        return np.split(order, range(how.pictures, len(order), how.pictures))
    ends = np.cumsum((-(-sizes[order] // BLOCK) + BESIDE) * BLOCK)
    cuts: list[int] = []
    start, before = 0, 0
    while (fit := int(np.searchsorted(ends, before + how.size, side="right"))) < len(order):
        start = max(fit, start + 1)
        if start == len(order):
            break
        cuts.append(start)
        before = int(ends[start - 1])
    return np.split(order, cuts)
