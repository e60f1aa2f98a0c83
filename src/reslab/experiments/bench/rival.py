"""The loader's rivals: what anybody would write with Pillow, and threads in the place of processes."""

import io
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from reslab.data.photographs import Incident, TrainingCrops
from reslab.data.pool import Work
from reslab.data.windows import Draws, jittered, mirrored
from reslab.experiments.bench.timing import AHEAD
from reslab.transforms.photographs import Crop, Pixels


def naive_crop(picture: Image.Image, window: Crop, *, mirrored: bool) -> Pixels:
    """Resize the whole picture, antialiased bilinear, take the crop, mirror it: uint8 (side, side, 3)."""
    resized = picture.resize(window.resized, Image.Resampling.BILINEAR)
    crop = resized.crop((window.left, window.top, window.left + window.side, window.top + window.side))
    return np.asarray(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop)


class NaiveCrops(TrainingCrops):
    """The same pictures and windows as `TrainingCrops` at random scales; Pillow decodes each picture whole."""

    def crop(self, epoch: int, number: int, side: int, _enlarged: list[Incident]) -> Pixels:
        """A random crop of picture ``number`` in ``epoch``: uint8 (side, side, 3)."""
        with Image.open(io.BytesIO(self.photos.store.read(number))) as image:
            ImageOps.exif_transpose(image, in_place=True)
            picture = image if image.mode == "RGB" else image.convert("RGB")
            draws = Draws(self.seed, epoch, number)
            window = jittered(self.settings, picture.size, side, draws)
            return naive_crop(picture, window, mirrored=mirrored(self.settings, draws))


def threaded(work: Work[Any], tasks: Sequence[int], threads: int) -> Generator[None, None, None]:
    """Do ``tasks`` in ``threads`` of this process, as far ahead and in the same order as the pool's processes."""
    slots = [np.empty(work.room, np.uint8) for _ in range(AHEAD * threads)]
    begun: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for task, slot in zip(tasks, cycle(slots), strict=False):
            begun.append(pool.submit(work, task, slot, lambda _item: None))
            if len(begun) == len(slots):
                begun.popleft().result()
                yield
