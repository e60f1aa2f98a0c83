"""Batches of parts of a random area, and of crops that grow: the same for any workers, parts of batches and stops."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tests.tested import PILLOWS

from reslab.core.contract import Resample
from reslab.core.errors import PictureError
from reslab.core.experiment import Photographs
from reslab.core.shares import shares
from reslab.data import chance, photographs
from reslab.data.decode import decode
from reslab.data.loader import CropBatch, training_crops
from reslab.data.photographs import Incident, PhotoFolder, TrainingCrops
from reslab.data.picture_file import Header
from reslab.data.source import PictureFolder
from reslab.data.windows import Draws, mirrored, part
from reslab.transforms.photographs import Pixels, Size, resized_to

SIDE = 32
SEED = 3
STEPS = 9
SIDES = [16, 16, 24, 24, 32, 32, 40, 40, 40]  # grown(): from 16 to 40 between a ninth and two thirds of 9 steps
Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]
Upright = Callable[[PhotoFolder, int], Image.Image]


def area(how: Photographs) -> Photographs:
    return how.but({"area": {}})


def grown(how: Photographs) -> Photographs:
    return how.but({"progressive": {"sides": [16, 40], "between": [1 / 9, 2 / 3], "multiple": 8}})


def both(how: Photographs) -> Photographs:
    return grown(area(how))


WAYS = [area, grown, both]
Way = Callable[[Photographs], Photographs]


def whole(parts: list[list[CropBatch]]) -> list[list[torch.Tensor]]:
    return [
        [torch.cat(column) for column in zip(*(one[:3] for one in same), strict=True)]
        for same in zip(*parts, strict=True)
    ]


def equal(first: list[list[torch.Tensor]], second: list[list[torch.Tensor]]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("decoding", ["exact", "fast"])
@pytest.mark.parametrize("way", WAYS)
def test_batches_are_the_same_for_any_number_of_workers_and_wherever_they_begin(
    way: Way, decoding: str, drawn: Drawn, digests: Digests, exact: Photographs, photos: PhotoFolder
) -> None:
    how = way(exact.but({"decode": decoding}))
    alone = digests(drawn(photos, how))
    assert len(set(alone)) == STEPS
    assert digests(drawn(photos, how, workers=2)) == alone
    for done, workers in ((1, 0), (4, 2), (9, 0)):
        assert digests(drawn(photos, how, consumed=4 * done, workers=workers)) == alone[done:]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_batches_are_together_the_whole_ones(
    way: Way, count: int, drawn: Drawn, exact: Photographs, photos: PhotoFolder
) -> None:
    how = way(exact)
    alone = whole([drawn(photos, how, batch=7)])
    split = [drawn(photos, how, batch=7, part=part, workers=workers) for workers, part in enumerate(shares(7, count))]
    assert equal(whole(split), alone)
    late = [drawn(photos, how, batch=7, part=part, consumed=4 * 7) for part in shares(7, count)]
    assert equal(whole(late), alone[4:])


def test_a_batch_has_the_side_of_its_step(drawn: Drawn, exact: Photographs, photos: PhotoFolder) -> None:
    for how in (grown(exact), both(exact)):
        assert [batch.pixels.shape[1:] for batch in drawn(photos, how, workers=2)] == [(n, n, 3) for n in SIDES]
        assert [len(batch.pixels) for batch in drawn(photos, how, consumed=5 * 4)] == [4] * 4
        assert [batch.pixels.shape[1] for batch in drawn(photos, how, consumed=5 * 4)] == SIDES[5:]


def test_a_buffer_has_room_for_the_largest_crops_and_holds_the_smaller_ones_at_its_beginning(
    exact: Photographs, photos: PhotoFolder
) -> None:
    how = grown(exact)
    work = TrainingCrops(photos, how, 4, SEED, lambda first: how.side_at(first // 4, STEPS))
    assert work.room == 4 * 40 * 40 * 3
    out = np.full(work.room, 99, np.uint8)
    assert work(0, out, lambda _item: None).side == 16
    assert (out[4 * 16 * 16 * 3 :] == 99).all()
    assert len(set(out[: 4 * 16 * 16 * 3].tolist())) > 20
    assert TrainingCrops(photos, exact, 4, SEED).room == 4 * SIDE * SIDE * 3


def naive_part(picture: Image.Image, how: Photographs, epoch: int, number: int, side: int) -> torch.Tensor:
    """By Pillow alone, from the draws that `tests.data.test_windows` holds against torchvision's rule."""
    assert how.area is not None
    draws = Draws(SEED, epoch, number)
    _, left, top, width, height, _ = part(how.area, picture.size, side, draws)
    cut = picture.crop((left, top, left + width, top + height)).resize((side, side), PILLOWS[how.contract.resample])
    return torch.from_numpy(np.array(ImageOps.mirror(cut) if mirrored(how, draws) else cut))


@pytest.mark.parametrize("resample", PILLOWS)
def test_a_part_is_what_its_draws_say_of_the_upright_picture(
    resample: Resample, drawn: Drawn, exact: Photographs, upright: Upright, photos: PhotoFolder
) -> None:
    for way in (area, both):
        how, seen = way(exact).but({"contract": {"resample": resample}}), 0
        for batch in drawn(photos, how):
            for crop, number in zip(batch.pixels, batch.indices.tolist(), strict=True):
                assert torch.equal(crop, naive_part(upright(photos, number), how, seen // 15, number, len(crop)))
                seen += 1


@pytest.mark.parametrize("resample", PILLOWS)
def test_a_smaller_crop_at_a_random_scale_is_of_a_smaller_picture(
    resample: Resample, drawn: Drawn, exact: Photographs, upright: Upright, photos: PhotoFolder
) -> None:
    seen = 0
    for batch in drawn(photos, grown(exact).but({"contract": {"resample": resample}})):
        side = batch.pixels.shape[1]
        low, high = round(34 * side / 32), round(50 * side / 32)
        for crop, number in zip(batch.pixels, batch.indices.tolist(), strict=True):
            epoch, image = seen // 15, upright(photos, number)
            draws = (SEED, epoch, number)

            def draw(bound: int, stream: int, draws: tuple[int, int, int] = draws) -> int:
                return chance.draw(bound, draws[0], stream, *draws[1:])

            size = resized_to(image.size, low + draw(high - low + 1, chance.SCALE))
            left, top = draw(size[0] - side + 1, chance.COLUMN), draw(size[1] - side + 1, chance.ROW)
            cut = image.resize(size, PILLOWS[resample]).crop((left, top, left + side, top + side))
            expected = ImageOps.mirror(cut) if draw(2, chance.MIRROR) else cut
            assert torch.equal(crop, torch.from_numpy(np.array(expected)))
            seen += 1


@pytest.mark.parametrize("turned", [1, 6])
def test_a_large_jpeg_is_decoded_small_where_the_part_keeps_the_side(
    turned: int, exact: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x = np.mgrid[:600, :800]
    waves = np.stack([128 + 90 * np.sin(x / 60), 128 + 90 * np.cos(y / 50), (x + y) / 6], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turned
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(waves).save(tmp_path / name / "0.jpg", quality=95, exif=exif)
    pictures = PictureFolder(tmp_path).read("all")
    shapes: list[tuple[Size, Size | None]] = []

    def noted(data: bytes, header: Header, at_least: Size | None = None) -> Pixels:
        pixels = decode(data, header, at_least)
        shapes.append((pixels.shape[1::-1], at_least))
        return pixels

    monkeypatch.setattr(photographs, "decode", noted)
    upright = (800, 600) if turned == 1 else (600, 800)
    how, by = area(exact), []
    works = {kind: TrainingCrops(pictures, how.but({"decode": kind}), 2, SEED) for kind in ("exact", "fast")}
    for epoch in range(40):
        exact_crop, fast_crop = (work.crop(epoch, 0, SIDE, []).astype(int) for work in works.values())
        assert how.area is not None
        region = part(how.area, upright, SIDE, Draws(SEED, epoch, 0))
        (whole_size, asked), (small, least) = shapes[-2:]
        assert (whole_size, asked) == (upright, None)
        assert least is not None
        by.append(round(upright[0] / small[0]))
        assert small == (-(-upright[0] // by[-1]), -(-upright[1] // by[-1]))
        assert min(region.width * small[0] / upright[0], region.height * small[1] / upright[1]) >= SIDE
        twice = min(region.width, region.height) / (2 * by[-1])
        assert by[-1] == 8 or twice < SIDE * 1.01
        assert np.abs(exact_crop - fast_crop).mean() < 2
    assert {4, 8} <= set(by)


def test_fast_decoding_changes_nothing_where_no_picture_shrinks(
    drawn: Drawn, digests: Digests, exact: Photographs, own: Path
) -> None:
    pictures = PictureFolder(own).read("all")  # PNG
    assert digests(drawn(pictures, area(exact.but({"decode": "fast"})))) == digests(drawn(pictures, area(exact)))


def test_bad_pictures_are_replaced_or_stopped_at(drawn: Drawn, digests: Digests, exact: Photographs, own: Path) -> None:
    for name in ("ash/001.png", "birch/004.png"):
        (own / name).write_bytes((own / name).read_bytes()[:-40])
    pictures = PictureFolder(own).read("all")
    how = both(exact)
    with pytest.raises(PictureError, match="is damaged"):
        drawn(pictures, how)
    replacing = how.but({"on_bad_picture": "replace"})
    alone = drawn(pictures, replacing)
    assert digests(drawn(pictures, replacing, workers=2)) == digests(alone)
    met = {incident.path for batch in alone for incident in batch.replaced}
    assert met == {"ash/001.png", "birch/004.png"}
    assert [batch.pixels.shape[1] for batch in alone] == SIDES
    assert not {1, 10} & set(torch.cat([batch.indices for batch in alone]).tolist())


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (2, 3000)])
def test_pictures_of_any_shape_have_parts(size: Size, drawn: Drawn, exact: Photographs, own: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 50, np.uint8)).save(stream, "PNG")
    (own / "ash" / "odd.png").write_bytes(stream.getvalue())
    pictures = PictureFolder(own).read("all")
    number = [pictures.index.path(n) for n in range(13)].index("ash/odd.png")
    for decoding in ("fast", "exact"):
        for batch in drawn(pictures, area(exact.but({"decode": decoding})), batch=13, steps=3):
            (place,) = torch.nonzero(batch.indices == number)[0].tolist()
            assert (batch.pixels[place] == 50).all()


def test_a_picture_smaller_than_its_steps_crop_is_said_to_be_enlarged(
    drawn: Drawn, exact: Photographs, own: Path
) -> None:
    """The picture, not the part of it: parts of larger pictures are often enlarged too, and nobody minds."""
    Image.fromarray(np.full((20, 31, 3), 77, np.uint8)).save(own / "ash" / "small.png")
    pictures = PictureFolder(own).read("all")
    number = [pictures.index.path(n) for n in range(13)].index("ash/small.png")
    (told,) = (batch.enlarged for batch in drawn(pictures, area(exact), batch=13, steps=1))
    assert told == (Incident(number, "ash/small.png", "has 31x20 pixels, fewer than the crop of 32"),)
    growing = training_crops(pictures, batch=13, steps=STEPS, seed=SEED, settings=both(exact))
    words = [[incident.what for incident in batch.enlarged if incident.number == number] for batch in growing]
    expected = [[f"has 31x20 pixels, fewer than the crop of {side}"] if side > 20 else [] for side in SIDES]
    assert words == expected
