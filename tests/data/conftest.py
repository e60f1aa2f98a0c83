"""Small photographs, and the batches that training makes of them."""

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from reslab.core.contract import Contract
from reslab.core.experiment import Photographs
from reslab.data import chance
from reslab.data.loader import CropBatch, training_crops
from reslab.data.pack import pack
from reslab.data.pack_set import Packing
from reslab.data.photographs import PhotoFolder
from reslab.data.source import PictureFolder
from reslab.data.store import FolderStore
from reslab.transforms.photographs import resized_to

SIDE = 32
SEED = 3


@pytest.fixture(scope="session")
def exact() -> Photographs:
    """Crops of 32 pixels, decoded whole."""
    return Photographs(contract=Contract(shorter_side=36, crop=SIDE), scale=(34, 50), decode="exact")


@pytest.fixture(scope="session")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    """15 JPEG pictures in three classes, of which one lies on its side; nobody may change them."""
    root = folder_of(tmp_path_factory.mktemp("photos"), pictures=5)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(root / "birch" / "002.jpg") as image:
        image.save(root / "birch" / "002.jpg", exif=exif, quality=95)
    return PictureFolder(root).read("all")


@pytest.fixture
def own(folder_of: Callable[..., Path], tmp_path: Path) -> Path:
    """12 PNG pictures in two classes, to be damaged."""
    return folder_of(tmp_path / "own", ("ash", "birch"), 6, ".png")


@pytest.fixture(scope="session")
def packed() -> Callable[..., Path]:
    """Packs a folder into shards of some 8 KiB."""

    def write(root: Path, out: Path, size: int = 8_192, workers: int = 0, **how: Any) -> Path:
        pack(PictureFolder(root), out, Packing(size, **how), workers, pytest.fail)
        return out

    return write


@pytest.fixture(scope="session")
def shards(photos: PhotoFolder, packed: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs in shards; nobody may change them."""
    assert isinstance(photos.store, FolderStore)
    return packed(photos.store.root, tmp_path_factory.mktemp("shards") / "photos")


@pytest.fixture(scope="session")
def drawn(exact: Photographs) -> Callable[..., list[CropBatch]]:
    """Nine training batches of four."""

    def draw(pictures: PhotoFolder, how: Photographs = exact, **options: Any) -> list[CropBatch]:
        chosen: dict[str, Any] = {"batch": 4, "steps": 9, "seed": SEED, "settings": how} | options
        return list(training_crops(pictures, **chosen))

    return draw


@pytest.fixture(scope="session")
def digests() -> Callable[[Iterable[CropBatch]], list[str]]:
    """One for each batch, of everything in it."""

    def digest(batch: CropBatch) -> str:
        total = hashlib.sha256(repr(batch[3:5]).encode())
        for part in (*batch[:3], *(() if batch.colours is None else (batch.colours,))):
            total.update(part.numpy().tobytes())
        return total.hexdigest()

    return lambda batches: [digest(batch) for batch in batches]


@pytest.fixture(scope="session")
def upright() -> Callable[[PhotoFolder, int], Image.Image]:
    """A picture as Pillow alone reads it."""

    def read(pictures: PhotoFolder, number: int) -> Image.Image:
        with Image.open(io.BytesIO(pictures.store.read(number))) as image:
            return ImageOps.exif_transpose(image).convert("RGB")

    return read


@pytest.fixture(scope="session")
def random_crop(
    exact: Photographs, upright: Callable[[PhotoFolder, int], Image.Image]
) -> Callable[[PhotoFolder, int, int], torch.Tensor]:
    """A training crop by Pillow, from the draws that `chance.words` and `chance.below` give."""

    def crop(pictures: PhotoFolder, epoch: int, number: int) -> torch.Tensor:
        def draw(bound: int, stream: int) -> int:
            return int(chance.below(bound, chance.words(SEED, stream, epoch, np.array([number])))[0])

        image = upright(pictures, number)
        low, high = exact.scale
        width, height = resized_to(image.size, low + draw(high - low + 1, chance.SCALE))
        left, top = draw(width - SIDE + 1, chance.COLUMN), draw(height - SIDE + 1, chance.ROW)
        cut = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + SIDE, top + SIDE))
        mirrored = draw(2, chance.MIRROR) == 1
        return torch.from_numpy(np.array(ImageOps.mirror(cut) if mirrored else cut))

    return crop
