"""Activation checkpointing: a block keeps its input alone and computes the rest again in the backward pass."""

import contextlib
from types import TracebackType

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, whose inner activations are computed again when they are needed; no bit changes.

    Args:
        block: draws no random numbers.
        x: its input, the only tensor that is kept.
    """
    out: Tensor = checkpoint(
        block,
        x,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (contextlib.nullcontext(), _BuffersUntouched(block)),
    )
    return out


class _BuffersUntouched:
    """The second computation is the first over again, but for the running statistics, which learn once.

    It may be entered again: a graph that is kept is computed at each backward pass.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __enter__(self) -> None:
        self.kept = [(module, dict(module.named_buffers(recurse=False))) for module in self.block.modules()]
        for module, buffers in self.kept:
            for name, buffer in buffers.items():
                setattr(module, name, buffer.clone())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for module, buffers in self.kept:
            for name, buffer in buffers.items():
                setattr(module, name, buffer)
