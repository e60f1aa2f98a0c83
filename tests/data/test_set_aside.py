import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reslab.core.errors import DataError
from reslab.data.pictures import Pictures, set_aside


def labelled(labels: list[int]) -> Pictures:
    pixels = torch.arange(len(labels), dtype=torch.int64)[:, None, None, None].to(torch.uint8)
    return Pictures("numbered", "train", pixels, torch.tensor(labels, dtype=torch.int64), ("a", "b", "c"))


def numbers(pictures: Pictures) -> list[int]:
    return pictures.pixels.flatten().tolist()


def test_as_many_of_each_class_are_set_aside_and_order_stays() -> None:
    whole = labelled([0, 1, 2, 1] * 40)
    left, aside = set_aside(whole, 60)
    assert aside.labels.bincount().tolist() == [20, 20, 20]
    assert sorted(numbers(left) + numbers(aside)) == list(range(160))
    assert numbers(left) == sorted(numbers(left))
    assert numbers(aside) == sorted(numbers(aside))
    assert all(whole.labels[number] == label for number, label in zip(numbers(aside), aside.labels, strict=True))


def test_the_same_pictures_are_set_aside_every_time_and_not_just_the_first_or_last() -> None:
    whole = labelled([0, 1, 2] * 60)
    aside = numbers(set_aside(whole, 30)[1])
    assert aside == numbers(set_aside(whole, 30)[1])
    assert aside != list(range(30))
    assert aside != list(range(150, 180))


@given(st.integers(0, 57))
def test_fewer_that_are_set_aside_are_among_more(count: int) -> None:
    whole = labelled([0, 1, 2] * 20)
    fewer, more = (set(numbers(set_aside(whole, n)[1])) for n in (count, 57))
    assert len(fewer) == count
    assert fewer <= more


def test_nothing_set_aside_leaves_the_pictures_as_they_are() -> None:
    whole = labelled([0, 1, 2])
    left, aside = set_aside(whole, 0)
    assert left.digest == whole.digest
    assert len(aside) == 0


def test_every_class_keeps_pictures_to_train_on() -> None:
    with pytest.raises(DataError, match="numbered has 6 pictures: 5 set aside leave some class none to train on"):
        set_aside(labelled([0, 1, 2, 0, 1, 2]), 5)
