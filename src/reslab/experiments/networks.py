"""From a network's name to the network."""

import numpy as np
import torch

from reslab.core.experiment import Init, ModelSpec
from reslab.data import chance
from reslab.experiments.names import architecture_of
from reslab.models.init import USUAL
from reslab.models.network import ResNet
from reslab.models.resnet import blueprint as blueprint_of
from reslab.models.resnet import build as build_network


def build(
    spec: ModelSpec, classes: int | None = None, generator: torch.Generator | None = None, init: Init = USUAL
) -> ResNet:
    """The network that ``spec`` names, initialised.

    Args:
        spec: name and choices.
        classes: outputs; None: the paper's 1,000 or 10.
        generator: source of the initial weights; None: a new one with seed 0.
        init: how they are drawn.

    Raises:
        SpecError: there is no such network.
    """
    return build_network(architecture_of(spec, classes), generator, init)


def blueprint(spec: ModelSpec, classes: int | None = None) -> ResNet:
    """The same network on the meta device: shapes without values, to count sizes.

    Raises:
        SpecError: there is no such network.
    """
    return blueprint_of(architecture_of(spec, classes))


def weights_generator(seed: int) -> torch.Generator:
    """The source of a run's initial weights: a stream of its own, decided by ``seed``."""
    word = chance.words(seed, chance.INITIAL_WEIGHTS, 0, np.zeros(1, np.int64))[0]
    return torch.Generator().manual_seed(int(word >> np.uint64(1)))
