"""Layer responses: how strong the signal is after each 3x3 convolution and its batch normalisation (Figure 7)."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reslab.models.network import ResNet


@dataclass(frozen=True, slots=True)
class Response:
    """The standard deviation of what one layer gives out, over all pictures, channels and places."""

    layer: str
    std: float


class _Spread:
    """Count, sum and sum of squares of everything that was seen; float64."""

    def __init__(self) -> None:
        self.n, self.sum, self.squares = 0, 0.0, 0.0

    def see(self, values: Tensor) -> None:
        wide = values.detach().double()
        self.n += wide.numel()
        self.sum += float(wide.sum())
        self.squares += float(wide.square().sum())

    def std(self) -> float:
        mean = self.sum / self.n
        return math.sqrt(max(self.squares / self.n - mean**2, 0.0))


def responses(net: ResNet, images: Iterable[Tensor]) -> list[Response]:
    """The responses of every 3x3 layer, in the network's order: after BN, before nonlinearity or addition (Figure 7).

    In evaluation mode, so that they belong to the network as it is tested; the paper does not say which statistics or
    pictures it took.

    Args:
        net: on its device; its mode is put back afterwards.
        images: float32 (B, 3, H, W), batch after batch, on that device.

    Raises:
        ValueError: there were no images.
    """
    spreads = {name: _Spread() for name, _ in layers(net)}
    training = net.training
    net.eval()
    try:
        with torch.inference_mode(), _listening(net, spreads):
            for batch in images:
                net(batch)
    finally:
        net.train(training)
    if not all(spread.n for spread in spreads.values()):
        raise ValueError("no images: there are no responses")
    return [Response(name, spread.std()) for name, spread in spreads.items()]


def layers(net: ResNet) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Every 3x3 convolution's name, with the batch normalisation that follows it."""
    modules = dict(net.named_modules())
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            home, _, own = name.rpartition(".")
            norm = modules[f"{home}.{own}".removeprefix(".").replace("conv", "bn")]
            assert isinstance(norm, nn.BatchNorm2d)
            yield name, norm


@contextmanager
def _listening(net: ResNet, spreads: dict[str, _Spread]) -> Iterator[None]:
    with ExitStack() as hooks:
        for name, norm in layers(net):
            hooks.enter_context(norm.register_forward_hook(_hear(spreads[name])))
        yield


def _hear(spread: _Spread) -> Callable[[nn.Module, object, Tensor], None]:
    return lambda _module, _inputs, output: spread.see(output)
