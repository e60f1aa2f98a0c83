"""Batches reach the device whole and in order, on CUDA one ahead."""

from collections.abc import Iterator

import pytest
import torch
from tests.tested import on_cuda

from reslab.data.ahead import Parts, ahead

CPU = torch.device("cpu")


def stream(taken: list[int], count: int = 5) -> Iterator[Parts]:
    for number in range(count):
        taken.append(number)
        pixels = torch.full((64, 64), number, dtype=torch.uint8)
        yield pixels, torch.tensor([number]), *(() if number % 2 else (torch.tensor([0.5 * number]),))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=on_cuda)])
def test_every_batch_arrives_once_in_order_and_nothing_is_missing(device: str) -> None:
    place, seen = torch.device(device), []
    for pixels, label, *extra in ahead(stream([]), place):
        assert (pixels.device.type, label.device.type) == (device, device)
        seen.append((int(pixels.sum()) // 4096, int(label), float(extra[0]) if extra else None))
    assert seen == [(0, 0, 0.0), (1, 1, None), (2, 2, 1.0), (3, 3, None), (4, 4, 2.0)]


@pytest.mark.parametrize(("device", "early"), [("cpu", 0), pytest.param("cuda", 1, marks=on_cuda)])
def test_as_many_batches_are_taken_ahead_as_are_copied_meanwhile(device: str, early: int) -> None:
    taken: list[int] = []
    coming = ahead(stream(taken), torch.device(device))
    next(coming)
    assert taken == list(range(1 + early))
    next(coming)
    assert taken == list(range(2 + early))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=on_cuda)])
def test_no_batches_are_no_batches(device: str) -> None:
    assert list(ahead(stream([], 0), torch.device(device))) == []


def test_on_a_processor_nothing_is_copied() -> None:
    batch = (torch.zeros(3), torch.ones(1))
    (found,) = ahead([batch], CPU)
    assert found[0] is batch[0]
    assert found[1] is batch[1]


@on_cuda
def test_work_on_a_batch_sees_all_of_its_copy() -> None:
    """Copies of 64 MiB each, sums of which are begun at once."""
    source = (torch.full((2**24,), float(number)) for number in range(6))
    sums = [part.sum() for (part,) in ahead(((one,) for one in source), torch.device("cuda"))]
    assert [float(one) for one in sums] == [number * 2.0**24 for number in range(6)]
