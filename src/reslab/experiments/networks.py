"""From a network's name to the network."""

import torch

from reslab.core.experiment import ModelSpec
from reslab.experiments.names import CLASSES, WIDTHS, parse_name
from reslab.models.resnet import ResNet, cifar_resnet, resnet


def build(spec: ModelSpec, classes: int | None = None, generator: torch.Generator | None = None) -> ResNet:
    """The network that ``spec`` names, initialised.

    Args:
        spec: name and choices.
        classes: outputs; None: the paper's 1,000 or 10.
        generator: source of the initial weights; None: a new one with seed 0.

    Raises:
        SpecError: there is no such network.
    """
    name = parse_name(spec.name)
    shortcut = name.shortcut(spec.shortcut)
    width = spec.width or WIDTHS[name.family]
    outputs = classes or CLASSES[name.family]
    if name.family == "cifar":
        return cifar_resnet(name.depth, shortcut=shortcut, width=width, classes=outputs, generator=generator)
    return resnet(
        name.depth,
        shortcut=shortcut,
        stride_on=spec.stride_on,
        pool=spec.pool,
        width=width,
        classes=outputs,
        generator=generator,
    )


def blueprint(spec: ModelSpec, classes: int | None = None) -> ResNet:
    """The same network on the meta device: shapes without values, to count sizes.

    Raises:
        SpecError: there is no such network.
    """
    with torch.device("meta"):
        return build(spec, classes)
