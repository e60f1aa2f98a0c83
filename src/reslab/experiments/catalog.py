"""The experiments that ``reslab reproduce`` knows, as frozen values; without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import DataName, Experiment, ModelSpec, Recipe
from reslab.experiments.names import INPUT_SIZES
from reslab.experiments.recipes import PAPER_CIFAR, SHORT

Scale = Literal["embedded", "cifar"]


@dataclass(frozen=True)
class Reproduction:
    """One experiment of the paper at one scale.

    Args:
        name: the command line's name.
        shows: what it is about, in a sentence.
        source: the place in the paper.
        data: the pictures it needs.
        input_size: their pixels a side.
        models: the networks it trains.
        recipe: how.
        width: filters of the first stage; None: the paper's.
        cost: what to expect, with the machine it was measured on.
    """

    name: str
    shows: str
    source: str
    data: DataName
    input_size: int
    models: tuple[str, ...]
    recipe: Recipe
    width: int | None
    cost: str

    def experiments(self, seeds: Sequence[int], only: Sequence[str] = ()) -> list[Experiment]:
        """One experiment a network and seed, seeds outermost.

        Raises:
            SpecError: ``only`` names a network that is not part of it.
        """
        for name in only:
            if name not in self.models:
                raise SpecError(unknown(f"network of {self.name}", name, self.models))
        return [
            Experiment(model=ModelSpec(name=model, width=self.width), data=self.data, recipe=self.recipe, seed=seed)
            for seed in seeds
            for model in self.models
            if not only or model in only
        ]


DEGRADATION = "Deeper plain networks train worse; shortcuts cure it"
REPRODUCTIONS: Final[dict[str, dict[Scale, Reproduction]]] = {
    "degradation": {
        "embedded": Reproduction(
            name="degradation",
            shows=DEGRADATION,
            source="Figures 1 and 6, in miniature",
            data="embedded",
            input_size=28,  # Fashion-MNIST's pictures
            models=("cifar-plain20", "cifar-plain56", "cifar-resnet20", "cifar-resnet56"),
            recipe=SHORT,
            width=8,  # ours: half the paper's, so that all four train in under 5 minutes on 2 cores
            cost="minutes on 2 CPU cores",
        ),
        "cifar": Reproduction(
            name="degradation",
            shows=DEGRADATION,
            source="Figures 1 and 6",
            data="cifar10",
            input_size=INPUT_SIZES["cifar"],
            models=tuple(f"cifar-{kind}{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56)),
            recipe=PAPER_CIFAR,
            width=None,
            cost="8 networks of 64,000 steps: made for a GPU",
        ),
    }
}


def find_reproduction(name: str, scale: str) -> Reproduction:
    """The experiment ``name`` at ``scale``.

    Raises:
        SpecError: there is none; the line names those there are.
    """
    if name not in REPRODUCTIONS:
        raise SpecError(unknown("experiment", name, REPRODUCTIONS))
    for key, found in REPRODUCTIONS[name].items():
        if key == scale:
            return found
    raise SpecError(unknown(f"scale of {name}", scale, REPRODUCTIONS[name]))
