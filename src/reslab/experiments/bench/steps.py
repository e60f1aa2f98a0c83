"""The steps that are timed: a bare one as anybody would write it, and ours in several precisions and batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.experiment import Precision
from reslab.experiments.bench.advice import Step
from reslab.experiments.bench.asked import Asked, Note, fewer
from reslab.experiments.bench.timing import Wait, interleave, once, rate
from reslab.training.precision import Resolved, native_bf16, resolve_precision

Untimed = Callable[[], object]
Make = Callable[[int, Resolved], Untimed]
"""From a batch and a precision to our step."""

RATE: Final = 1e-4  # of learning: random labels drive no weight far, however many steps are timed


def bare_training(net: nn.Module, images: Tensor, labels: Tensor) -> Untimed:
    """Forward, backward and update in eager fp32, NCHW, on one batch, and nothing else.

    Args:
        net: on the batch's device, of torch's usual layout.
        images: float32, (B, 3, H, W), of any layout; the step has an NCHW copy.
        labels: int64, (B,).
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-4)
    ready = images.contiguous(memory_format=torch.contiguous_format)
    net.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(ready), labels).backward()
        optimizer.step()

    return step


def bare_inference(net: nn.Module, images: Tensor) -> Untimed:
    """A forward pass in eager fp32, NCHW, gradients off, as `bare_training` has it."""
    ready = images.contiguous(memory_format=torch.contiguous_format)
    net.eval()

    @torch.inference_mode()
    def step() -> None:
        net(ready)

    return step


def precisions(asked: Precision, device: torch.device, note: Note) -> tuple[Resolved, ...]:
    """Those to try: the first is the one that ``asked`` means; ``auto`` tries fp32 beside native bf16."""
    meant = resolve_precision(asked, device)
    if asked != "auto":
        return (meant,)
    if meant == "bf16":
        return ("bf16", "fp32")
    note("this device does not compute in bf16 natively, so fp32 alone is measured; --precision bf16 measures it")
    return ("fp32",)


def batches(make: Make, precision: Resolved, asked: Asked, wait: Wait, note: Note) -> dict[int, float]:
    """Images/s with half, once and twice the batch, as far as they fit into memory."""
    sizes = [size for size in (asked.batch // 2, asked.batch, 2 * asked.batch) if size]
    note(f"batches of {', '.join(map(str, sizes))}, {fewer(asked.rounds)} rounds")
    steps = {size: make(size, precision) for size in sizes}
    fitting = {size: once(step, wait) for size, step in steps.items() if _fits(step)}
    for size in sizes:
        if size not in fitting:
            note(f"a batch of {size} does not fit into the device's memory")
    times = interleave(fitting, fewer(asked.rounds))
    return {size: rate(size, seconds) for size, seconds in times.items()}


def measured_step(
    tried: Mapping[Resolved, Sequence[float]], rates: Mapping[int, float], batch: int, device: torch.device
) -> Step:
    """For `advice`, from the seconds a step of each precision and the images/s of each batch."""
    return Step(
        precisions={name: rate(batch, seconds) for name, seconds in tried.items()},
        batches=rates,
        batch=batch,
        native=native_bf16(device),
    )


def _fits(step: Untimed) -> bool:
    try:
        step()
    except torch.OutOfMemoryError:
        return False
    return True
