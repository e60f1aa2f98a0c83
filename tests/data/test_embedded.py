import gzip
import hashlib
import importlib.util
import io
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from reslab.core.errors import DataError
from reslab.data import embedded as room
from reslab.data.embedded import embedded
from reslab.data.parts import Split

FOLDER = Path(room.__file__).parent
ARCHIVE = FOLDER / "fashion-mnist.zip"
SOURCE = Path("/usr/share/datasets/fashion-mnist")
TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_embedded.py"


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("build_embedded", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(("split", "each"), [("train", 1_200), ("val", 200)])
def test_each_class_has_its_share_of_grey_pictures(split: Split, each: int) -> None:
    pictures = embedded(split)
    assert (pictures.pixels.shape, pictures.pixels.dtype) == ((10 * each, 1, 28, 28), torch.uint8)
    assert (pictures.labels.shape, pictures.labels.dtype) == ((10 * each,), torch.int64)
    assert torch.bincount(pictures.labels).tolist() == [each] * 10
    assert (pictures.split, len(pictures.classes), len(pictures)) == (split, 10, 10 * each)


def test_the_pictures_are_those_we_know() -> None:
    train, val = embedded("train"), embedded("val")
    assert train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert val.labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert (train.classes[9], train.classes[0]) == ("Ankle boot", "T-shirt/top")
    assert int(train.pixels.max()) == 255
    assert 60 < train.pixels.float().mean() < 85


def test_no_training_picture_is_tested_on() -> None:
    seen = {picture.numpy().tobytes() for picture in embedded("train").pixels}
    assert len(seen) > 11_900
    assert sum(picture.numpy().tobytes() in seen for picture in embedded("val").pixels) <= 2


def test_the_archive_is_the_one_that_was_built_and_small() -> None:
    data = ARCHIVE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == room.SHA256
    assert len(data) < 8_000_000


def test_the_licence_lies_beside_the_pictures_and_among_them() -> None:
    beside = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    with zipfile.ZipFile(ARCHIVE) as archive:
        assert archive.read("LICENSE").decode() == beside
    assert "Copyright (c) 2017 Zalando SE" in beside
    assert "Permission is hereby granted, free of charge" in beside


def test_a_damaged_archive_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"fashion-mnist\.zip is damaged: its sha256 differs; install reslab again"):
        embedded("val")


def idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", size) for size in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def tiny(tmp_path: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tool, "PER_CLASS", {"train": 2, "t10k": 1})
    for split in ("train", "t10k"):
        labels = np.tile(np.arange(9, -1, -1, dtype=np.uint8), 4)
        idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", labels)
        pictures = np.arange(40, dtype=np.uint8)[:, None, None] + np.zeros((40, 3, 2), np.uint8)
        idx(tmp_path / f"{split}-images-idx3-ubyte.gz", pictures)
    return tmp_path


def test_the_first_of_each_class_are_kept_in_official_order(tiny: Path, tool: ModuleType) -> None:
    with zipfile.ZipFile(io.BytesIO(tool.build(tiny, b"free"))) as archive:
        assert archive.read("LICENSE") == b"free"
        for split, count in (("train", 20), ("t10k", 10)):
            labels = room._idx(archive.read(f"{split}-labels-idx1-ubyte"))
            pictures = room._idx(archive.read(f"{split}-images-idx3-ubyte"))
            assert pictures.shape == (count, 3, 2)
            assert pictures[:, 0, 0].tolist() == list(range(count))
            assert labels.tolist() == [9 - number % 10 for number in range(count)]


def test_the_first_of_each_class_skips_what_is_past_the_count(tool: ModuleType) -> None:
    labels = np.array([1, 1, 0, 1, *range(10), 0])
    assert tool.first_of_each_class(labels, 2).tolist() == [0, 1, 2, 4, *range(6, 14)]


def test_building_twice_gives_the_same_bytes_without_a_time_in_them(tiny: Path, tool: ModuleType) -> None:
    data = tool.build(tiny, b"free")
    assert tool.build(tiny, b"free") == data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_idx_files_are_written_as_they_are_read(tool: ModuleType, tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "x.gz").write_bytes(gzip.compress(tool.write_idx(array)))
    assert np.array_equal(tool.read_idx(tmp_path / "x.gz"), array)
    assert room._idx(tool.write_idx(array)).tolist() == array.tolist()


@pytest.mark.slow
def test_the_embedded_archive_is_rebuilt_byte_for_byte(tool: ModuleType) -> None:
    if not SOURCE.is_dir():
        pytest.skip(f"{SOURCE} is missing: it comes with Debian's package dataset-fashion-mnist")
    data = tool.build(SOURCE, (FOLDER / "LICENSE").read_bytes())
    assert hashlib.sha256(data).hexdigest() == room.SHA256


@pytest.mark.slow
def test_the_first_kept_picture_of_each_class_is_the_first_of_its_class(tool: ModuleType) -> None:
    if not SOURCE.is_dir():
        pytest.skip(f"{SOURCE} is missing: it comes with Debian's package dataset-fashion-mnist")
    labels = tool.read_idx(SOURCE / "train-labels-idx1-ubyte.gz").tolist()
    pictures = tool.read_idx(SOURCE / "train-images-idx3-ubyte.gz")
    train = embedded("train")
    for label in range(10):
        kept = train.pixels[train.labels.tolist().index(label), 0]
        assert np.array_equal(kept.numpy(), pictures[labels.index(label)])
