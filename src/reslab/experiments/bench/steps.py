"""The steps that are timed: a bare one as anybody would write it, and ours in several precisions and batches."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.core.errors import ran_out
from reslab.core.experiment import Optimizer, Precision
from reslab.core.units import counted
from reslab.experiments.bench.advice import Step
from reslab.experiments.bench.asked import Asked, Note, fewer
from reslab.experiments.bench.timing import Wait, interleave, once, rate
from reslab.experiments.resident import Engine
from reslab.training.graph import recorded
from reslab.training.precision import Resolved, native_bf16, resolve_precision
from reslab.training.step import Batch, Training, train_step

Untimed = Callable[[], object]
Update = Callable[[Tensor, Tensor], object]
"""From images and labels on the device."""
Make = Callable[[int, Resolved], Untimed]
"""From a batch and a precision to our step."""

RATE: Final = 1e-4  # of learning: random labels drive no weight far, however many steps are timed


def bare_update(net: nn.Module, optim: Optimizer) -> Update:
    """Forward, backward and update in eager fp32, NCHW, and nothing else.

    Args:
        net: on the batches' device, of torch's usual layout.
        optim: rate, momentum and decay, of all parameters alike.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)
    net.train()

    def update(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()

    return update


def bare_training(update: Update, images: Tensor, labels: Tensor) -> Untimed:
    """``update`` on one batch that lies ready in NCHW, whatever the layout of ``images``."""
    return partial(update, images.contiguous(memory_format=torch.contiguous_format), labels)


def own_step(training: Training, batch: Batch, group: int, precision: Resolved, engine: Engine) -> Untimed:
    """Our step on a batch that lies ready, as training makes it; a graph is recorded now.

    Args:
        training: its network in training mode.
        batch: on the network's device.
        group: pictures that share batch statistics.
        precision: of the passes.
        engine: see `reslab.experiments.resident.choose_engine`.
    """
    update = partial(train_step, training, group=group, precision=precision)
    return partial(recorded(training, update, batch) if engine == "graph" else update, batch)


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
    note(f"batches of {', '.join(map(str, sizes))}, {counted(fewer(asked.rounds), 'round')}")
    steps = {size: _fitting(make, size, precision) for size in sizes}
    fitting = {size: once(step, wait) for size, step in steps.items() if step is not None}
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


def _fitting(make: Make, batch: int, precision: Resolved) -> Untimed | None:
    """The step, once tried; None where memory does not suffice."""
    try:
        step = make(batch, precision)
        step()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return None
    return step
