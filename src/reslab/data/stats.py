"""Statistics of a data set's pixels in one pass; every sum is of integers, so the order of summing changes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from reslab.core.colour import Matrix, Row
from reslab.core.contract import Contract
from reslab.core.errors import DataError, PictureError
from reslab.core.listening import unheard
from reslab.core.statistics import MeanImageFile, Prepared, Statistics
from reslab.data.photographs import PhotoFolder, central
from reslab.data.pictures import Pictures
from reslab.data.pool import At, Buffer, in_order
from reslab.transforms.mean_image import MeanImage
from reslab.transforms.photographs import Pixels

CHUNK: Final = 16  # pictures a task; ours: adding up a task's image takes the parent a thousandth of decoding them
WHITE: Final = 255
TOGETHER: Final = 500  # small pictures at a time

Exact = NDArray[np.object_]  # Python's integers, which never overflow


@dataclass(frozen=True, eq=False)
class Moments:
    """Integer sums over pixels in RGB: of each channel (3,), and of each product of two channels (3, 3)."""

    channels: Exact
    products: Exact

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.channels + other.channels, self.products + other.products)


def moments(pixels: Pixels) -> Moments:
    """Of uint8 (..., 3). Sums in float64, but of integers below 2**53, so exact: of up to 1.3e11 pixels."""
    planes = np.ascontiguousarray(pixels.reshape(-1, 3).T, np.float64)
    channels = np.array([int(plane.sum()) for plane in planes], object)
    return Moments(channels, np.array([[int(one @ other) for other in planes] for one in planes], object))


@dataclass
class Sums:
    """What was added up: ``moments`` and ``image``, int64 (H, W, 3), over ``pictures``, some of them ``enlarged``."""

    image: NDArray[np.int64]
    moments: Moments
    pictures: int = 0
    enlarged: int = 0

    @classmethod
    def none(cls, height: int, width: int) -> "Sums":
        """Before the first picture."""
        nothing = Moments(np.zeros(3, object), np.zeros((3, 3), object))
        return cls(np.zeros((height, width, 3), np.int64), nothing)


class CropSums:
    """Work: sums over the central crops of ``CHUNK`` photographs, by the place of the first."""

    def __init__(self, photos: PhotoFolder, contract: Contract) -> None:
        self.photos, self.contract = photos, contract
        self.shape = (contract.crop, contract.crop, 3)

    @property
    def room(self) -> int:
        """Bytes of one image of uint32 sums."""
        return int(np.prod(self.shape)) * np.dtype(np.uint32).itemsize

    @property
    def tasks(self) -> Sequence[int]:
        """By the place of their first picture."""
        return range(0, len(self.photos), CHUNK)

    def describe(self, item: int) -> str:
        """A picture's path."""
        return self.photos.place(item)

    def image(self, out: Buffer) -> NDArray[np.uint32]:
        """The sums of a task in its buffer."""
        return out[: self.room].view(np.uint32).reshape(self.shape)

    def __call__(self, task: int, out: Buffer, at: At) -> tuple[Moments, int, int]:
        """Moments of the pictures from ``task`` on, how many they are, and how many of them are enlarged."""
        image, total, enlarged = self.image(out), Sums.none(0, 0).moments, 0
        image[:] = 0
        numbers = range(task, min(task + CHUNK, len(self.photos)))
        for number in numbers:
            at(number)
            try:
                data, header = self.photos.open(number)
                crop = central(data, header, self.contract)
            except PictureError as error:
                raise self.photos.named(number, error) from None
            enlarged += len(self.photos.smaller(number, header, self.contract.crop))
            total += moments(crop)
            image += crop
        return total, len(numbers), enlarged


def photograph_sums(
    photos: PhotoFolder,
    contract: Contract,
    workers: int = 0,
    warn: Callable[[str], None] = unheard,
    counted: Callable[[int, int], None] = unheard,
) -> Sums:
    """Add up the central crops of all photographs.

    Args:
        photos: the data set.
        contract: which crops.
        workers: processes that decode and add up; 0 works in this one.
        warn: hears of workers that died or hung and were replaced.
        counted: told how many of how many pictures are done.

    Raises:
        PictureError: a picture cannot be used: none is left out.
        WorkerError: a picture killed or hung three workers.
    """
    work = CropSums(photos, contract)
    sums = Sums.none(*work.shape[:2])
    for (part, pictures, enlarged), buffer in in_order(work, work.tasks, workers, warn):
        sums.image += work.image(buffer)
        sums.moments += part
        sums.pictures += pictures
        sums.enlarged += enlarged
        counted(sums.pictures, len(photos))
    return sums


def small_sums(pictures: Pictures) -> Sums:
    """Add up small pictures as they are; grey ones as three equal channels."""
    sums = Sums.none(*pictures.pixels.shape[2:])
    for some in pictures.pixels.split(TOGETHER):
        upright = some.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
        sums.image += upright.sum(axis=0, dtype=np.int64)
        sums.moments += moments(upright)
        sums.pictures += len(upright)
    return sums


def mean_image(sums: Sums) -> MeanImage:
    """The mean of each pixel, divided in float64 and rounded to float32."""
    return MeanImage(torch.from_numpy((sums.image / sums.pictures).astype(np.float32)))


def statistics(pictures: PhotoFolder | Pictures, sums: Sums, contract: Contract | None, file: str | None) -> Statistics:
    """What ``sums`` say.

    Args:
        pictures: those that were added up.
        sums: over them.
        contract: which crops of photographs; None: small pictures.
        file: the name of the mean image's file, where it is kept.

    Raises:
        DataError: there are no pictures.
    """
    if not sums.pictures:
        raise DataError(f"{pictures.name} has no pictures")
    height, width = sums.image.shape[:2]
    pixels, channels, products = sums.pictures * height * width, sums.moments.channels, sums.moments.products
    spread = pixels * products - np.outer(channels, channels)  # pixels**2 times the covariance
    prepared = None if contract is None else _prepared(contract)
    covariance = spread / (pixels * WHITE) ** 2  # quotients of Python's integers are rounded once
    values, vectors = eigen(covariance.astype(np.float64))
    return Statistics(
        data=pictures.name,
        split=pictures.split,
        data_digest=pictures.digest,
        contract=prepared,
        pictures=sums.pictures,
        enlarged=sums.enlarged,
        pixels=pixels,
        mean=_row(channels / pixels),
        std=_row(np.sqrt((np.diag(spread) / pixels**2).astype(np.float64))),
        covariance=_matrix(covariance),
        eigenvalues=_row(values),
        eigenvectors=_matrix(vectors),
        mean_image=MeanImageFile(shape=(height, width, 3), sha256=mean_image(sums).digest, file=file),
    )


def _prepared(contract: Contract) -> Prepared:
    sides = {"shorter_side": contract.shorter_side, "crop": contract.crop}
    return Prepared.parse({**sides, "resample": contract.resampling})


def eigen(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues, the largest first and none below 0; eigenvectors as columns, their largest component positive."""
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(3)]
    return values, vectors * np.sign(largest)


def _row(values: NDArray[Any]) -> Row:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _matrix(values: NDArray[Any]) -> Matrix:
    first, second, third = (_row(row) for row in values)
    return first, second, third
