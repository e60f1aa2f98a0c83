"""From pictures to batches as a network takes them: photographs by their contract; small pictures beside this file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from reslab.core.contract import Contract
from reslab.core.errors import DataError
from reslab.core.experiment import Photographs, Recipe
from reslab.core.protocol import CENTRE, Native, Protocol
from reslab.core.units import counted
from reslab.data.ahead import Parts, ahead
from reslab.data.loader import CropBatch, training_crops
from reslab.data.photographs import Incident, PhotoFolder, central
from reslab.data.picture_file import Header
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset
from reslab.data.views import photo_views
from reslab.evaluation.views import View
from reslab.experiments.feed import Feed, Inputs, with_mirror
from reslab.experiments.small_inputs import SmallInputs, stored_form
from reslab.training.step import Batch
from reslab.transforms.cifar import CifarForm, per_pixel_mean
from reslab.transforms.colour import coloured
from reslab.transforms.mean_image import MeanImage
from reslab.transforms.photographs import PhotoForm, Pixels

PHOTO_TEST_BATCHES = {"cpu": 16}  # crops; ours: on a processor 64 are no faster, and ResNet-50 takes 3.3 GB, not 2.1
PHOTO_TEST_BATCH = 64  # elsewhere


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
        """Pixels a side of the crop in testing."""
        return self.settings.contract.crop

    @property
    def sides(self) -> tuple[int, int]:
        """See `Photographs.sides`."""
        return self.settings.sides

    def training(self, pictures: Dataset, recipe: Recipe, seed: int, consumed: int, feed: Feed) -> Iterator[Batch]:
        """Random crops, mirrored half the time, of changed colours where asked (section 3.4)."""
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
        for pixels, labels, indices, *gained in ahead(_heard(stream, feed), feed.device):
            crops = coloured(pixels, *gained) if gained else pixels
            yield Batch(here.input(crops), labels, indices)

    def views(self, pictures: Dataset, protocol: Protocol, which: range, feed: Feed) -> Iterator[View]:
        """Crops, or whole pictures.

        Raises:
            PictureError: a picture cannot be used.
        """
        photos, hands, here = _photographs(pictures), min(feed.workers, len(which)), self.on(feed.device)
        crops = PHOTO_TEST_BATCHES.get(feed.device.type, PHOTO_TEST_BATCH)
        how = self.settings.contract.resample
        for batch in photo_views(photos, protocol, which, batch=crops, resample=how, workers=hands, warn=feed.warn):
            _say_enlarged(batch.enlarged, feed)
            yield from with_mirror(here.input(batch.pixels.to(feed.device)), batch, protocol)

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
        resampling = self.settings.contract.resampling
        return {"form": "photographs", "resample": resampling, "exif": "applied", **settings}

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
        return SmallInputs(stored_form(contract, tensors))
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
        raise DataError(f"the mean image has {counted(image.side, 'pixel')} a side, and crops have {contract.crop}")


def _heard(stream: Iterable[CropBatch], feed: Feed) -> Iterator[Parts]:
    """Pixels, labels and indices of each batch, and its colours if it has any; what befell its pictures is said."""
    for batch in stream:
        for incident in batch.replaced:
            feed.replaced(incident)
        _say_enlarged(batch.enlarged, feed)
        yield batch.pixels, batch.labels, batch.indices, *(() if batch.colours is None else (batch.colours,))


def _say_enlarged(enlarged: tuple[Incident, ...], feed: Feed) -> None:
    for incident in enlarged:
        feed.enlarged(incident)


def _photographs(pictures: Dataset) -> PhotoFolder:
    if not isinstance(pictures, PhotoFolder):
        raise DataError(f"{pictures.name} has small pictures; the network was trained on a folder of photographs")
    return pictures
