"""Small pictures that lie whole on the device, and become batches there."""

from collections.abc import Iterator
from typing import Final, Literal, get_args

import torch

from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import Recipe
from reslab.data.draws import Drawer, Draws, training_draws
from reslab.data.pictures import Pictures
from reslab.training.step import Batch
from reslab.transforms.cifar import CifarForm

Engine = Literal["eager", "graph"]
ENGINES: Final = ("auto", *get_args(Engine))


class Resident:
    """The pictures' uint8 pixels and their labels on ``device``; called with draws, it makes them a batch."""

    def __init__(self, pictures: Pictures, form: CifarForm, device: torch.device) -> None:
        self.pixels, self.labels = pictures.pixels.to(device), pictures.labels.to(device)
        self.form = form.to(device)

    def __call__(self, draws: Draws) -> Batch:
        """The batch that ``draws`` says: pixels less the mean, padded, cropped, mirrored."""
        taken = self.pixels.index_select(0, draws.indices)
        images = self.form.train(taken, draws.corners, draws.mirrored)
        return Batch(images, self.labels.index_select(0, draws.indices), draws.indices)

    def draws(self, recipe: Recipe, seed: int, consumed: int, part: range | None = None) -> Iterator[Draws]:
        """Those of the batches after ``consumed`` samples, or of a part of each."""
        draw = Drawer(len(self.labels), seed, recipe.augment)
        device = self.labels.device
        return training_draws(draw, batch=recipe.batch, steps=recipe.steps, consumed=consumed, part=part, device=device)


def choose_engine(asked: str, device: torch.device, *, resident: bool, alone: bool = True) -> Engine:
    """How updates are made: ``auto`` records them as a CUDA graph where pictures lie on the device.

    Small updates are little more than their launches, which a graph saves; for others it must be asked for.

    Args:
        asked: ``auto``, ``eager`` or ``graph``.
        device: that of the training.
        resident: whether the pictures lie on the device.
        alone: whether one process trains.

    Raises:
        SpecError: there is no such engine, or it cannot be had here.
    """
    possible = device.type == "cuda" and alone
    if asked not in ENGINES:
        raise SpecError(unknown("engine", asked, ENGINES))
    if asked == "graph" and not possible:
        raise SpecError("--engine graph is for one process on a CUDA device; take --engine eager")
    return "graph" if possible and (asked == "graph" or (asked == "auto" and resident)) else "eager"
