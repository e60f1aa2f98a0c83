"""The recipe by which training is measured: a named one's settings as far as they decide its speed."""

from typing import Final

from reslab.core.errors import SpecError
from reslab.core.experiment import FOR_PHOTOGRAPHS, FOR_SMALL, Photographs, Recipe
from reslab.core.text import printable
from reslab.data.photographs import PhotoFolder
from reslab.data.source import Dataset
from reslab.experiments.bench.asked import Asked, group_for
from reslab.experiments.bench.steps import RATE
from reslab.training.precision import Resolved

ENDLESS: Final = 10**9  # steps


def recipe_for(asked: Asked, pictures: Dataset, precision: Resolved) -> Recipe:
    """Endless training on ``pictures`` as the named recipe reads, groups, augments and updates; else as usual.

    Raises:
        SpecError: there is no such recipe or network, the recipe is for other pictures, or its groups do not divide
            the batch.
    """
    photographs = isinstance(pictures, PhotoFolder)
    named = asked.named or Recipe(photographs=Photographs() if photographs else None)
    if photographs and named.photographs is None:
        raise SpecError(FOR_SMALL)
    if not photographs and named.photographs is not None:
        found = "random pictures: --data FOLDER" if asked.data is None else printable(asked.data)
        raise SpecError(f"{FOR_PHOTOGRAPHS} {found}")
    group = group_for(asked, asked.batch)
    if asked.named is not None and asked.bn_group is None:
        group = min(named.bn_group, asked.batch)
    if asked.batch % group:
        raise SpecError(f"this recipe's groups of {group} do not divide --batch {asked.batch}: give --bn-group")
    return Recipe(
        steps=ENDLESS,
        batch=asked.batch,
        bn_group=group,
        optim=named.optim.but({"lr": RATE}),
        label_smoothing=named.label_smoothing,
        augment=named.augment,
        photographs=named.photographs,
        precision=precision,
    )
