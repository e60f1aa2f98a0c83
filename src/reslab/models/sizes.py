"""Parameters, multiply-adds and activations, counted on the meta device: no memory, no arithmetic.

A multiply-add is one product and one sum in a convolution or the classifier: what the paper calls a FLOP (Table 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from reslab.models.blocks import Block
from reslab.models.network import stage_titles
from reslab.models.receptive import receptive_fields
from reslab.models.trace import Step, Trace, trace

CLASSIFIER = ("avgpool", "flatten", "fc")


@dataclass(frozen=True, slots=True)
class StageSize:
    """One row of Table 1's column.

    ``output`` is the map's height and width, ``blocks`` the number of building blocks, ``strides`` the layers that
    halve the map, ``activation_bytes`` as `reslab.models.trace.trace` defines them, and
    ``receptive_field`` the pixels a side of the input that one place of the output sees along the longest path.
    """

    stage: str
    output: tuple[int, int]
    blocks: int
    parameters: int
    multiply_adds: int
    strides: tuple[str, ...]
    activation_bytes: int
    receptive_field: int


@dataclass(frozen=True, slots=True)
class Size:
    """A network's size; ``multiply_adds`` and ``activation_bytes`` hold for a picture of ``input_size`` pixels a side.

    ``activation_bytes`` is what autograd keeps for the backward pass of one picture in training mode.
    """

    parameters: int
    multiply_adds: int
    input_size: int
    activation_bytes: int
    stages: tuple[StageSize, ...]


def size_of(net: nn.Module, input_size: int) -> Size:
    """Count ``net``, a `ResNet`, for square pictures of ``input_size`` pixels a side; ``net`` stays as it is.

    Raises:
        SpecError: pictures of this size are too small for the network.
    """
    return measure(trace(net, input_size))


def measure(traced: Trace) -> Size:
    """Count what a trace has found."""
    steps = list(zip(traced.steps, receptive_fields(traced.steps), strict=True))
    return Size(
        parameters=sum(parameter.numel() for parameter in traced.net.parameters()),
        multiply_adds=sum(map(multiply_adds, traced.steps)),
        input_size=traced.input_size,
        activation_bytes=sum(step.kept for step in traced.steps),
        stages=tuple(_stage(traced.net, title, children, steps) for title, children in titles(traced.net).items()),
    )


def titles(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """What each row of Table 1 holds: its names for ImageNet's networks, where the max pooling belongs to conv2_x.

    CIFAR's networks (section 4.2) have the names of their modules.
    """
    rows: dict[str, tuple[str, ...]] = {title: (name,) for title, name in stage_titles(net).items()}
    if "conv2_x" in rows:
        rows["conv2_x"] = ("maxpool", *rows["conv2_x"])
    return {"conv1": ("conv1", "bn1", "relu"), **rows, "classifier": CLASSIFIER}


def multiply_adds(step: Step) -> int:
    """Of a convolution or the classifier; 0 of everything else."""
    if isinstance(step.module, nn.Conv2d):
        return math.prod(step.output) * step.module.weight[0].numel()
    return step.module.weight.numel() if isinstance(step.module, nn.Linear) else 0


def _stage(net: nn.Module, title: str, children: tuple[str, ...], steps: Sequence[tuple[Step, int]]) -> StageSize:
    own = [(step, field) for step, field in steps if step.top in children]
    modules = [net.get_submodule(name) for name in children]
    maps = [step.output[1:] for step, _ in own if len(step.output) == 3]
    return StageSize(
        stage=title,
        output=(maps[-1][0], maps[-1][1]),
        blocks=sum(isinstance(block, Block) for module in modules for block in module.modules()),
        parameters=sum(parameter.numel() for module in modules for parameter in module.parameters()),
        multiply_adds=sum(multiply_adds(step) for step, _ in own),
        strides=tuple(step.name for step, _ in own if step.stride > 1),
        activation_bytes=sum(step.kept for step, _ in own),
        receptive_field=own[-1][1],
    )
