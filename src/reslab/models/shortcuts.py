"""The shortcuts of section 3.3: what carries x around F(x)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from reslab.models.architecture import Kind


class ZeroPad(nn.Module):
    """Option A across a change of dimensions: every ``stride``-th pixel, ``extra`` zero channels appended behind."""

    def __init__(self, stride: int, extra: int) -> None:
        super().__init__()
        self.stride, self.extra = stride, extra

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + extra, H / stride, W / stride), sizes rounded up."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class Projection(nn.Sequential):
    """W_s of equation (2): a 1x1 convolution and batch normalisation, no ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _zero_pad(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Identity() if (inputs, stride) == (outputs, 1) else ZeroPad(stride, outputs - inputs)


def _project_where_needed(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Identity() if (inputs, stride) == (outputs, 1) else Projection(inputs, outputs, stride)


SHORTCUTS: dict[Kind, Callable[[int, int, int], nn.Module | None]] = {
    "none": lambda _inputs, _outputs, _stride: None,
    "A": _zero_pad,
    "B": _project_where_needed,
    "C": Projection,
}


def projections(net: nn.Module) -> int:
    """How many shortcuts of ``net`` are projections; ResNet-34 has 0, 3 and 16 with A, B and C (section 4.1)."""
    return sum(isinstance(module, Projection) for module in net.modules())


__all__ = ["SHORTCUTS", "Projection", "ZeroPad", "projections"]
