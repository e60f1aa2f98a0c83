"""From pictures to batches as a network takes them: small pictures in memory, photographs in folders."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reslab.core.contract import Contract
from reslab.core.errors import DataError, PictureError
from reslab.core.experiment import Photographs, Recipe
from reslab.core.protocol import CENTRE, SHORTER_SIDE, SINGLE, Native, Protocol, scaled
from reslab.core.units import counted
from reslab.data.decode import decode
from reslab.data.loader import training_batches, training_crops
from reslab.data.photographs import Incident, PhotoFolder, central
from reslab.data.picture_file import Header
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset
from reslab.data.views import ViewBatch, photo_views, small_views
from reslab.evaluation.views import View
from reslab.experiments.feed import Feed, Inputs
from reslab.experiments.resident import Resident
from reslab.training.step import Batch
from reslab.transforms.cifar import CifarForm, per_pixel_mean
from reslab.transforms.colour import coloured
from reslab.transforms.mean_image import MeanImage
from reslab.transforms.photographs import PhotoForm, Pixels

SMALL_TEST_BATCH = 500  # pictures; any number gives the same counts
PHOTO_TEST_BATCHES = {"cpu": 16}  # crops; ours: on a processor 64 are no faster, and ResNet-50 takes 3.3 GB, not 2.1
PHOTO_TEST_BATCH = 64  # elsewhere


@dataclass(frozen=True, eq=False)
class SmallInputs:
    """The CIFAR form of section 4.2, on pictures in memory."""

    form: CifarForm

    @property
    def native(self) -> Native:
        """The picture's own side; a crop of it is cut at the shorter side that 256 is for a crop of 224."""
        return Native(scaled(SHORTER_SIDE, self.side), self.side, SINGLE)

    @property
    def side(self) -> int:
        """Pixels a side."""
        return self.form.mean.shape[-1]

    def training(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        """Shifted and mirrored pictures; without workers they are made on the device, where they lie."""
        if not feed.workers:
            resident = self.resident(pictures, feed.device)
            return map(resident, resident.draws(recipe, seed, consumed, feed.part))
        return self._read_ahead(pictures, recipe, seed, consumed, feed)

    def resident(self, pictures: Dataset, device: torch.device) -> Resident:
        """All pictures on ``device``."""
        return Resident(self._fitting(pictures), self.form, device)

    def _read_ahead(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        form = self.form.to(feed.device)
        stream = training_batches(
            self._fitting(pictures),
            batch=recipe.batch,
            steps=recipe.steps,
            seed=seed,
            augment=recipe.augment,
            consumed=consumed,
            part=feed.part,
            workers=feed.workers,
            warn=feed.warn,
        )
        for batch in stream:
            pixels, labels, indices, corners, mirrored = (part.to(feed.device, non_blocking=True) for part in batch)
            yield Batch(form.train(pixels, corners, mirrored), labels, indices)

    def views(self, pictures: Dataset, protocol: Protocol, which: range, feed: Feed) -> Iterator[View]:
        """Views of small pictures.

        Raises:
            DataError: the pictures are not of the shape that the network was trained on.
        """
        form = self.form.to(feed.device)
        for batch in small_views(self._fitting(pictures), protocol, which, SMALL_TEST_BATCH):
            pixels = batch.pixels.to(feed.device).permute(0, 3, 1, 2)
            yield from _with_mirror(form.test(pixels), batch, protocol)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of the pictures that were trained on."""
        channels, height, width = self.form.mean.shape
        return height, width, channels

    def view(self, data: bytes, header: Header) -> Pixels:
        """The picture as it is, in grey where the network was trained on grey pictures.

        Raises:
            PictureError: it cannot be used, or has another size.
        """
        height, width, channels = self.shape
        if header.upright != (width, height):
            found = "x".join(str(side) for side in header.upright)
            raise PictureError(f"has {found} pixels; this network takes {width}x{height}")
        pixels = decode(data, header)
        return pixels if channels == 3 else np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]

    def input(self, pixels: Tensor) -> Tensor:
        """The CIFAR form."""
        return self.form.to(pixels.device).test(pixels.permute(0, 3, 1, 2))

    def contract(self) -> dict[str, Any]:
        """See `CifarForm.contract`."""
        return self.form.contract()

    def tensors(self) -> dict[str, Tensor]:
        """The mean picture."""
        return {"mean": self.form.mean}

    def _fitting(self, pictures: Dataset) -> Pictures:
        known = tuple(self.form.mean.shape)
        if not isinstance(pictures, Pictures):
            raise DataError(f"{pictures.name} has photographs; the network was trained on {_size(known)}")
        shape = tuple(pictures.pixels.shape[1:])
        if shape != known:
            raise DataError(
                f"{pictures.name} has pictures of {_size(shape)}; the network was trained on {_size(known)}"
            )
        return pictures


@dataclass(frozen=True)
class PhotoInputs:
    """Crops of photographs, by a preprocessing contract; ``image`` is the mean image that it names, if any."""

    settings: Photographs
    image: MeanImage | None = None

    @property
    def native(self) -> Native:
        """The contract's sizes."""
        return Native(self.settings.contract.shorter_side, self.side, CENTRE)

    @property
    def form(self) -> PhotoForm:
        """From crops to numbers."""
        return PhotoForm(self.settings.contract, self.image)

    @property
    def side(self) -> int:
        """Pixels a side of the crop."""
        return self.settings.contract.crop

    def training(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        """Random crops at random scales, mirrored half the time, of changed colours where asked (section 3.4)."""
        here = self.on(feed.device)
        stream = training_crops(
            _photographs(pictures),
            batch=recipe.batch,
            steps=recipe.steps,
            seed=seed,
            settings=self.settings,
            consumed=consumed,
            part=feed.part,
            workers=feed.workers,
            warn=feed.warn,
        )
        for batch in stream:
            for incident in batch.replaced:
                feed.replaced(incident)
            _say_enlarged(batch.enlarged, feed)
            pixels, labels, indices = (part.to(feed.device, non_blocking=True) for part in batch[:3])
            if batch.colours is not None:
                pixels = coloured(pixels, batch.colours.to(feed.device, non_blocking=True))
            yield Batch(here.input(pixels), labels, indices)

    def views(self, pictures: Dataset, protocol: Protocol, which: range, feed: Feed) -> Iterator[View]:
        """Crops, or whole pictures.

        Raises:
            PictureError: a picture cannot be used.
        """
        photos, hands, here = _photographs(pictures), min(feed.workers, len(which)), self.on(feed.device)
        crops = PHOTO_TEST_BATCHES.get(feed.device.type, PHOTO_TEST_BATCH)
        for batch in photo_views(photos, protocol, which, batch=crops, workers=hands, warn=feed.warn):
            _say_enlarged(batch.enlarged, feed)
            yield from _with_mirror(here.input(batch.pixels.to(feed.device)), batch, protocol)

    @property
    def shape(self) -> tuple[int, ...]:
        """A crop in colour."""
        return self.side, self.side, 3

    def view(self, data: bytes, header: Header) -> Pixels:
        """The central crop.

        Raises:
            PictureError: the picture cannot be used.
        """
        return central(data, header, self.settings.contract)

    def input(self, pixels: Tensor) -> Tensor:
        """See `PhotoForm.input`."""
        return self.form.input(pixels)

    def contract(self) -> dict[str, Any]:
        """The contract, and how the crops of training were made."""
        settings = self.settings.model_dump(mode="json")
        return {"form": "photographs", "resample": "bilinear, antialiased", "exif": "applied", **settings}

    def tensors(self) -> dict[str, Tensor]:
        """The mean image, where there is one."""
        return {} if self.image is None else {"mean": self.image.pixels}

    def on(self, device: torch.device) -> "PhotoInputs":
        """The same with its mean image on ``device``."""
        return self if self.image is None else replace(self, image=MeanImage(self.image.pixels.to(device)))


def inputs_for(pictures: Dataset, recipe: Recipe, image: MeanImage | None = None) -> Inputs:
    """The form that training on ``pictures`` takes.

    Args:
        pictures: those to train on.
        recipe: says how photographs are prepared.
        image: the mean image that it says, if it says one.

    Raises:
        DataError: ``image`` is not the one that it says.
    """
    if isinstance(pictures, Pictures):
        return SmallInputs(CifarForm(per_pixel_mean(pictures.pixels), recipe.augment.pad))
    settings = recipe.photographs or Photographs()
    _require_image(settings.contract, image)
    return PhotoInputs(settings, image)


def stored_inputs(contract: dict[str, Any], tensors: dict[str, Tensor]) -> Inputs:
    """The form that a checkpoint describes.

    Raises:
        DataError: it describes none.
    """
    if contract.get("form") == "cifar":
        return SmallInputs(_stored_form(contract, tensors))
    if contract.get("form") != "photographs" or "contract" not in contract:
        raise DataError(f"the form of its pictures is {contract.get('form')!r}, which is none")
    settings = {key: value for key, value in contract.items() if key in Photographs.model_fields}
    known = Photographs.parse(settings, "the checkpoint's preprocessing contract")
    image = MeanImage(tensors["mean"]) if "mean" in tensors else None
    _require_image(known.contract, image)
    return PhotoInputs(known, image)


def _require_image(contract: Contract, image: MeanImage | None) -> None:
    """That the contract's mean image is there, and no other."""
    if contract.mean_image is not None and image is None:
        raise DataError(f"the mean image with sha256 {contract.mean_image} is to be subtracted, and is not given")
    if image is not None and image.digest != contract.mean_image:
        raise DataError(f"the mean image has sha256 {image.digest}, and {contract.mean_image} is to be subtracted")
    if image is not None and image.side != contract.crop:
        raise DataError(f"the mean image has {image.side} pixels a side, and crops have {contract.crop}")


def _stored_form(contract: dict[str, Any], tensors: dict[str, Tensor]) -> CifarForm:
    mean, std, pad = tensors.get("mean"), contract.get("divide"), contract.get("train", {}).get("pad")
    if mean is None or mean.dim() != 3 or mean.shape[0] not in (1, 3) or mean.dtype != torch.float32:
        raise DataError("the mean of its pictures is missing, or is no picture")
    divides = std is None or (isinstance(std, list) and len(std) == len(mean) and all(value > 0 for value in std))
    if not divides or not isinstance(pad, int) or pad < 0 or not mean.numel():
        raise DataError(f"its pictures are divided by {std!r} and padded by {pad!r}, which cannot be")
    return CifarForm(mean, pad, None if std is None else tuple(std))


def _with_mirror(images: Tensor, batch: ViewBatch, protocol: Protocol) -> Iterator[View]:
    yield View(images, batch.indices, batch.group)
    if protocol.mirror:
        yield View(images.flip(-1), batch.indices, batch.group)


def _say_enlarged(enlarged: tuple[Incident, ...], feed: Feed) -> None:
    for incident in enlarged:
        feed.enlarged(incident)


def _photographs(pictures: Dataset) -> PhotoFolder:
    if not isinstance(pictures, PhotoFolder):
        raise DataError(f"{pictures.name} has small pictures; the network was trained on a folder of photographs")
    return pictures


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]} pixels in {counted(shape[0], 'channel')}"
