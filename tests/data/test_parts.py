"""Parts of batches, as several processes read them: together the whole ones, at any number of workers."""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from reslab.core.experiment import Augmentation, Photographs
from reslab.core.shares import shares
from reslab.data.draws import Drawer, training_draws
from reslab.data.loader import training_batches, training_crops
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures

BATCH, STEPS, SEED = 7, 9, 3
PARTS = [[range(BATCH)], shares(BATCH, 2), shares(BATCH, 3)]


def joined(streams: list[Iterator[tuple[Tensor, ...]]]) -> list[list[Tensor]]:
    """The parts of each batch put together, column by column."""
    return [
        [torch.cat(column) for column in zip(*(part[:3] for part in parts), strict=True)]
        for parts in zip(*streams, strict=True)
    ]


def equal(first: list[list[Tensor]], second: list[list[Tensor]]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("parts", PARTS[1:], ids=["2", "3"])
def test_parts_of_photographs_are_together_the_whole_batches(
    photos: PhotoFolder, exact: Photographs, parts: list[range], workers: int
) -> None:
    how = {"batch": BATCH, "steps": STEPS, "seed": SEED, "settings": exact}
    whole = joined([training_crops(photos, **how)])
    assert equal(joined([training_crops(photos, **how, part=part, workers=workers) for part in parts]), whole)
    late = joined([training_crops(photos, **how, part=part, consumed=4 * BATCH) for part in parts])
    assert equal(late, whole[4:])


@pytest.fixture(scope="module")
def noise() -> Pictures:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (13, 3, 8, 8), generator=draw, dtype=torch.uint8)
    return Pictures("noise", "train", pixels, torch.arange(13) % 5, tuple("abcde"))


@pytest.mark.parametrize("parts", PARTS[1:], ids=["2", "3"])
def test_parts_of_small_pictures_are_together_the_whole_batches(noise: Pictures, parts: list[range]) -> None:
    how = {"batch": BATCH, "steps": STEPS, "seed": SEED, "augment": Augmentation()}
    whole = joined([training_batches(noise, **how)])
    assert equal(joined([training_batches(noise, **how, part=part) for part in parts]), whole)
    draw = Drawer(len(noise), SEED, Augmentation())
    drawn = joined([training_draws(draw, batch=BATCH, steps=STEPS, part=part) for part in parts])
    assert equal(drawn, joined([training_draws(draw, batch=BATCH, steps=STEPS)]))
    assert [batch[0].tolist() for batch in drawn] == [batch[2].tolist() for batch in whole]


@pytest.mark.parametrize("after", PARTS, ids=["1", "2", "3"])
def test_each_picture_comes_once_an_epoch_when_the_number_of_processes_changes(
    noise: Pictures, after: list[range]
) -> None:
    how = {"batch": BATCH, "steps": 26, "seed": SEED, "augment": Augmentation()}  # 14 epochs of 13
    begun = joined([training_batches(noise, **how, part=part) for part in PARTS[1]])[:11]
    gone_on = joined([training_batches(noise, **how, part=part, consumed=11 * BATCH) for part in after])
    seen = torch.cat([batch[2] for batch in begun + gone_on]).tolist()
    assert all(Counter(seen[start : start + 13]) == Counter(range(13)) for start in range(0, len(seen), 13))
    assert len(seen) == 14 * 13
