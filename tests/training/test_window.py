import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.core.intervals import Count
from reslab.training.window import Window


def filled(losses: list[float], errors: list[int]) -> Window:
    window = Window(torch.device("cpu"))
    for step, (loss, wrong) in enumerate(zip(losses, errors, strict=True)):
        window.put(step, torch.tensor(loss), torch.tensor(wrong))
    return window


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 8)), min_size=1, max_size=130))
def test_a_reading_is_the_mean_of_the_last_fifty_batches_only(batches: list[tuple[int, int]]) -> None:
    losses, errors = [float(loss) for loss, _ in batches], [wrong for _, wrong in batches]
    reading = filled(losses, errors).read(len(batches), 8)
    assert reading.loss == pytest.approx(sum(losses[-50:]) / len(losses[-50:]), rel=1e-12)
    assert reading.count == Count(sum(errors[-50:]), 8 * len(errors[-50:]))


def test_a_window_that_is_not_full_yet_counts_what_there_is() -> None:
    reading = filled([1.0, 2.0, 6.0], [4, 0, 2]).read(3, 4)
    assert reading.loss == 3.0
    assert reading.count == Count(6, 12)


def test_fewer_batches_than_the_window_can_be_read() -> None:
    window = filled([float(step) for step in range(60)], [step % 5 for step in range(60)])
    reading = window.read(60, 10, last=4)
    assert reading.loss == (56 + 57 + 58 + 59) / 4
    assert reading.count == Count(1 + 2 + 3 + 4, 40)


def test_the_tensors_of_a_window_are_the_window_itself() -> None:
    window = filled([5.0], [3])
    other = Window(torch.device("cpu"))
    for name, tensor in other.tensors().items():
        tensor.copy_(window.tensors()[name])
    assert other.read(1, 8) == window.read(1, 8)
    assert set(window.tensors()) == {"losses", "errors"}
