"""The views of every picture that a testing protocol asks for: each picture is read and decoded once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reslab.core.contract import Resample
from reslab.core.errors import PictureError
from reslab.core.listening import unheard
from reslab.core.protocol import PLACES, Protocol
from reslab.data.decode import decode
from reslab.data.photographs import Incident, PhotoFolder
from reslab.data.picture_file import Header
from reslab.data.pictures import Pictures
from reslab.data.pool import At, Buffer, in_order
from reslab.transforms.photographs import Pixels, Size, crops_at, cut_all, resize, resized_to

LARGEST_VIEW: Final = 2**22  # pixels of one view; ours: ResNet-50 takes 2.1 GB for it in fp32
PENDING: Final = 2**28  # bytes of views that wait for others of their size
CROPS: Final = 48 * 2**20  # bytes of crops that one task makes; ours: ten crops of 64 pictures, mirrored later


class ViewBatch(NamedTuple):
    """Views of one size: ``pixels`` uint8 (B, H, W, C), ``indices`` int64 (B,), the ``group`` that they belong to.

    ``enlarged``: pictures among them that are smaller than the crop, said once.
    """

    pixels: Tensor
    indices: Tensor
    group: int
    enlarged: tuple[Incident, ...] = ()


class _PhotoViews:
    """Work on photographs, from task to task ``batch`` pictures of ``which``, resized by ``resample``."""

    def __init__(
        self, photos: PhotoFolder, protocol: Protocol, which: range, batch: int, resample: Resample = "bilinear"
    ) -> None:
        self.photos, self.protocol, self.which, self.batch, self.resample = photos, protocol, which, batch, resample

    @property
    def tasks(self) -> Sequence[int]:
        """By the place of their first picture."""
        return self.which[:: self.batch]

    def describe(self, item: int) -> str:
        """A picture's path."""
        return self.photos.place(item)

    def pictures(self, task: int) -> range:
        """The pictures of ``task``."""
        return range(task, min(task + self.batch, self.which.stop))

    def read(self, task: int, at: At, use: Callable[[int, Pixels, Header], None]) -> tuple[Incident, ...]:
        """Hand each picture of ``task`` to ``use``, with its place in the task; returns those that are enlarged."""
        enlarged: list[Incident] = []
        for place, number in enumerate(self.pictures(task)):
            at(number)
            try:
                data, header = self.photos.open(number)
                enlarged += self.photos.smaller(number, header, self.protocol.crop)
                use(place, decode(data, header), header)
            except PictureError as error:
                raise self.photos.named(number, error) from None
        return tuple(enlarged)


class CropViews(_PhotoViews):
    """Work: the crops of a batch of pictures."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one task's crops: (batch, views of a picture, side, side, 3)."""
        side = self.protocol.crop
        return self.batch, len(self.protocol.shorter_sides) * PLACES[self.protocol.places], side, side, 3

    @property
    def room(self) -> int:
        """Bytes of one batch."""
        return int(np.prod(self.shape))

    def __call__(self, task: int, out: Buffer, at: At) -> tuple[Incident, ...]:
        """Crops of the pictures from ``task`` on, shorter side by shorter side; the last batch may be smaller."""
        crops = out[: self.room].reshape(self.shape)

        def use(place: int, picture: Pixels, header: Header) -> None:
            taken: list[Pixels] = []
            for shorter in self.protocol.shorter_sides:
                found = crops_at(resized_to(header.upright, shorter), self.protocol.crop, self.protocol.places)
                taken += cut_all(picture, found, self.resample)
            crops[place] = taken

        return self.read(task, at, use)


class WholeViews(_PhotoViews):
    """Work: one picture at each shorter side, one after the other in the buffer; returns their sizes."""

    def __init__(self, photos: PhotoFolder, protocol: Protocol, which: range, resample: Resample = "bilinear") -> None:
        super().__init__(photos, protocol, which, 1, resample)

    @property
    def room(self) -> int:
        """Bytes of the largest views; of memory that nothing is written to none is taken."""
        return len(self.protocol.shorter_sides) * LARGEST_VIEW * 3

    def __call__(self, task: int, out: Buffer, at: At) -> tuple[list[Size], tuple[Incident, ...]]:
        """The picture ``task``; raises PictureError where a view is too large."""
        sizes: list[Size] = []

        def use(_place: int, picture: Pixels, header: Header) -> None:
            sizes.extend(resized_to(header.upright, shorter) for shorter in self.protocol.shorter_sides)
            start = 0
            for width, height in sizes:
                if width * height > LARGEST_VIEW:
                    raise PictureError(f"is {width}x{height} pixels in dense testing, more than {LARGEST_VIEW:,}")
                stop = start + width * height * 3
                out[start:stop] = resize(picture, (width, height), self.resample).reshape(-1)
                start = stop

        enlarged = self.read(task, at, use)
        return sizes, enlarged


def photo_views(
    photos: PhotoFolder,
    protocol: Protocol,
    which: range,
    *,
    batch: int,
    resample: Resample = "bilinear",
    workers: int = 0,
    warn: Callable[[str], None] = unheard,
) -> Iterator[ViewBatch]:
    """Every view of photographs, mirror images aside.

    Args:
        photos: the data set.
        protocol: which views.
        which: places in the data set.
        batch: crops in a batch at most; of whole pictures as many as have the pixels of so many crops.
        resample: how pictures are resized, as the network's contract says.
        workers: processes that decode.
        warn: hears of workers that died or hung and were replaced.

    Raises:
        PictureError: a picture cannot be used, or is too large for dense testing: testing never goes on without it.
        WorkerError: a picture killed or hung three workers.
    """
    if protocol.dense:
        return by_size(_whole(WholeViews(photos, protocol, which, resample), workers, warn), batch * protocol.crop**2)
    of_one = CropViews(photos, protocol, which, 1).room
    pictures = max(1, min(batch, CROPS // of_one))
    return _crops(CropViews(photos, protocol, which, pictures, resample), workers, warn)


def _crops(work: CropViews, workers: int, warn: Callable[[str], None]) -> Iterator[ViewBatch]:
    places = PLACES[work.protocol.places]
    tasks, patience = work.tasks, work.photos.store.patience
    for task, (enlarged, buffer) in zip(tasks, in_order(work, tasks, workers, warn, patience), strict=True):
        indices = np.arange(task, work.pictures(task).stop)
        crops = buffer[: work.room].reshape(work.shape)[: len(indices)]
        for view in range(work.shape[1]):
            pixels = torch.from_numpy(crops[:, view].copy())
            yield ViewBatch(pixels, torch.from_numpy(indices), view // places, enlarged if view == 0 else ())


def _whole(work: WholeViews, workers: int, warn: Callable[[str], None]) -> Iterator[ViewBatch]:
    done = in_order(work, work.which, workers, warn, work.photos.store.patience)
    for number, ((sizes, enlarged), buffer) in zip(work.which, done, strict=True):
        start = 0
        for group, (width, height) in enumerate(sizes):
            stop = start + width * height * 3
            pixels = torch.from_numpy(buffer[start:stop].reshape(1, height, width, 3).copy())
            yield ViewBatch(pixels, torch.tensor([number]), group, enlarged if group == 0 else ())
            start = stop


def by_size(views: Iterable[ViewBatch], pixels: int, pending: int = PENDING) -> Iterator[ViewBatch]:
    """Put single views of one group and size together, so that batches are full.

    Args:
        views: of one picture each.
        pixels: of a batch at most, unless one view alone has more.
        pending: bytes of views that may wait; the fullest batch goes on before there are more.
    """
    waiting: dict[tuple[int, ...], list[ViewBatch]] = {}
    held = 0
    for view in views:
        key = (view.group, *view.pixels.shape[1:])
        fellows = waiting.setdefault(key, [])
        fellows.append(view)
        held += view.pixels.nbytes
        if (len(fellows) + 1) * view.pixels.shape[1] * view.pixels.shape[2] <= pixels:
            if held <= pending:
                continue
            key = max(waiting, key=lambda other: _bytes(waiting[other]))
        full = waiting.pop(key)
        held -= _bytes(full)
        yield _together(full)
    yield from map(_together, waiting.values())


def _bytes(views: Sequence[ViewBatch]) -> int:
    return len(views) * views[0].pixels.nbytes


def _together(views: Sequence[ViewBatch]) -> ViewBatch:
    enlarged = tuple(incident for view in views for incident in view.enlarged)
    indices = torch.cat([view.indices for view in views])
    return ViewBatch(torch.cat([view.pixels for view in views]), indices, views[0].group, enlarged)


def small_views(pictures: Pictures, protocol: Protocol, which: range, batch: int) -> Iterator[ViewBatch]:
    """Every view of small pictures, mirror images aside; those of their own size are the pictures as they are.

    Args:
        pictures: the data set.
        protocol: which views.
        which: places in the data set.
        batch: pictures of the crop's size in a batch; fewer where views are larger.
    """
    for group, shorter in enumerate(protocol.shorter_sides if which else ()):
        some = batch if not protocol.dense else max(1, batch * protocol.crop**2 // shorter**2)
        for indices in torch.arange(which.start, which.stop).split(some):
            upright = pictures.pixels[indices].permute(0, 2, 3, 1)
            for pixels in _small(upright, protocol, shorter):
                yield ViewBatch(pixels, indices, group)


def _small(pixels: Tensor, protocol: Protocol, shorter: int) -> Iterator[Tensor]:
    height, width = pixels.shape[1:3]
    resized = resized_to((width, height), shorter)
    same = resized == (width, height)
    whole = pixels if same else _resized(pixels, resized)
    if protocol.dense or (same and shorter == protocol.crop and protocol.places == "center"):
        yield whole
        return
    for _, left, top, side in crops_at(resized, protocol.crop, protocol.places):
        yield whole[:, top : top + side, left : left + side]


def _resized(pixels: Tensor, size: Size) -> Tensor:
    channels = pixels.shape[-1]
    flat: NDArray[np.uint8] = pixels.squeeze(-1).numpy() if channels == 1 else pixels.numpy()
    return torch.from_numpy(
        np.stack([resize(picture, size) for picture in flat]).reshape(len(flat), *size[::-1], channels)
    )
