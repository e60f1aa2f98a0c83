"""Shards are read as the folder that was packed: same pictures, same order, same batches, same digest."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile import KINDS
from tests.tested import centre_views

from reslab.core.errors import DataError, PictureError, StorageError
from reslab.core.experiment import Photographs
from reslab.data.index import Index
from reslab.data.loader import CropBatch
from reslab.data.parts import Part
from reslab.data.photographs import PhotoFolder
from reslab.data.sharded import find_shards, store_at
from reslab.data.shards import INDEX, Shards, read_shards
from reslab.data.source import PictureFolder, Reading, find_data
from reslab.data.store import LocalFiles, ShardStore

CALM = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
COLUMNS = ("block", "ends", "labels", "sizes")
PARTS: tuple[Part, ...] = ("train", "val", "all")
Drawn = Callable[..., list[CropBatch]]
Digests = Callable[[Iterable[CropBatch]], list[str]]
FolderOf = Callable[..., Path]
Pack = Callable[..., Path]


def photos_at(place: Path, part: Part = "all", **how: Any) -> PhotoFolder:
    found = find_data(str(place)).read(part, Reading(**how))
    assert isinstance(found, PhotoFolder)
    return found


def same_index(first: Index, second: Index) -> bool:
    columns = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in COLUMNS)
    kinds = all(getattr(first, name).dtype == getattr(second, name).dtype for name in COLUMNS)
    return columns and kinds and (first.classes, first.digest) == (second.classes, second.digest)


def assert_same(place: Path, folder: Path, part: Part, **how: Any) -> None:
    ours, theirs = photos_at(place, part, **how), photos_at(folder, part, **how)
    assert isinstance(ours.store, ShardStore)
    assert same_index(ours.index, theirs.index)
    for number in range(len(theirs)):
        assert ours.store.read(number) == (folder / theirs.index.path(number)).read_bytes()


def whole(place: Path) -> Shards:
    return read_shards(place / INDEX)


def test_a_picture_of_every_kind_comes_back_byte_for_byte(packed: Pack, tmp_path: Path) -> None:
    for name in ("ash", "birch"):
        (tmp_path / "own" / name / "deeper").mkdir(parents=True)
        for kind in KINDS:
            path = kind.put(tmp_path / "own" / name)
            if not path.is_file() or not path.stat().st_size:
                path.rmdir() if path.is_dir() else path.unlink()
        next((tmp_path / "own" / name).glob("*.jpg")).rename(tmp_path / "own" / name / "deeper" / "UPPER.JPG")
    place = packed(tmp_path / "own", tmp_path / "shards")
    assert len(whole(place).files) > 3
    for part in PARTS:
        assert_same(place, tmp_path / "own", part, held_out=0.3)


@pytest.mark.parametrize("part", PARTS)
def test_the_halves_of_a_folder_are_those_of_its_shards(
    part: Part, folder_of: FolderOf, packed: Pack, tmp_path: Path
) -> None:
    for half, count in (("train", 4), ("val", 2)):
        folder_of(tmp_path / "trees" / half, pictures=count, seed=count)
    place = packed(tmp_path / "trees", tmp_path / "shards")
    assert sorted(path.name for path in place.iterdir()) == ["train", "val"]
    assert_same(place, tmp_path / "trees", part)


NAMES = st.text(st.characters(exclude_characters="/\0.", codec="utf-8"), min_size=1, max_size=8)


@CALM
@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, st.binary(min_size=1, max_size=3000), min_size=1), min_size=1),
    st.integers(1, 9000),
    st.data(),
)
def test_any_folder_is_read_from_its_shards(
    packed: Pack,
    tmp_path_factory: pytest.TempPathFactory,
    tree: dict[str, dict[str, bytes]],
    size: int,
    data: st.DataObject,
) -> None:
    root = tmp_path_factory.mktemp("any")
    for name, files in tree.items():
        (root / "own" / name).mkdir(parents=True)
        for title, content in files.items():
            (root / "own" / name / f"{title}.jpg").write_bytes(content)
    place = packed(root / "own", root / "shards", size)
    assert_same(place, root / "own", "all")
    found = whole(place)
    assert np.bincount(found.shards).min() >= 1
    number = data.draw(st.integers(0, len(found.index) - 1))
    assert photos_at(place).place(number).isprintable()


@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_batches_are_those_of_the_folder(
    decode: str, drawn: Drawn, digests: Digests, exact: Photographs, photos: PhotoFolder, shards: Path
) -> None:
    how = exact.but({"decode": decode})
    expected = digests(drawn(photos, how))
    found = photos_at(shards)
    for workers in (0, 2):  # the second time shards are open already, and workers inherit them
        assert digests(drawn(found, how, workers=workers)) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_tests_see_the_views_of_the_folder(workers: int, exact: Photographs, photos: PhotoFolder, shards: Path) -> None:
    for ours, theirs in zip(
        centre_views(photos_at(shards), exact.contract, 4, workers),
        centre_views(photos, exact.contract, 4),
        strict=True,
    ):
        assert torch.equal(ours.pixels, theirs.pixels)
        assert torch.equal(ours.indices, theirs.indices)


def test_any_tar_reader_finds_samples_in_mixed_order_with_nothing_of_their_maker(shards: Path) -> None:
    found, labels, numbers = whole(shards), [], []
    for place, file in enumerate(found.files):
        with tarfile.open(shards / file.name) as tar:
            members = tar.getmembers()
            for picture, label in zip(members[::2], members[1::2], strict=True):
                key, ending = picture.name.split(".")
                number = int(key)
                assert (label.name, ending) == (f"{key}.cls", "jpg")
                stored, told = tar.extractfile(picture), tar.extractfile(label)
                assert stored is not None
                assert told is not None
                assert stored.read() == photos_at(shards).store.read(number)
                assert (place, picture.offset_data) == (found.shards[number], found.offsets[number])
                labels.append(int(told.read()))
                numbers.append(number)
            for member in members:
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                assert member.mode == 0o644
    assert sorted(numbers) == list(range(15))
    assert numbers != sorted(numbers)
    assert labels == [number // 5 for number in numbers]
    assert len(set(labels[:5])) > 1


@pytest.mark.filterwarnings("ignore")  # its own
def test_webdataset_reads_them(shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    files = sorted(str(path) for path in shards.glob("*.tar"))
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("rgb8").to_tuple("jpg", "cls", "__key__"))
    assert len(samples) == 15
    for pixels, label, key in samples:
        number = int(key)
        assert label == number // 5
        assert pixels.shape[2] == 3
        assert pixels.size == 3 * np.prod(photos_at(shards).open(number)[1].upright)


def test_a_subset_has_the_chosen_pictures(shards: Path) -> None:
    photos = photos_at(shards)
    part = photos.subset(np.array([7, 0]))
    assert [part.index.path(number) for number in (0, 1)] == [photos.index.path(number) for number in (7, 0)]
    assert [part.store.read(number) for number in (0, 1)] == [photos.store.read(number) for number in (7, 0)]


def test_an_index_that_was_kept_finds_its_pictures_again(photos: PhotoFolder, shards: Path) -> None:
    kept = photos.index.subset(np.array([3, 9, 14]))
    found = store_at(str(shards), kept)
    assert [found.read(number) for number in range(3)] == [photos.store.read(number) for number in (3, 9, 14)]
    other = Index(kept.classes, kept.block, kept.ends, kept.labels, kept.sizes + 1)
    with pytest.raises(DataError, match="holds other pictures than those that were tested"):
        store_at(str(shards), other)


def test_open_shards_are_kept_open_and_closed_at_the_end(shards: Path) -> None:
    def opened() -> int:
        return sum(path.resolve().is_relative_to(shards) for path in list(Path("/proc/self/fd").iterdir()))

    photos = photos_at(shards)
    before = opened()
    for _ in range(3):
        for number in range(len(photos)):
            photos.store.read(number)
    assert opened() - before == len(whole(shards).files)
    del photos
    assert opened() == before


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


@pytest.fixture
def own(photos: PhotoFolder, packed: Pack, tmp_path: Path) -> Path:
    """Shards to be damaged."""
    return packed(getattr(photos.store, "root"), tmp_path / "own")  # noqa: B009 a folder's store has one


@pytest.mark.parametrize("workers", [0, 2])
def test_a_flipped_bit_is_found_when_the_picture_is_read_and_named(
    workers: int, drawn: Drawn, exact: Photographs, own: Path
) -> None:
    lies = whole(own).lies(4)
    flip(own / lies.file.name, lies.offset + lies.length // 2)
    says = rf"^{own}: ash/004\.jpg does not match its checksum: {lies.file.name} is damaged, or not"
    with pytest.raises(PictureError, match=says):
        drawn(photos_at(own), workers=workers)
    with pytest.raises(PictureError, match=says):
        list(centre_views(photos_at(own), exact.contract, 4, workers))
    replaced = [
        met for batch in drawn(photos_at(own), exact.but({"on_bad_picture": "replace"})) for met in batch.replaced
    ]
    assert {met.path for met in replaced} == {"ash/004.jpg"}


def test_a_shard_that_is_cut_after_it_was_opened_is_found_when_it_is_read(own: Path) -> None:
    photos, last = photos_at(own), whole(own).lies(4)
    os.truncate(own / last.file.name, last.offset + 3)
    with pytest.raises(PictureError, match=f"is not whole: {last.file.name} is cut short"):
        photos.store.read(4)
    (own / last.file.name).unlink()
    again = ShardStore("own", whole(own), LocalFiles(own))
    with pytest.raises(StorageError, match=rf"^shard {own}/{last.file.name} has gone: its disk, or it was moved$"):
        again.read(4)


def without_a_shard(own: Path) -> str:
    (own / "shard-00001.tar").unlink()
    return f"shard {own}/shard-00001.tar is missing: give the command that made these shards once more, and it makes"


def with_a_cut_shard(own: Path) -> str:
    size = (own / "shard-00001.tar").stat().st_size
    os.truncate(own / "shard-00001.tar", size - 1024)
    return f"shard {own}/shard-00001.tar has {size - 1024:,} bytes, not the {size:,} that its index says"


def with_an_empty_index(own: Path) -> str:
    (own / INDEX).write_bytes(b"")
    return f"the index of shards {own}/{INDEX} is damaged"


def with_a_flipped_bit_in_the_index(own: Path) -> str:
    flip(own / INDEX, (own / INDEX).stat().st_size - 5)
    return f"is damaged (it does not match its checksum): remove {own}, and the command that made these shards makes"


def with_other_words_in_the_index(own: Path) -> str:
    (own / INDEX).write_bytes((own / INDEX).read_bytes().replace(b"birch", b"beech"))
    return f"is damaged (it does not match its checksum): remove {own}, and the command that made these shards makes"


def with_a_cut_index(own: Path) -> str:
    os.truncate(own / INDEX, (own / INDEX).stat().st_size - 9)
    return f"the index of shards {own}/{INDEX} is damaged"


def of_a_stopped_packing(own: Path) -> str:
    (own / ".packing").mkdir()
    return f"{own} holds shards that are not finished: the command that began goes on with them"


@pytest.mark.parametrize(
    "damage",
    [
        *(without_a_shard, with_a_cut_shard, with_an_empty_index, with_a_flipped_bit_in_the_index),
        *(with_other_words_in_the_index, with_a_cut_index, of_a_stopped_packing),
    ],
)
def test_shards_that_do_not_fit_their_index_are_refused_when_they_are_opened(
    damage: Callable[[Path], str], own: Path
) -> None:
    says = damage(own)
    with pytest.raises(DataError) as error:
        photos_at(own)
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_the_index_of_other_shards_is_refused(own: Path, folder_of: FolderOf, packed: Pack, tmp_path: Path) -> None:
    other = packed(folder_of(tmp_path / "other", pictures=9, seed=9), tmp_path / "others", 20_000)
    (own / INDEX).write_bytes((other / INDEX).read_bytes())
    with pytest.raises(DataError, match=rf"shard {own}/shard-00000\.tar has [\d,]+ bytes, not"):
        photos_at(own)


def test_other_shards_of_the_same_sizes_are_found_when_they_are_read(own: Path) -> None:
    found = whole(own)
    changed(found, crcs=found.crcs[::-1].copy()).save(own / INDEX)
    photos = photos_at(own)
    with pytest.raises(PictureError, match=r"shard-0000\d\.tar is damaged, or not the shard that its index is of"):
        photos.store.read(0)


def changed(found: Shards, **changes: Any) -> Shards:
    values = {name: getattr(found, name) for name in ("index", "shards", "offsets", "crcs", "files", "facts")}
    return Shards(**{**values, **changes})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: {"shards": s.shards + 9}, "shards that are not listed"),
        (lambda s: {"offsets": s.offsets + 10**6}, "pictures beyond the ends of their shards"),
        (lambda s: {"offsets": s.offsets - 10**6}, "pictures beyond the ends of their shards"),
        (lambda s: {"crcs": s.crcs[:-1]}, "columns of different lengths"),
        (lambda s: {"crcs": s.crcs.astype(np.int64)}, "columns of other types"),
        (lambda s: {"files": (s.files[0]._replace(name="../shard-00000.tar"), *s.files[1:])}, "shards outside"),
        (lambda s: {"files": (s.files[0]._replace(name="/etc/passwd"), *s.files[1:])}, "shards outside"),
    ],
)
def test_an_index_that_is_no_index_is_refused_although_its_checksum_is_right(
    change: Callable[[Shards], dict[str, Any]], says: str, own: Path
) -> None:
    found = whole(own)
    changed(found, **change(found)).save(own / INDEX)
    with pytest.raises(DataError, match=says):
        read_shards(own / INDEX)


def test_halves_of_different_packings_are_refused(folder_of: FolderOf, packed: Pack, tmp_path: Path) -> None:
    for half, classes in (("train", ("ash", "birch")), ("val", ("ash", "cedar"))):
        packed(folder_of(tmp_path / half, classes, pictures=2), tmp_path / "both" / half)
    with pytest.raises(DataError, match="train and val were not packed together"):
        photos_at(tmp_path / "both", "val")


def test_a_half_that_has_gone_is_said_to_be_missing(folder_of: FolderOf, packed: Pack, tmp_path: Path) -> None:
    packed(folder_of(tmp_path / "one", ("ash", "birch"), pictures=2), tmp_path / "both" / "train")
    with pytest.raises(DataError, match=f"both has no val/{INDEX}: add that half; for train alone, name .*both/train$"):
        photos_at(tmp_path / "both", "train")


def test_a_folder_without_an_index_has_no_shards(folder_of: FolderOf, tmp_path: Path) -> None:
    assert find_shards(str(folder_of(tmp_path / "own", pictures=2))) is None
    assert isinstance(find_data(str(tmp_path / "own")), PictureFolder)


@pytest.mark.slow
def test_the_index_of_a_million_pictures_takes_less_than_200_megabytes() -> None:
    """In a process of its own; how long that takes is measured and not tested."""
    tool = Path(__file__).parents[2] / "tools" / "shard_index.py"
    done = subprocess.run([sys.executable, str(tool), "--rounds", "1"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["pictures"] == 1_281_167
    assert 0 < found["held"] <= found["grown"] < 200 * 10**6
