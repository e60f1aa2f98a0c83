import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.core.experiment import Augmentation
from reslab.data.draws import AHEAD, Drawer, Draws, training_draws
from reslab.data.loader import training_batches
from reslab.data.pictures import Pictures


def pictures(count: int) -> Pictures:
    pixels = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    return Pictures("blank", "train", pixels, torch.arange(count) % 2, ("a", "b"))


def drawn(count: int, batch: int, steps: int, seed: int = 3, consumed: int = 0) -> list[Draws]:
    drawer = Drawer(count, seed, Augmentation())
    return list(training_draws(drawer, batch=batch, steps=steps, consumed=consumed))


def same(first: list[Draws], second: list[Draws]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("begin", [0, 137])
def test_for_300_steps_the_draws_are_those_of_the_loader(begin: int) -> None:
    loaded = training_batches(
        pictures(1000), batch=128, steps=300, seed=3, augment=Augmentation(), consumed=begin * 128
    )
    assert same(drawn(1000, 128, 300, consumed=begin * 128), [Draws(*batch[2:]) for batch in loaded])


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**63 - 1), st.data())
def test_draws_begun_anywhere_go_on_as_those_never_stopped(
    count: int, batch: int, seed: int, data: st.DataObject
) -> None:
    steps = AHEAD + 3
    done = data.draw(st.integers(0, steps))
    assert same(drawn(count, batch, steps, seed)[done:], drawn(count, batch, steps, seed, done * batch))


def test_there_are_as_many_full_batches_as_steps_are_left() -> None:
    assert [len(one.indices) for one in drawn(10, 4, 2 * AHEAD + 5, consumed=8)] == [4] * (2 * AHEAD + 3)
    assert drawn(10, 4, 5, consumed=20) == []
