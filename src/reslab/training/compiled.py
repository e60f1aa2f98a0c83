"""The forward pass as torch.compile makes it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reslab.core.errors import SpecError


def compiled(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """``net``'s forward pass, compiled at its first call, which takes a minute or so.

    The pass raises SpecError where this machine cannot compile: torch needs a C++ compiler, or Triton on a GPU.
    """
    forward: Callable[[Tensor], Tensor] = torch.compile(net)

    def passed(images: Tensor) -> Tensor:
        try:
            return forward(images)
        except torch._dynamo.exc.TorchDynamoException as error:  # noqa: SLF001 torch has no public name for it
            raise SpecError(f"--compile: torch.compile fails here: {str(error).splitlines()[0]}") from None

    return passed
