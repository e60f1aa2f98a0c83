"""Colours of training crops: drawn by seed, epoch and picture alone."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.core.colour import Colour
from reslab.core.experiment import Photographs
from reslab.data import chance
from reslab.data.loader import CropBatch
from reslab.data.photographs import PhotoFolder
from reslab.data.source import PictureFolder
from reslab.transforms.colour import colours

SEED = 3
COUNT = 15
Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]


@pytest.fixture(scope="module")
def changed(exact: Photographs) -> Photographs:
    return exact.but({"colour": {}})


def gained(batches: Iterable[CropBatch]) -> torch.Tensor:
    found = [batch.colours for batch in batches if batch.colours is not None]
    return torch.cat(found)


def test_batches_with_colours_are_the_same_for_any_number_of_workers_and_wherever_they_begin(
    drawn: Drawn, digests: Digests, changed: Photographs, photos: PhotoFolder
) -> None:
    alone = digests(drawn(photos, changed))
    assert len(set(alone)) == 9
    assert digests(drawn(photos, changed, workers=2)) == alone
    for done, workers in ((1, 0), (4, 2), (9, 0)):
        assert digests(drawn(photos, changed, consumed=4 * done, workers=workers)) == alone[done:]


@pytest.mark.parametrize("batch", [1, 3, 4, 12])
def test_neither_do_they_depend_on_the_size_of_batches(
    batch: int, drawn: Drawn, changed: Photographs, photos: PhotoFolder
) -> None:
    whole = gained(drawn(photos, changed))
    assert torch.equal(gained(drawn(photos, changed, batch=batch, steps=36 // batch)), whole)


def test_a_pictures_colour_is_what_its_own_draws_say(drawn: Drawn, changed: Photographs, photos: PhotoFolder) -> None:
    seen = 0
    for batch in drawn(photos, changed):
        assert batch.colours is not None
        assert (batch.colours.dtype, tuple(batch.colours.shape)) == (torch.float32, (4, 3))
        for colour, number in zip(batch.colours, batch.indices.tolist(), strict=True):
            draws = chance.normal(SEED, chance.COLOUR, seen // COUNT, np.array([number]), 3)
            assert colour.tolist() == colours(draws, Colour())[0].tolist()
            seen += 1
    assert len(gained(drawn(photos, changed)).unique(dim=0)) == seen


def test_without_colours_batches_are_what_they_were(
    drawn: Drawn, digests: Digests, exact: Photographs, changed: Photographs, photos: PhotoFolder
) -> None:
    plain, coloured = drawn(photos, exact), drawn(photos, changed)
    assert all(batch.colours is None for batch in plain)
    assert digests(batch._replace(colours=None) for batch in coloured) == digests(plain)
    assert digests(coloured) != digests(plain)


def test_a_picture_that_takes_anothers_place_has_a_colour_of_its_own(
    drawn: Drawn, changed: Photographs, own: Path
) -> None:
    bad = own / "ash" / "002.png"
    bad.write_bytes(bad.read_bytes()[:-60])
    pictures = PictureFolder(own).read("all")
    how = changed.but({"on_bad_picture": "replace"})
    (batch,) = drawn(pictures, how, batch=12, steps=1)
    assert batch.replaced
    assert 2 not in batch.indices.tolist()
    assert batch.colours is not None
    draws = chance.normal(SEED, chance.COLOUR, 0, batch.indices.numpy(), 3)
    assert np.array_equal(batch.colours.numpy(), colours(draws, Colour()))


def test_strength_scale_and_vectors_change_colours_and_nothing_else(
    drawn: Drawn, digests: Digests, changed: Photographs, photos: PhotoFolder
) -> None:
    usual = drawn(photos, changed)
    for change in ({"std": 0.2}, {"scale": "sqrt"}, {"eigenvectors": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}):
        other = drawn(photos, changed.but({"colour": change}))
        pairs = [[batch._replace(colours=None) for batch in batches] for batches in (usual, other)]
        assert digests(pairs[0]) == digests(pairs[1])
        assert (gained(other) != gained(usual)).all(dim=1).all()
    assert torch.allclose(gained(drawn(photos, changed.but({"colour": {"std": 0.2}}))), 2 * gained(usual))
