"""Batch normalisation whose statistics are those of pictures in several processes, on any device.

torch's SyncBatchNorm does the same on GPUs only; this one needs nothing but sums over processes.
"""

from typing import Any

import torch
from torch import Tensor, autograd, distributed, nn


class _Summed(autograd.Function):
    """A tensor's sum over the processes of a group; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, group: distributed.ProcessGroup) -> Tensor:
        ctx.group = group
        return _summed(value, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _summed(gradients[0], ctx.group), None


def _summed(value: Tensor, group: distributed.ProcessGroup) -> Tensor:
    total = value.detach().clone()
    distributed.all_reduce(total, group=group)
    return total


class BatchNormAcross(nn.BatchNorm2d):
    """``norm`` with statistics over all pictures that the processes of ``group`` pass through it at the same time.

    It has the parameters and buffers of ``norm``, under the same names.
    """

    def __init__(self, norm: nn.BatchNorm2d, group: distributed.ProcessGroup) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

        def over_all(value: Tensor) -> Tensor:  # a closure: networks are copied, groups of processes cannot be
            total: Tensor = _Summed.apply(value, group)  # type: ignore[no-untyped-call]  # torch's
            return total

        self.over_all = over_all

    def forward(self, x: Tensor) -> Tensor:
        """float32 or bfloat16 (B, C, H, W), normalised over the group's pictures; as torch's in evaluation mode."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        places = torch.tensor([values.numel() / values.shape[1]], device=x.device)
        sums = self.over_all(torch.cat([values.sum(dim=(0, 2, 3)), places]))
        count = sums[-1].detach()
        mean = (sums[:-1] / count).view(1, -1, 1, 1)
        variance = self.over_all((values - mean).square().sum(dim=(0, 2, 3))) / count
        self._track(mean.flatten(), variance * (count / (count - 1)))
        scale = (self.weight * (variance + self.eps).rsqrt()).view(1, -1, 1, 1)
        return ((values - mean) * scale + self.bias.view(1, -1, 1, 1)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        self.get_buffer("running_mean").lerp_(mean, self.momentum)
        self.get_buffer("running_var").lerp_(variance, self.momentum)
        self.get_buffer("num_batches_tracked").add_(1)


def across(net: nn.Module, group: distributed.ProcessGroup) -> None:
    """Exchange the batch normalisation of ``net`` for one whose statistics are those of all processes of ``group``."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d) and not isinstance(child, BatchNormAcross):
                setattr(module, name, BatchNormAcross(child, group))
