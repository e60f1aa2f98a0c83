"""One shard: the pictures that belong into it, as they are or made smaller, in a file that is there whole or not."""

import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from PIL import Image

from reslab.core.errors import PictureError
from reslab.core.files import canonical_json, storing, sync_directory, write_bytes
from reslab.data.decode import decode
from reslab.data.photographs import PhotoFolder
from reslab.data.picture_file import kind_of, read_header
from reslab.data.pool import At, Buffer
from reslab.data.remote import checksum
from reslab.data.shards import ShardFile
from reslab.transforms.photographs import resize, resized_to

ENDINGS: Final = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif"}
KEYS: Final = ("offsets", "sizes", "crcs")
PARTIAL: Final = ".partial"  # ends the name of a shard that is being written
Look = Callable[[str, bytes], str]
"""What is odd about a picture of this path and these bytes; raises PictureError where it must not be packed."""


@dataclass(frozen=True)
class Smaller:
    """Pictures whose shorter side is larger than ``shorter_side`` become JPEG of that size and ``quality``."""

    shorter_side: int
    quality: int


class Written(NamedTuple):
    """A shard: ``offsets`` and ``sizes`` int64, ``crcs`` uint32 of its pictures in its own order.

    ``resized``: how many are smaller than they were; ``damaged``: numbers of those that cannot be decoded and are
    therefore kept as they are; ``odd``: numbers of those that are odd, and what they are; ``anew``: whether it was made
    just now.
    """

    file: ShardFile
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    crcs: NDArray[np.uint32]
    resized: int
    damaged: tuple[int, ...]
    odd: tuple[tuple[int, str], ...] = ()
    anew: bool = True


class WriteShards:
    """Work: shards of ``photos``, by their numbers.

    Args:
        photos: all pictures.
        members: the pictures of each shard, in the shard's order.
        folder: where shards go.
        room: where they grow, and where it is noted that they are finished.
        plan: of what packing they are; a shard of another is made again.
        smaller: how pictures are resized; None: they stay as they are.
        look: what is odd about a picture.
    """

    room = 0

    def __init__(
        self,
        photos: PhotoFolder,
        members: Sequence[NDArray[np.int64]],
        folder: Path,
        room: Path,
        plan: str,
        smaller: Smaller | None,
        look: Look,
    ) -> None:
        self.photos, self.members, self.folder, self.notes = photos, members, folder, room
        self.plan, self.smaller, self.look = plan, smaller, look

    def describe(self, item: int) -> str:
        """A picture's path."""
        return self.photos.place(item)

    def __call__(self, task: int, _out: Buffer, at: At) -> Written:
        """Shard ``task``, made unless it is there already.

        Raises:
            PictureError: a picture cannot be read.
            StorageError: the shard cannot be written; nothing is left of it.
        """
        target, note = self.folder / shard_name(task), self.notes / f"{shard_name(task)}.safetensors"
        found = _noted(target, note, self.plan)
        if found is not None:
            return found
        partial = self.notes / f"{shard_name(task)}{PARTIAL}"
        with storing(target, int(self.photos.index.sizes[self.members[task]].sum())):
            try:
                with partial.open("wb") as stream:
                    written = self._write(stream, task, at)
                    stream.flush()
                    os.fsync(stream.fileno())
                partial.replace(target)
                sync_directory(target.parent)
            finally:
                partial.unlink(missing_ok=True)
        file = ShardFile(target.name, *checksum(target))
        whole = written._replace(file=file)
        _note(whole, note, self.plan)
        return whole

    def _write(self, stream: BinaryIO, task: int, at: At) -> Written:
        offsets, sizes, crcs, resized, damaged, odd = [], [], [], 0, [], []
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number in self.members[task].tolist():
                at(number)
                data, what = self._read(number)
                odd += [(number, what)] if what else []
                made, sound = (data, True) if self.smaller is None else made_smaller(data, self.smaller)
                resized += made is not data
                damaged += [] if sound else [number]
                offsets.append(tar.offset + tarfile.BLOCKSIZE)
                sizes.append(len(made))
                crcs.append(zlib.crc32(made))
                _add(tar, f"{number:08}.{self._ending(number, made)}", made)
                _add(tar, f"{number:08}.cls", b"%d" % self.photos.index.labels[number])
        arrays = np.array(offsets, np.int64), np.array(sizes, np.int64), np.array(crcs, np.uint32)
        return Written(ShardFile(shard_name(task), 0, 0), *arrays, resized, tuple(damaged), tuple(odd))

    def _read(self, number: int) -> tuple[bytes, str]:
        try:
            data = self.photos.store.read(number)
            return data, self.look(self.photos.index.path(number), data)
        except PictureError as error:
            raise self.photos.named(number, error) from None

    def _ending(self, number: int, data: bytes) -> str:
        """What the bytes are; where they are no picture, what the name says."""
        kind = kind_of(data)
        named = PurePosixPath(self.photos.index.path(number)).suffix.lower()
        return ENDINGS[kind] if kind else named.lstrip(".")


def shard_name(number: int) -> str:
    """The name of shard ``number``."""
    return f"shard-{number:05}.tar"


def made_smaller(data: bytes, how: Smaller) -> tuple[bytes, bool]:
    """A picture's file, made smaller where it is larger; and whether it could be decoded, else it stays as it is."""
    try:
        header = read_header(data)
        if min(header.upright) <= how.shorter_side:
            return data, True
        pixels = resize(decode(data, header), resized_to(header.upright, how.shorter_side))
    except PictureError:
        return data, False
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=how.quality)
    return stream.getvalue(), True


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner and time, readable by all: equal bytes give equal archives."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _note(written: Written, file: Path, plan: str) -> None:
    told = {"plan": plan, "file": written.file._asdict(), "resized": written.resized, "damaged": written.damaged}
    told["odd"] = written.odd
    columns: dict[str, NDArray[Any]] = {key: getattr(written, key) for key in KEYS}
    write_bytes(file, safetensors.numpy.save(columns, {"shard": canonical_json(told)}))


def _noted(target: Path, file: Path, plan: str) -> Written | None:
    """The shard as it was finished before; None: it was not, or is not that any more."""
    try:
        with safetensors.safe_open(file, framework="numpy") as stored:
            told = json.loads(stored.metadata()["shard"])
            offsets, sizes, crcs = (stored.get_tensor(key) for key in KEYS)
        shard = ShardFile(**told["file"])
        if told["plan"] != plan or checksum(target) != (shard.size, shard.crc):
            return None
        damaged, odd = tuple(told["damaged"]), tuple((number, what) for number, what in told["odd"])
        return Written(shard, offsets, sizes, crcs, told["resized"], damaged, odd, anew=False)
    except (OSError, KeyError, ValueError, TypeError, safetensors.SafetensorError):
        return None
