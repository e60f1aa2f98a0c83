"""What a network does in training, layer by layer, on the meta device: without memory and without arithmetic."""

import copy
import functools
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from reslab.models.network import Stage

BATCH: Final = 2  # a map of 1x1 of one picture alone has no batch statistics


@dataclass(frozen=True, slots=True)
class Step:
    """One module without children at work.

    Args:
        name: the module's in the network.
        module: what works.
        inputs: shape of what comes in, without the batch.
        output: shape of what goes out, without the batch.
        kept: bytes that autograd keeps since the step before, as `trace` defines them.
    """

    name: str
    module: nn.Module
    inputs: tuple[int, ...]
    output: tuple[int, ...]
    kept: int

    @property
    def top(self) -> str:
        """The network's own child that it is in."""
        return self.name.split(".")[0]

    @property
    def in_shortcut(self) -> bool:
        """Whether it belongs to a block's shortcut."""
        return "downsample" in self.name.split(".")

    @property
    def kernel(self) -> int:
        """Places a side that one output place sees of what comes in; average pooling sees all."""
        if isinstance(self.module, nn.AdaptiveAvgPool2d):
            return self.inputs[-1]
        return _side(getattr(self.module, "kernel_size", 1))

    @property
    def stride(self) -> int:
        """By how many places a side the kernel moves."""
        return _side(getattr(self.module, "stride", 1))


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps of ``net``, a copy without values, for inputs of ``input_size`` places a side."""

    net: nn.Module
    input_size: int
    steps: tuple[Step, ...]


def trace(net: nn.Module, input_size: int, channels: int = 3) -> Trace:
    """Every layer's step in the order in which they act, and what autograd keeps for ONE picture in training mode.

    Kept are the storages of the tensors that autograd saves for the backward pass, each counted once and where it is
    saved first, in the network's own precision (fp32 unless it was converted): the picture, the output of each
    convolution and of each ReLU, the places of the maxima of the max pooling (8 bytes each), what the classifier
    reads, and the batch's means and deviations. Parameters and running statistics are there anyway and not counted,
    nor are the logits and the loss. A stage that checkpoints its activations keeps the input of each block instead.

    Args:
        net: stays as it is.
        input_size: of the square input, in places a side.
        channels: of the input.

    Raises:
        SpecError: pictures of this size are too small for the network.
    """
    twin = copy.deepcopy(net).to("meta").train()
    tracer = _Tracer(twin)
    dtype = next(twin.parameters()).dtype
    x = torch.empty(BATCH, channels, input_size, input_size, device="meta", dtype=dtype)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(tracer.save, lambda packed: packed):
        twin(x)
    tracer.met.clear()  # they hold the graph, which holds the hooks, which hold them: no collector sees that
    return Trace(twin, input_size, tuple(tracer.steps))


class _Tracer:
    """Hooks in a meta twin that write down its steps."""

    def __init__(self, net: nn.Module) -> None:
        self.steps: list[Step] = []
        self.met = {_identity(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
        self.kept = 0
        self.recomputing = False
        for name, module in net.named_modules():
            if not list(module.children()):
                module.register_forward_hook(functools.partial(self.step, name))
            elif isinstance(module, Stage) and module.activation_checkpointing:
                module.activation_checkpointing = False
                for block in module:
                    block.register_forward_pre_hook(self.enter)
                    block.register_forward_hook(self.leave)

    def save(self, tensor: Tensor) -> None:
        """Count what autograd saves; what was met stays alive, so that nothing new takes its identity."""
        if self.recomputing or _identity(tensor) in self.met:
            return
        self.met[_identity(tensor)] = tensor
        self.kept += _bytes_a_picture(tensor)

    def step(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """A module without children is done."""
        self.steps.append(Step(name, module, tuple(inputs[0].shape[1:]), tuple(output.shape[1:]), self.kept))
        self.kept = 0

    def enter(self, _block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """A block begins that will be computed again."""
        self.save(inputs[0])
        self.recomputing = True

    def leave(self, _block: nn.Module, _inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        """The block is done."""
        self.recomputing = False


def _identity(tensor: Tensor) -> int:
    """Its storage's, while that is alive; on the meta device all data pointers are 0."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 torch has no public name for it


def _bytes_a_picture(tensor: Tensor) -> int:
    whole = tensor.untyped_storage().nbytes()
    return whole if tensor.dim() == 1 else whole // BATCH  # statistics are one number a channel, whatever the batch


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
