"""Named recipes, without torch. A recipe says what it is for and what it costs."""

from dataclasses import dataclass
from typing import Final

from reslab.core.colour import Colour
from reslab.core.errors import SpecError, unknown
from reslab.core.experiment import DataName, Optimizer, Photographs, Recipe, Schedule

PAPER_CIFAR: Final = Recipe()
PAPER_CIFAR_WARM_UP: Final = PAPER_CIFAR.but({"schedule": {"warm_up": {}}})  # section 4.2, ResNet-110

SHORT: Final = PAPER_CIFAR.but(
    {
        "steps": 200,  # ours: four half-width networks in under 5 minutes on 2 cores, README "The demo"
        "bn_group": 128,  # ours: one group a step; two of 64 cost time, and the paper's were two GPUs
        "log_every": 10,
        "evaluate_every": 50,
    }
)


PAPER_IMAGENET: Final = Recipe(
    steps=600_000,  # section 3.4
    batch=256,  # section 3.4
    bn_group=32,  # the authors' release: 8 GPUs of 32 pictures
    schedule=Schedule(drops=(0.25, 0.5)),  # Figure 4: at 15e4 and 30e4
    photographs=Photographs(colour=Colour()),  # section 3.4
    evaluate_every=5_000,  # the spacing of Figure 4's points
)
OWN_PHOTOGRAPHS: Final = PAPER_IMAGENET.but(
    {
        "steps": 5_000,  # ours: 160,000 pictures, hours on 2 cores
        "batch": 32,
        "schedule": {"drops": (0.5, 0.75)},  # section 4.2
        "photographs": {"colour": None},  # ours: the published colours are ImageNet's, not those of one's own folder
        "optim": {"lr": 0.0125},  # 0.1 for 256, so an eighth for 32
        "log_every": 10,
        "evaluate_every": 500,
    }
)
FINE_TUNE: Final = OWN_PHOTOGRAPHS.but(
    {"steps": 500, "optim": {"lr": 0.01}, "evaluate_every": 100}  # ours: a classifier on given features learns soon
)


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with its purpose."""

    recipe: Recipe
    purpose: str


RECIPES: Final[dict[str, NamedRecipe]] = {
    "paper-cifar": NamedRecipe(
        PAPER_CIFAR, "section 4.2: 64,000 steps of 128, rate 0.1 divided by 10 at 32k and 48k, BN groups of 64"
    ),
    "paper-cifar-warm-up": NamedRecipe(
        PAPER_CIFAR_WARM_UP,
        "the same for ResNet-110 and ResNet-1202: rate 0.01 until the training error is below 80 %",
    ),
    "paper-imagenet": NamedRecipe(
        PAPER_IMAGENET,
        "section 3.4: 600,000 steps of 256, rate 0.1 divided by 10 at 150k and 300k, BN groups of 32, changed colours",
    ),
    "photographs": NamedRecipe(OWN_PHOTOGRAPHS, "a folder of one's own from scratch: 5,000 steps of 32, rate 0.0125"),
    "fine-tune": NamedRecipe(FINE_TUNE, "a folder of one's own from trained weights: 500 steps of 32, rate 0.01"),
    "short": NamedRecipe(SHORT, "section 4.2 in 200 steps, for a demonstration on 2 cores"),
}
DEFAULT_RECIPES: Final[dict[DataName, str]] = {
    "embedded": "short",
    "cifar10": "paper-cifar",
    "cifar100": "paper-cifar",
    "folder": "photographs",
}
WARMED_UP: Final = ("cifar-resnet110", "cifar-resnet1202")  # section 4.2: 110 warms up, 1202 "as described above"


def usual_recipe(data: DataName, model: str | None) -> str:
    """The name of the recipe that is taken for ``model`` on ``data`` where none is named."""
    usual = DEFAULT_RECIPES[data]
    return "paper-cifar-warm-up" if usual == "paper-cifar" and model in WARMED_UP else usual


def named_recipe(name: str) -> Recipe:
    """The recipe called ``name``.

    Raises:
        SpecError: there is none; the line names those there are.
    """
    if name not in RECIPES:
        raise SpecError(unknown("recipe", name, RECIPES))
    return RECIPES[name].recipe


def with_optimizer(recipe: Recipe, optim: Optimizer) -> Recipe:
    """``recipe`` with those settings of ``optim`` that were given, not its defaults."""
    return recipe.but({"optim": optim.model_dump(mode="json", exclude_unset=True)})
