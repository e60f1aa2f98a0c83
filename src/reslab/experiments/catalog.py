"""The experiments that ``reslab reproduce`` knows, as frozen values; without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import LOOKS, DataName, Experiment, ModelSpec, Recipe
from reslab.experiments.names import INPUT_SIZES, describe
from reslab.experiments.recipes import WARMED_UP, cifar_paper, cifar_paper_warm_up, short

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
        recipe: how, but for the warm-up of those networks that need it.
        width: filters of the first stage; None: the paper's.
        cost: what to expect, with the machine it was measured on.
        home: the experiment whose folder holds its runs.
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
    home: str

    def experiments(
        self, seeds: Sequence[int], only: Sequence[str] = (), changes: Mapping[str, Any] | None = None
    ) -> list[Experiment]:
        """One experiment a network and seed, seeds outermost.

        Args:
            seeds: of the runs.
            only: networks; none: all.
            changes: to every recipe.

        Raises:
            SpecError: ``only`` names a network that is not part of it, a seed is none, or a recipe cannot be so.
        """
        for name in only:
            if name not in self.models:
                raise SpecError(unknown(f"network of {self.name}", name, self.models))
        return [
            Experiment.parse(
                {
                    "model": ModelSpec(name=model, width=self.width),
                    "data": self.data,
                    "recipe": self.how(model),
                    "seed": seed,
                },
                self.name,
            ).but({"recipe": dict(changes or {})})
            for seed in seeds
            for model in self.models
            if not only or model in only
        ]

    def how(self, model: str) -> Recipe:
        """The recipe of ``model``: ResNet-110 and ResNet-1202 warm up where the paper's schedule is followed."""
        return cifar_paper_warm_up() if self.recipe == cifar_paper() and model in WARMED_UP else self.recipe


DEGRADATION = "Deeper plain networks train worse; shortcuts cure it"
TABLE6: Final = Reproduction(
    name="table6",
    shows="Table 6, Figure 6 and Figure 7: how error and responses change with depth, 20 to 1202 layers",
    source="section 4.2",
    data="cifar10",
    input_size=INPUT_SIZES["cifar"],
    models=(
        *(f"cifar-{kind}{depth}" for kind in ("resnet", "plain") for depth in (20, 32, 44, 56, 110)),
        "cifar-resnet1202",  # last: it costs more than all the others together
    ),
    recipe=cifar_paper(),
    width=None,
    cost="11 networks of 64,000 steps: made for a GPU; ResNet-20 takes 2 to 3 hours on 2 cores, 4 to 8 without bf16",
    home="table6",
)
FIGURE7: Final = ("cifar-plain20", "cifar-plain56", "cifar-resnet20", "cifar-resnet56", "cifar-resnet110")
REPRODUCTIONS: Final[dict[str, dict[Scale, Reproduction]]] = {
    "degradation": {
        "embedded": Reproduction(
            name="degradation",
            shows=DEGRADATION,
            source="Figures 1 and 6, in miniature",
            data="embedded",
            input_size=28,  # Fashion-MNIST's pictures
            models=("cifar-plain20", "cifar-plain56", "cifar-resnet20", "cifar-resnet56"),
            recipe=short(),
            width=8,  # ours: half the paper's, so that all four train in under 5 minutes on 2 cores
            cost="minutes on 2 CPU cores",
            home="degradation",
        ),
        "cifar": Reproduction(
            name="degradation",
            shows=DEGRADATION,
            source="Figures 1 and 6",
            data="cifar10",
            input_size=INPUT_SIZES["cifar"],
            models=tuple(f"cifar-{kind}{depth}" for kind in ("plain", "resnet") for depth in (20, 32, 44, 56)),
            recipe=cifar_paper(),
            width=None,
            cost="8 networks of 64,000 steps: made for a GPU",
            home="degradation",
        ),
    },
    "table6": {"cifar": TABLE6},
    "figure6": {"cifar": replace(TABLE6, name="figure6")},
    "figure7": {"cifar": replace(TABLE6, name="figure7", models=FIGURE7)},
}


def as_published(experiment: Experiment) -> bool:
    """Whether a run follows section 4.2 to the letter, whatever its seed, precision and how often it was looked at."""
    model, usual = experiment.model.name, TABLE6.recipe.model_dump(mode="json")
    how = experiment.recipe.but({key: usual[key] for key in ("precision", *LOOKS)})
    return (
        experiment.data == TABLE6.data
        and model in TABLE6.models
        and describe(experiment.model) == model
        and experiment.start is None
        and how == TABLE6.how(model)
    )


def find_reproduction(name: str, scale: str | None) -> Reproduction:
    """The experiment ``name`` at ``scale``; None: at its smallest.

    Raises:
        SpecError: there is none; the line names those there are.
    """
    if name not in REPRODUCTIONS:
        raise SpecError(unknown("experiment", name, REPRODUCTIONS))
    for key, found in REPRODUCTIONS[name].items():
        if scale is None or scale == key:
            return found
    assert scale is not None
    raise SpecError(unknown(f"scale of {name}", scale, REPRODUCTIONS[name]))
