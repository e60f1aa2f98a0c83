"""The pictures that are trained on while speed is measured."""

import torch

from reslab.core.errors import SpecError
from reslab.core.experiment import Recipe
from reslab.core.text import printable
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset, Reading, find_data
from reslab.experiments.bench.asked import Asked
from reslab.experiments.names import CLASSES, INPUT_SIZES, parse_name


def pictures_for(asked: Asked, recipe: Recipe | None = None) -> Dataset:
    """The training pictures at ``asked.data``, or random ones of the size that the network was made for.

    Args:
        asked: network, data and batch.
        recipe: says how many photographs are held out; None: as many as usual.

    Raises:
        SpecError: there is no such network, or it is for small pictures and these are photographs.
        DataError: there are no pictures.
    """
    family = parse_name(asked.model).family
    if asked.data is None:
        return random_pictures(2 * asked.batch, INPUT_SIZES[family], CLASSES[family])
    settings = None if recipe is None else recipe.photographs
    pictures = find_data(asked.data).read("train", Reading(settings.held_out) if settings else Reading())
    if family == "cifar" and isinstance(pictures, PhotoFolder):
        raise SpecError(
            f"{asked.model} is for small pictures and {printable(asked.data)} holds photographs;"
            " take resnet18 or another network of Table 1"
        )
    return pictures


def random_pictures(count: int, side: int, classes: int, channels: int = 3) -> Pictures:
    """Pictures of ``side`` pixels squared; what is on them does not change the speed."""
    source = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=source)
    labels = torch.randint(classes, (count,), generator=source)
    return Pictures("random pictures", "train", pixels, labels, tuple(map(str, range(classes))))


def noise(batch: int, side: int, device: torch.device) -> torch.Tensor:
    """What a network takes, of ``side`` pixels squared: float32 (B, 3, side, side)."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
