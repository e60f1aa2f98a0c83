"""Activation checkpointing: a block keeps its input alone and computes the rest again in the backward pass."""

import contextlib
from collections.abc import Iterator

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
        context_fn=lambda: (contextlib.nullcontext(), _statistics_untouched(block)),
    )
    return out


@contextlib.contextmanager
def _statistics_untouched(block: nn.Module) -> Iterator[None]:
    """The second computation is the first over again, but for the running statistics, which learn once."""
    kept = [(module, dict(module.named_buffers())) for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    for module, buffers in kept:
        for name, buffer in buffers.items():
            setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, buffers in kept:
            for name, buffer in buffers.items():
                setattr(module, name, buffer)
