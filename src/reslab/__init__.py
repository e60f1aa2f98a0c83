"""reslab: a laboratory for residual learning.

The names below are loaded when they are first used; importing reslab imports nothing else.
"""

import importlib
from typing import TYPE_CHECKING, Any

from reslab._version import __version__

if TYPE_CHECKING:
    from reslab.core.colour import Colour
    from reslab.core.contract import Contract
    from reslab.core.experiment import (
        Augmentation,
        Experiment,
        Init,
        ModelSpec,
        Optimizer,
        Photographs,
        Recipe,
        Schedule,
        WarmUp,
    )
    from reslab.core.heap import keep_freed_memory
    from reslab.core.rundir import RunDirectory
    from reslab.data.photographs import PhotoFolder
    from reslab.data.pictures import Pictures
    from reslab.data.source import load
    from reslab.evaluation.result import Evaluation
    from reslab.experiments.api import Fitted, evaluate, fit
    from reslab.experiments.pretrained import load_weights, pretrained
    from reslab.models.architecture import Architecture
    from reslab.models.blocks import BasicBlock, Bottleneck
    from reslab.models.named import (
        cifar_plain,
        plain18,
        plain34,
        plain50,
        plain101,
        plain152,
        resnet18,
        resnet34,
        resnet50,
        resnet101,
        resnet152,
    )
    from reslab.models.network import ResNet
    from reslab.models.resnet import build, cifar_resnet, resnet
    from reslab.models.sizes import size_of
    from reslab.training.loop import Watch

_HOMES = {
    "Architecture": "models.architecture",
    "Augmentation": "core.experiment",
    "BasicBlock": "models.blocks",
    "Bottleneck": "models.blocks",
    "Colour": "core.colour",
    "Contract": "core.contract",
    "Evaluation": "evaluation.result",
    "Experiment": "core.experiment",
    "Fitted": "experiments.api",
    "Init": "core.experiment",
    "ModelSpec": "core.experiment",
    "Optimizer": "core.experiment",
    "PhotoFolder": "data.photographs",
    "Photographs": "core.experiment",
    "Pictures": "data.pictures",
    "Recipe": "core.experiment",
    "ResNet": "models.network",
    "RunDirectory": "core.rundir",
    "Schedule": "core.experiment",
    "WarmUp": "core.experiment",
    "Watch": "training.loop",
    "build": "models.resnet",
    "cifar_plain": "models.named",
    "cifar_resnet": "models.resnet",
    "evaluate": "experiments.api",
    "fit": "experiments.api",
    "keep_freed_memory": "core.heap",
    "load": "data.source",
    "load_weights": "experiments.pretrained",
    "plain101": "models.named",
    "plain152": "models.named",
    "plain18": "models.named",
    "plain34": "models.named",
    "plain50": "models.named",
    "pretrained": "experiments.pretrained",
    "resnet": "models.resnet",
    "resnet101": "models.named",
    "resnet152": "models.named",
    "resnet18": "models.named",
    "resnet34": "models.named",
    "resnet50": "models.named",
    "size_of": "models.sizes",
}

__all__ = [
    "Architecture",
    "Augmentation",
    "BasicBlock",
    "Bottleneck",
    "Colour",
    "Contract",
    "Evaluation",
    "Experiment",
    "Fitted",
    "Init",
    "ModelSpec",
    "Optimizer",
    "PhotoFolder",
    "Photographs",
    "Pictures",
    "Recipe",
    "ResNet",
    "RunDirectory",
    "Schedule",
    "WarmUp",
    "Watch",
    "__version__",
    "build",
    "cifar_plain",
    "cifar_resnet",
    "evaluate",
    "fit",
    "keep_freed_memory",
    "load",
    "load_weights",
    "plain18",
    "plain34",
    "plain50",
    "plain101",
    "plain152",
    "pretrained",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "size_of",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reslab' has no attribute {name!r}")
    return getattr(importlib.import_module(f"reslab.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
