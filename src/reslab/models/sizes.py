"""Parameters and multiply-adds, counted on the meta device: no memory, no arithmetic.

A multiply-add is one product and one sum in a convolution or the classifier: what the paper calls a FLOP (Table 1).
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reslab.models.blocks import Block


@dataclass(frozen=True, slots=True)
class StageSize:
    """One row of Table 1's column.

    ``output`` is the map's height and width, ``blocks`` the number of building blocks, ``strides`` the layers that
    halve the map.
    """

    stage: str
    output: tuple[int, int]
    blocks: int
    parameters: int
    multiply_adds: int
    strides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """A network's size; ``multiply_adds`` holds for pictures of ``input_size`` pixels a side."""

    parameters: int
    multiply_adds: int
    input_size: int
    stages: tuple[StageSize, ...]


@dataclass(slots=True)
class _Layer:
    name: str
    output: tuple[int, ...]
    multiply_adds: int
    stride: int


def size_of(net: nn.Module, input_size: int) -> Size:
    """Count ``net``, a `ResNet`, for square pictures of ``input_size`` pixels a side; ``net`` stays as it is."""
    twin = copy.deepcopy(net).to("meta").eval()
    layers = _trace(twin, torch.empty(1, 3, input_size, input_size, device="meta"))
    stages = tuple(_stage(twin, title, children, layers) for title, children in _titles(twin).items())
    return Size(
        parameters=sum(parameter.numel() for parameter in twin.parameters()),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        input_size=input_size,
        stages=stages,
    )


def _trace(net: nn.Module, picture: Tensor) -> list[_Layer]:
    layers: list[_Layer] = []

    def record(name: str, module: nn.Module) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            layers.append(_Layer(name, tuple(output.shape[2:]), _multiply_adds(module, output), _stride(module)))

        module.register_forward_hook(hook)

    for name, module in net.named_modules():
        if not list(module.children()):
            record(name, module)
    with torch.no_grad():
        net(picture)
    return layers


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    return module.weight.numel() if isinstance(module, nn.Linear) else 0


def _stride(module: nn.Module) -> int:
    stride = getattr(module, "stride", 1)
    return int(stride[0] if isinstance(stride, tuple) else stride)


def _titles(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """Table 1's names for an ImageNet network (its max pooling belongs to conv2_x), the module's names for CIFAR's."""
    children = [name for name, _ in net.named_children()]
    stages = [name for name in children if name.startswith("layer")]
    classifier = ("avgpool", "flatten", "fc")
    if "maxpool" not in children:
        return {"conv1": ("conv1", "bn1", "relu"), **{name: (name,) for name in stages}, "classifier": classifier}
    titles: dict[str, tuple[str, ...]] = {f"conv{number}_x": (name,) for number, name in enumerate(stages, start=2)}
    titles["conv2_x"] = ("maxpool", "layer1")
    return {"conv1": ("conv1", "bn1", "relu"), **titles, "classifier": classifier}


def _stage(net: nn.Module, title: str, children: tuple[str, ...], layers: list[_Layer]) -> StageSize:
    own = [layer for layer in layers if layer.name.split(".")[0] in children]
    modules = [net.get_submodule(name) for name in children]
    maps = [layer.output for layer in own if len(layer.output) == 2]
    return StageSize(
        stage=title,
        output=(maps[-1][0], maps[-1][1]),
        blocks=sum(isinstance(block, Block) for module in modules for block in module.modules()),
        parameters=sum(parameter.numel() for module in modules for parameter in module.parameters()),
        multiply_adds=sum(layer.multiply_adds for layer in own),
        strides=tuple(layer.name for layer in own if layer.stride > 1),
    )
