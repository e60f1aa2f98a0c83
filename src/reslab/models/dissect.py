"""From a network to its anatomy: found by running it on the meta device, never from a table."""

from collections.abc import Iterable, Sequence

from torch import nn

from reslab.models.anatomy import BlockAnatomy, Carries, Layer, LayerKind, Part, Shortcut, StageAnatomy
from reslab.models.blocks import Block
from reslab.models.shortcuts import Projection, ZeroPad
from reslab.models.sizes import titles
from reslab.models.trace import Step, Trace, trace

KINDS: dict[type[nn.Module], LayerKind] = {
    nn.Conv2d: "conv",
    nn.MaxPool2d: "max pool",
    nn.AdaptiveAvgPool2d: "avg pool",
    nn.Linear: "fc",
}
CARRIES: dict[type[nn.Module], Carries] = {nn.Identity: "identity", ZeroPad: "zeros", Projection: "projection"}


def dissect(traced: Trace) -> tuple[StageAnatomy, ...]:
    """The stages of the `ResNet` that was traced."""
    blocks = {name: module for name, module in traced.net.named_modules() if isinstance(module, Block)}
    return tuple(
        StageAnatomy(title, tuple(_parts([step for step in traced.steps if step.top in children], blocks)))
        for title, children in titles(traced.net).items()
    )


def dissect_block(block: Block, channels: int, side: int) -> BlockAnatomy:
    """One block by itself.

    Args:
        block: stays as it is.
        channels: that come in.
        side: places a side of the map that comes in.
    """
    return _block("", block, trace(block, side, channels).steps)


def _parts(steps: Sequence[Step], blocks: dict[str, Block]) -> Iterable[Part]:
    done: set[str] = set()
    for step in steps:
        home = ".".join(step.name.split(".")[:2])
        if home not in blocks:
            yield from _layers([step])
        elif home not in done:
            done.add(home)
            yield _block(home, blocks[home], [step for step in steps if step.name.startswith(f"{home}.")])


def _block(name: str, block: Block, steps: Sequence[Step]) -> BlockAnatomy:
    branch = _layers(step for step in steps if not step.in_shortcut)
    if block.downsample is None:
        return BlockAnatomy(name, branch, None)
    around = _layers(step for step in steps if step.in_shortcut)
    widens = branch[0].inputs != branch[-1].outputs or any(layer.stride > 1 for layer in branch)
    carries = CARRIES[type(block.downsample)]
    return BlockAnatomy(name, branch, Shortcut(carries, widens, around[0] if around else None))


def _layers(steps: Iterable[Step]) -> tuple[Layer, ...]:
    return tuple(
        Layer(
            name=step.name,
            kind=KINDS[type(step.module)],
            kernel=step.kernel,
            stride=step.stride,
            inputs=step.inputs[0],
            outputs=step.output[0],
            side=step.output[-1] if len(step.output) == 3 else 1,
            weights=step.module.weight.numel() if isinstance(step.module, nn.Conv2d | nn.Linear) else 0,
        )
        for step in steps
        if type(step.module) in KINDS
    )
