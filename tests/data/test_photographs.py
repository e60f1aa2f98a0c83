import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tests.tested import PILLOWS, centre_views

from reslab.core.contract import Resample
from reslab.core.experiment import Photographs
from reslab.data import chance, photographs
from reslab.data.loader import CropBatch, training_crops
from reslab.data.photographs import Incident, PhotoFolder, TrainingCrops, central
from reslab.data.source import PictureFolder
from reslab.data.windows import Draws, mirrored, window
from reslab.transforms.photographs import Crop, Pixels, cut_whole, resized_to

CALM = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
SIDE = 32
SEED = 3
Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]
RandomCrop = Callable[[PhotoFolder, int, int], torch.Tensor]
Upright = Callable[[PhotoFolder, int], Image.Image]


@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_batches_are_the_same_for_any_number_of_workers_and_wherever_they_begin(
    drawn: Drawn, digests: Digests, exact: Photographs, decode: str, photos: PhotoFolder
) -> None:
    how = exact.but({"decode": decode})
    alone = digests(drawn(photos, how))
    assert len(set(alone)) == 9
    for workers in (2, 4):
        assert digests(drawn(photos, how, workers=workers)) == alone
    for done, workers in ((1, 0), (4, 2), (9, 0)):
        assert digests(drawn(photos, how, consumed=4 * done, workers=workers)) == alone[done:]


def test_every_epoch_visits_every_picture_once_in_an_order_of_its_own(drawn: Drawn, photos: PhotoFolder) -> None:
    visited = torch.cat([batch.indices for batch in drawn(photos, steps=12, workers=2)]).tolist()
    epochs = [visited[start : start + 15] for start in (0, 15, 30)]
    assert all(sorted(epoch) == list(range(15)) for epoch in epochs)
    assert epochs == [chance.order(SEED, epoch, 15).tolist() for epoch in range(3)]
    assert epochs[0] != epochs[1]


def test_batches_have_the_promised_types_and_labels(drawn: Drawn, photos: PhotoFolder) -> None:
    for batch in drawn(photos):
        assert (batch.pixels.dtype, tuple(batch.pixels.shape)) == (torch.uint8, (4, SIDE, SIDE, 3))
        assert batch.labels.dtype == batch.indices.dtype == torch.int64
        assert batch.labels.tolist() == [index // 5 for index in batch.indices.tolist()]
        assert (batch.replaced, batch.enlarged) == ((), ())


def test_a_crop_is_what_its_draws_say(drawn: Drawn, random_crop: RandomCrop, photos: PhotoFolder) -> None:
    seen = 0
    for batch in drawn(photos):
        for crop, number in zip(batch.pixels, batch.indices.tolist(), strict=True):
            assert torch.equal(crop, random_crop(photos, seen // 15, number)), number
            seen += 1


def test_fast_decoding_gives_nearly_the_same_crops(drawn: Drawn, exact: Photographs, photos: PhotoFolder) -> None:
    for whole, fast in zip(drawn(photos), drawn(photos, exact.but({"decode": "fast"})), strict=True):
        assert torch.equal(whole.indices, fast.indices)
        assert (whole.pixels.float() - fast.pixels.float()).abs().mean() < 2


def test_without_flipping_crops_are_the_same_or_mirror_images(
    drawn: Drawn, exact: Photographs, photos: PhotoFolder
) -> None:
    mirrored = []
    for with_flips, without in zip(drawn(photos), drawn(photos, exact.but({"flip": False})), strict=True):
        for one, other in zip(with_flips.pixels, without.pixels, strict=True):
            mirrored.append(torch.equal(one, other.flip(1)))
            assert mirrored[-1] != torch.equal(one, other)
    assert 0.2 < np.mean(mirrored) < 0.8


def test_crops_reach_every_scale_and_every_corner(
    drawn: Drawn, exact: Photographs, photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[Crop] = []

    def noted(picture: Pixels, crop: Crop, resample: Resample) -> Pixels:
        windows.append(crop)
        return cut_whole(picture, crop, resample)

    monkeypatch.setattr(photographs, "cut_whole", noted)
    drawn(photos, exact.but({"scale": [SIDE, SIDE + 2]}), steps=200)
    assert {min(window.resized) for window in windows} == {SIDE, SIDE + 1, SIDE + 2}
    slack = {(min(w.resized) - SIDE, w.left if w.resized[0] < w.resized[1] else w.top) for w in windows}
    assert slack == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}


@pytest.mark.parametrize("resample", PILLOWS)
def test_a_fast_crop_is_one_resize_of_its_box_by_pillow(
    resample: Resample, exact: Photographs, upright: Upright, own: Path
) -> None:
    """PNG is never decoded smaller."""
    photos = PictureFolder(own).read("all")
    how = exact.but({"decode": "fast", "contract": {"resample": resample}})
    work = TrainingCrops(photos, how, 1, SEED)
    for number in range(12):
        image, draws = upright(photos, number), Draws(SEED, 2, number)
        crop = window(how, image.size, SIDE, draws)
        assert isinstance(crop, Crop)
        x, y = image.width / crop.resized[0], image.height / crop.resized[1]
        box = (crop.left * x, crop.top * y, (crop.left + SIDE) * x, (crop.top + SIDE) * y)
        box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
        expected = image.resize((SIDE, SIDE), PILLOWS[resample], box=box)
        wanted = np.asarray(ImageOps.mirror(expected) if mirrored(how, draws) else expected)
        assert np.array_equal(work.crop(2, number, SIDE, []), wanted)


def test_another_seed_gives_other_batches(drawn: Drawn, digests: Digests, photos: PhotoFolder) -> None:
    assert not set(digests(drawn(photos))) & set(digests(drawn(photos, seed=4)))


@CALM
@given(
    *(st.integers(1, 2**32 - 1), st.integers(0, 2**63 - 1), st.integers(0, 900), st.integers(0, 2**31)),
    st.integers(0, 2**31),
)
def test_a_single_draw_is_the_one_that_arrays_give(bound: int, seed: int, stream: int, epoch: int, sample: int) -> None:
    expected = chance.below(bound, chance.words(seed, stream, epoch, np.array([sample])))
    assert chance.draw(bound, seed, stream, epoch, sample) == int(expected[0])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("resample", PILLOWS)
def test_centre_crops_are_those_of_pillow_in_order_each_once(
    resample: Resample, upright: Upright, exact: Photographs, workers: int, photos: PhotoFolder
) -> None:
    contract = exact.contract.but({"resample": resample})
    batches = list(centre_views(photos, contract, 4, workers))
    assert [len(batch.indices) for batch in batches] == [4, 4, 4, 3]
    assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(15))
    assert photos.labels.tolist() == [number // 5 for number in range(15)]
    for number, crop in enumerate(torch.cat([batch.pixels for batch in batches])):
        image = upright(photos, number)
        resized = image.resize(resized_to(image.size, 36), PILLOWS[resample])
        left, top = (round((side - SIDE) / 2) for side in resized.size)
        expected = resized.crop((left, top, left + SIDE, top + SIDE))
        assert torch.equal(crop, torch.from_numpy(np.array(expected))), number
        assert np.array_equal(central(*photos.open(number), contract), np.array(expected))


@pytest.mark.parametrize(("batch", "sizes"), [(15, [15]), (64, [15]), (1, [1] * 15)])
def test_centre_crops_fill_batches_of_any_size(
    exact: Photographs, batch: int, sizes: list[int], photos: PhotoFolder
) -> None:
    assert [len(found.indices) for found in centre_views(photos, exact.contract, batch)] == sizes


def test_a_picture_smaller_than_the_crop_is_enlarged_and_said_to_be(
    drawn: Drawn, exact: Photographs, own: Path
) -> None:
    Image.fromarray(np.full((20, 31, 3), 77, np.uint8)).save(own / "ash" / "small.png")
    pictures = PictureFolder(own).read("all")
    number = [pictures.index.path(n) for n in range(13)].index("ash/small.png")
    told = Incident(number, "ash/small.png", "has 31x20 pixels, fewer than the crop of 32")
    tested = list(centre_views(pictures, exact.contract, 13, 2))
    assert [incident for batch in tested for incident in batch.enlarged] == [told]
    assert (tested[0].pixels[number] == 77).all()
    trained = drawn(pictures, batch=13, steps=2, workers=2)
    assert [incident for batch in trained for incident in batch.enlarged] == [told, told]


def test_what_a_batch_holds_does_not_change_when_the_next_one_comes(
    digests: Digests, exact: Photographs, photos: PhotoFolder
) -> None:
    stream = training_crops(photos, batch=4, steps=9, seed=SEED, settings=exact, workers=2)
    kept = [(batch, digests([batch])) for batch in stream]
    assert all(digests([batch]) == before for batch, before in kept)


def test_a_picture_as_wide_as_a_panorama_is_cut_too(drawn: Drawn, exact: Photographs, own: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((2, 3000, 3), np.uint8)).save(stream, "PNG")
    (own / "ash" / "wide.png").write_bytes(stream.getvalue())
    pictures = PictureFolder(own).read("all")
    assert len(torch.cat([batch.indices for batch in centre_views(pictures, exact.contract, 5)])) == 13
    for decode in ("fast", "exact"):
        assert len(drawn(pictures, exact.but({"decode": decode}), batch=13, steps=3)) == 3
