"""Training's rival on photographs, as reference scripts read them: Pillow and numpy, one file at a time."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reslab.core.experiment import Photographs, RandomArea
from reslab.data.photographs import PhotoFolder
from reslab.data.store import FolderStore
from reslab.experiments.bench.samples import Samples
from reslab.transforms.colour import colours
from reslab.transforms.photographs import FILTERS, resized_to
from reslab.transforms.regions import central_region, extent

COLOURS: Final = 3
TRIES: Final = 10  # as torchvision's, before the central part is taken


class PhotoSamples(Samples):
    """One photograph at a time, opened, decoded and resized whole (section 3.4): float32 (3, side, side).

    The shorter side is drawn from the recipe's range and the crop is cut at random, or a random area is cut and resized
    where the recipe has areas, by the filter of its contract; it is mirrored half the time. Then the mean is
    subtracted, a standard deviation divides, and where the recipe has AlexNet's colours one is added. Crops that grow
    have their first side.

    Args:
        photos: in files of their own.
        settings: the recipe's.
    """

    def __init__(self, photos: PhotoFolder, settings: Photographs) -> None:
        super().__init__(photos.labels.tolist())
        assert isinstance(photos.store, FolderStore)
        self.paths = [photos.store.root / photos.index.path(number) for number in range(len(photos))]
        self.settings, self.contract, self.side = settings, settings.contract, settings.sides[0]
        self.filter = FILTERS[self.contract.resample]
        self.mean, self.std = (np.array(part, np.float32) for part in (self.contract.mean, self.contract.std))
        how = settings.colour
        self.along = None if how is None else colours(np.eye(COLOURS, dtype=np.float32), how)

    def image(self, index: int) -> Tensor:
        """Photograph ``index``, drawn anew."""
        crop = np.array(self._crop(self.paths[index]), np.float32)
        if self.along is not None:
            crop += self.random.standard_normal(COLOURS, np.float32) @ self.along
        if self.contract.order == "BGR":
            crop = crop[:, :, ::-1]
        crop -= self.mean
        crop /= self.std
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))

    def _crop(self, path: Path) -> Image.Image:
        with Image.open(path) as file:
            picture = file.convert("RGB")
        crop = self._jittered(picture) if self.settings.area is None else self._part(picture, self.settings.area)
        mirrored = self.settings.flip and self.random.random() < 0.5
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop

    def _jittered(self, picture: Image.Image) -> Image.Image:
        low, high = self.settings.scale_for(self.side)
        size, side = resized_to(picture.size, int(self.random.integers(low, high + 1))), self.side
        left, top = (int(self.random.integers(0, length - side + 1)) for length in size)
        return picture.resize(size, self.filter).crop((left, top, left + side, top + side))

    def _part(self, picture: Image.Image, area: RandomArea) -> Image.Image:
        for _ in range(TRIES):
            aspect = float(np.exp(self.random.uniform(*np.log(area.aspect))))
            if found := extent(picture.size, self.random.uniform(*area.share), aspect):
                left, top = (
                    int(self.random.integers(0, whole - inner + 1))
                    for whole, inner in zip(picture.size, found, strict=True)
                )
                return self._resized(picture, (left, top, left + found[0], top + found[1]))
        _, left, top, width, height, _ = central_region(picture.size, area.aspect, self.side)
        return self._resized(picture, (left, top, left + width, top + height))

    def _resized(self, picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
        return picture.crop(box).resize((self.side, self.side), self.filter)
