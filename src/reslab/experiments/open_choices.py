"""What the paper leaves open and a setting decides: for each choice a line of the ledger of deviations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reslab.core.contract import Resample
from reslab.core.experiment import Experiment


@dataclass(frozen=True)
class Deviation:
    """One difference.

    Args:
        topic: what it is about.
        paper: what the paper says, or that it does not say.
        ours: what is done here, and why.
        applies: whether an experiment is touched by it.
    """

    topic: str
    paper: str
    ours: str
    applies: Callable[[Experiment], bool]


def _resample(experiment: Experiment) -> Resample | None:
    settings = experiment.recipe.photographs
    return None if settings is None else settings.contract.resample


SHRUNK: Final = "training may decode a JPEG at a half, quarter or eighth first (--decode exact: never)"
INTERPOLATION: Final[tuple[Deviation, ...]] = (
    Deviation(
        "interpolation",
        "not said",
        f"bilinear, antialiased (--resample bicubic: the filter of fb.resnet.torch); {SHRUNK}",
        lambda experiment: _resample(experiment) == "bilinear",
    ),
    Deviation(
        "bicubic interpolation",
        "not said",
        f"bicubic, the filter of fb.resnet.torch, antialiased; {SHRUNK}",
        lambda experiment: _resample(experiment) == "bicubic",
    ),
)

FORM: Final = "as in He et al. 2015; which of its two forms is not said"
INITIAL_WEIGHTS: Final[tuple[Deviation, ...]] = (
    Deviation(
        "initial weights",
        FORM,
        "normal with std sqrt(2 / fan_out), as fb.resnet.torch (recipe.init.fan: or fan_in)",
        lambda experiment: experiment.recipe.init.fan == "fan_out",
    ),
    Deviation(
        "initial weights by fan_in",
        FORM,
        "normal with std sqrt(2 / fan_in), as Caffe's filler unless told otherwise",
        lambda experiment: experiment.recipe.init.fan == "fan_in",
    ),
    Deviation(
        "classifier's initial weights",
        "not said",
        "uniform within 1 / sqrt(inputs), as fb.resnet.torch (recipe.init.classifier: or he); biases 0",
        lambda experiment: experiment.recipe.init.classifier == "uniform",
    ),
    Deviation(
        "classifier's initial weights by He et al. 2015",
        "not said",
        "normal with std sqrt(2 / inputs), as Caffe's filler would draw them; biases 0",
        lambda experiment: experiment.recipe.init.classifier == "he",
    ),
)
