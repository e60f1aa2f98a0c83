"""Training's rivals, as anybody would write them with torch: a bare step, and torch's loader before it."""

from contextlib import closing
from functools import partial
from typing import Final

import torch

from reslab.core.experiment import ModelSpec, Photographs, Recipe
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset
from reslab.data.store import FolderStore
from reslab.experiments.bench.asked import Asked
from reslab.experiments.bench.pictures import noise, pictures_for
from reslab.experiments.bench.reference import PhotoSamples
from reslab.experiments.bench.samples import SEED, Samples, SmallSamples, standard_batches, train_on
from reslab.experiments.bench.steps import Update, bare_training, bare_update
from reslab.experiments.bench.timing import Turn, least_for, once, steady, waiting_for
from reslab.experiments.environment import find_device
from reslab.experiments.networks import build

WORKERS: Final = 2  # of its loader, where none are asked for


def standard_workers(asked: Asked) -> int:
    """Processes of the rival's loader."""
    return WORKERS if asked.workers is None else asked.workers


def rival_sides(asked: Asked, recipe: Recipe, side: int) -> dict[str, Turn]:
    """``eager``, the bare step on a batch that lies ready, and its loop with a loader where there can be one.

    The loop is ``standard`` on small pictures and ``reference`` on photographs in files of their own.

    Args:
        asked: network, batch, pictures, workers and device.
        recipe: by which both sides train.
        side: pixels of the pictures that the network takes.

    Raises:
        ReslabError: as `pictures_for` does.
    """
    device, pictures = find_device(asked.device), pictures_for(asked, recipe)
    update = bare_update(build(ModelSpec(name=asked.model), len(pictures.classes)).to(device), recipe.optim)
    labels = torch.randint(len(pictures.classes), (asked.batch,), generator=torch.Generator().manual_seed(SEED))
    ready = bare_training(update, noise(asked.batch, side, device), labels.to(device))
    loops = _samples(pictures, recipe.photographs)
    return {
        "eager": once(ready, waiting_for(device)),
        **{name: partial(_loop, asked, samples, device, update) for name, samples in loops.items()},
    }


def _samples(pictures: Dataset, settings: Photographs | None) -> dict[str, Samples]:
    if isinstance(pictures, Pictures):
        return {"standard": SmallSamples(pictures)}
    assert settings is not None
    return {"reference": PhotoSamples(pictures, settings)} if isinstance(pictures.store, FolderStore) else {}


def _loop(asked: Asked, samples: Samples, device: torch.device, update: Update) -> float:
    workers = standard_workers(asked)
    with closing(standard_batches(samples, asked.batch, workers, device)) as stream:
        return steady(stream, workers, partial(train_on, update=update), waiting_for(device), least_for(device))
