import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.core.errors import DataError
from reslab.data import official
from reslab.data.cifar import CIFAR10, read_cifar
from reslab.data.official import Known, checksums, copy_note, differing
from reslab.data.pictures import Pictures
from reslab.data.source import SmallPictures, load

COUNT = 10_000
CLASSES = tuple("abcdefghij")
LAYOUT = replace(CIFAR10, label_digests={})
LOSSY = (3, 500, 9_999)
Edit = Callable[[torch.Tensor], None]


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    """What CIFAR-10's test pictures are held to be in these tests; nobody may change it."""
    return torch.randint(256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def known(noise: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> Known:
    """Of all 60,000; of three test pictures a lossy copy alone is known."""
    lossy = np.zeros(60_000, np.bool)
    lossy[[50_000 + place for place in LOSSY]] = True
    whole = Known(np.concatenate([np.zeros(50_000, np.uint16), checksums(noise)]), lossy)
    monkeypatch.setattr(official, "_read", lambda: whole)
    return whole


@pytest.fixture
def read(tmp_path: Path, noise: torch.Tensor) -> Callable[[Edit], Pictures]:
    """Reads a folder with the pictures as a test has changed them."""

    def written(edit: Edit) -> Pictures:
        pixels = noise.clone()
        pixels[list(LOSSY), 0, 0, 0] ^= 1  # the official ones, which the checksums do not know
        edit(pixels)
        labels = (torch.arange(COUNT) % 10).to(torch.uint8)[:, None]
        records = torch.cat([labels, pixels.reshape(COUNT, -1)], dim=1)
        (tmp_path / "test_batch.bin").write_bytes(records.numpy().tobytes())
        (tmp_path / LAYOUT.names).write_text("\n".join(CLASSES))
        return read_cifar(tmp_path, LAYOUT, "val")

    return written


def altering(*places: int) -> Edit:
    """Changes one bit of each of these pictures."""

    def edit(pixels: torch.Tensor) -> None:
        pixels[list(places), 2, 31, 31] ^= 128

    return edit


def test_a_checksum_is_the_low_half_of_the_crc_32_of_a_picture_s_bytes(noise: torch.Tensor) -> None:
    found = checksums(noise[:50])
    assert found.tolist() == [zlib.crc32(bytes(picture.flatten().tolist())) % 65_536 for picture in noise[:50]]
    turned = noise[:50].contiguous(memory_format=torch.channels_last)
    assert np.array_equal(checksums(turned), found)


def test_differing_pictures_are_counted_as_by_hand(noise: torch.Tensor) -> None:
    draw = np.random.default_rng(1)
    before, after = noise[:300], noise[:300].clone()
    changed, lossy = draw.random(300) < 0.3, draw.random(300) < 0.2
    after[torch.from_numpy(changed), 1, 5, 7] += 1
    equal = [torch.equal(old, new) for old, new in zip(before, after, strict=True)]
    by_hand = sum((lost and same) or not (lost or same) for lost, same in zip(lossy.tolist(), equal, strict=True))
    assert differing(after, Known(checksums(before), lossy)) == by_hand
    assert 0 < by_hand < 300


@pytest.mark.usefixtures("known")
def test_nothing_is_said_of_the_official_pictures(read: Callable[[Edit], Pictures]) -> None:
    assert copy_note(read(altering())) is None


@pytest.mark.usefixtures("known")
def test_a_lossy_copy_of_a_picture_that_is_not_known_is_counted(read: Callable[[Edit], Pictures]) -> None:
    def lossy(pixels: torch.Tensor) -> None:
        pixels[LOSSY[0], 0, 0, 0] ^= 1

    found = copy_note(read(lossy))
    assert found is not None
    assert found.startswith("CIFAR-10 val: 1 of 10,000 pictures are not the official ones")


@pytest.mark.usefixtures("known")
def test_a_near_copy_is_read_and_noted_with_its_digest(read: Callable[[Edit], Pictures]) -> None:
    pictures = read(altering(*range(10, 110)))
    assert copy_note(pictures) == (
        f"CIFAR-10 val: 100 of 10,000 pictures are not the official ones (sha256 of these pictures: {pictures.digest})"
    )


@pytest.mark.usefixtures("known")
def test_one_altered_picture_more_than_one_in_a_hundred_is_refused(read: Callable[[Edit], Pictures]) -> None:
    message = r"^CIFAR-10 val: 101 of 10,000 pictures .*sha256 of these pictures: [0-9a-f]{64}\); .* class folders"
    with pytest.raises(DataError, match=message) as refused:
        read(altering(*range(10, 111)))
    assert "\n" not in str(refused.value)


def test_other_pictures_in_cifar_10_s_layout_are_refused(read: Callable[[Edit], Pictures]) -> None:
    with pytest.raises(DataError, match=r"val: 9,9[78]\d of 10,000 pictures are not the official ones"):
        read(altering())


def test_swapped_pictures_are_not_the_official_ones(noise: torch.Tensor) -> None:
    known = Known(checksums(noise[:10]), np.zeros(10, np.bool))
    assert differing(noise[[1, 0, *range(2, 10)]], known) == 2


@pytest.mark.usefixtures("known")
def test_of_all_pictures_together_those_of_both_parts_are_counted(noise: torch.Tensor) -> None:
    dark = torch.zeros(50_000, 3, 32, 32, dtype=torch.uint8)
    none = int(checksums(dark[:1])[0])
    assert none != 0  # so that the 50,000, whose checksums are held to be 0, all differ
    halves = {"train": dark, "val": noise}

    def part(split: str) -> Pictures:
        pixels = halves[split]
        return Pictures("CIFAR-10", split, pixels, torch.zeros(len(pixels), dtype=torch.int64), CLASSES)  # type: ignore[arg-type]

    whole = SmallPictures("cifar10", "here", part).read("all")
    with pytest.raises(DataError, match="all: 50,003 of 60,000 pictures are not the official ones"):
        copy_note(whole)


def test_nothing_is_said_of_other_sets_and_of_a_part(noise: torch.Tensor) -> None:
    assert copy_note(load("embedded")) is None  # type: ignore[arg-type]
    labels = torch.zeros(COUNT, dtype=torch.int64)
    assert copy_note(Pictures("CIFAR-100", "val", noise, labels, CLASSES)) is None
    assert copy_note(Pictures("CIFAR-10", "val", noise[1:], labels[1:], CLASSES)) is None
    with pytest.raises(DataError):
        copy_note(Pictures("CIFAR-10", "val", noise, labels, CLASSES))


def test_the_installed_file_knows_60_000_pictures_but_for_95() -> None:
    train, val = official.official("train"), official.official("val")
    assert (len(train.checksums), len(val.checksums)) == (50_000, 10_000)
    assert (train.lossy.sum(), val.lossy.sum()) == (75, 20)
    assert len(np.unique(train.checksums)) > 35_000  # 65,536 * (1 - exp(-50,000 / 65,536)): as of random numbers


def test_a_damaged_file_of_checksums_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "SHA256", "0" * 64)
    official._read.cache_clear()
    with pytest.raises(DataError, match=r"cifar10_pictures\.bin is damaged: its sha256 differs"):
        official.official("val")
