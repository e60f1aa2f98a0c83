"""Batches on their way to a device: on CUDA through pinned memory and ahead of need; nobody waits for a copy."""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

Parts = tuple[Tensor, ...]


def moved(part: Tensor, device: torch.device) -> Tensor:
    """``part`` on ``device``; the processor does not wait for a copy to CUDA."""
    return part.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else part.to(device)


def ahead(batches: Iterable[Parts], device: torch.device) -> Iterator[Parts]:
    """Each of ``batches`` on ``device``, in order.

    On CUDA each batch is copied on a stream of its own while the one before it is worked on; elsewhere none is taken
    before it is asked for.
    """
    if device.type != "cuda":
        yield from (_on(batch, device) for batch in batches)
        return
    aside, coming = torch.cuda.Stream(device), deque[tuple[Parts, torch.cuda.Event]]()
    for batch in batches:
        with torch.cuda.stream(aside):
            coming.append((_on(batch, device), aside.record_event()))
        if len(coming) > 1:
            yield _arrived(*coming.popleft())
    while coming:
        yield _arrived(*coming.popleft())


def _on(batch: Parts, device: torch.device) -> Parts:
    return tuple(moved(part, device) for part in batch)


def _arrived(batch: Parts, copied: torch.cuda.Event) -> Parts:
    """The present stream's work waits for the copy, and the memory of ``batch`` for that work."""
    here = torch.cuda.current_stream()
    here.wait_event(copied)
    for part in batch:
        part.record_stream(here)
    return batch
