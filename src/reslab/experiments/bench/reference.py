"""Training's rival on photographs, as reference scripts read them: Pillow and numpy, one file at a time."""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reslab.core.experiment import Photographs
from reslab.data.photographs import PhotoFolder
from reslab.data.store import FolderStore
from reslab.experiments.bench.samples import Samples
from reslab.transforms.colour import colours
from reslab.transforms.photographs import resized_to

COLOURS: Final = 3


class PhotoSamples(Samples):
    """One photograph at a time, opened, decoded and resized whole (section 3.4): float32 (3, crop, crop).

    The shorter side is drawn from the recipe's range, the crop is cut at random and mirrored half the time; then the
    mean is subtracted, a standard deviation divides, and where the recipe has AlexNet's colours one is added.

    Args:
        photos: in files of their own.
        settings: the recipe's.
    """

    def __init__(self, photos: PhotoFolder, settings: Photographs) -> None:
        super().__init__(photos.labels.tolist())
        assert isinstance(photos.store, FolderStore)
        self.paths = [photos.store.root / photos.index.path(number) for number in range(len(photos))]
        self.settings, self.contract = settings, settings.contract
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
        low, high = self.settings.scale
        size, side = resized_to(picture.size, int(self.random.integers(low, high + 1))), self.contract.crop
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        left, top = (int(self.random.integers(0, length - side + 1)) for length in size)
        crop = picture.crop((left, top, left + side, top + side))
        mirrored = self.settings.flip and self.random.random() < 0.5
        return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop
