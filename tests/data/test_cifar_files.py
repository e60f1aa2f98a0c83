import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from reslab.core.errors import DataError
from reslab.data import official, source
from reslab.data.cifar import CIFAR10, CIFAR100, Layout, read_cifar
from reslab.data.official import copy_note
from reslab.data.source import find_data, load

LABELS = {"train": [2, 0, 1, 1, 2, 0], "val": [1, 2, 0]}
SMALL10 = replace(
    CIFAR10,
    classes=3,
    files={"train": ("data_batch_1.bin", "data_batch_2.bin"), "val": ("test_batch.bin",)},
    records={"train": 6, "val": 3},
    label_digests={"train": sha256(bytes(LABELS["train"])).hexdigest()},
)
SMALL100 = replace(CIFAR100, classes=3, records={"train": 6, "val": 3})


def pixels_of(split: str) -> np.ndarray:
    count = len(LABELS[split])
    return np.random.default_rng(count).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def write(folder: Path, layout: Layout) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, files in layout.files.items():
        coarse = [b"\x13"] if layout.label_bytes == 2 else [b""]
        records = [
            b"".join([*coarse, bytes([label]), picture.tobytes()])
            for label, picture in zip(LABELS[split], pixels_of(split), strict=True)
        ]
        share = len(records) // len(files)
        for number, file in enumerate(files):
            (folder / file).write_bytes(b"".join(records[number * share : (number + 1) * share]))
    (folder / layout.names).write_text("cat\ndog\nfrog\n\n", encoding="utf-8")
    return folder


def change_byte(file: Path, place: int, value: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] = value
    file.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "cifar", SMALL10)


@pytest.mark.parametrize("layout", [SMALL10, SMALL100], ids=["10", "100"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_good_folder_is_read_in_official_order(tmp_path: Path, layout: Layout, split: source.Split) -> None:
    pictures = read_cifar(write(tmp_path, layout), layout, split)
    assert np.array_equal(pictures.pixels.numpy(), pixels_of(split))
    assert pictures.pixels.is_contiguous()
    assert pictures.labels.tolist() == LABELS[split]
    assert (pictures.labels.dtype, pictures.pixels.dtype) == (torch.int64, torch.uint8)
    assert (pictures.name, pictures.split, pictures.classes) == (layout.name, split, ("cat", "dog", "frog"))


@pytest.mark.parametrize("change", [-1, 1, 3073])
def test_a_file_of_a_wrong_size_is_named(folder: Path, change: int) -> None:
    file = folder / "data_batch_2.bin"
    data = file.read_bytes()
    file.write_bytes(data[:change] if change < 0 else data + bytes(change))
    found = rf"data_batch_2\.bin has {9219 + change:,} bytes"
    message = rf"{found}; CIFAR-10's binary layout has 9,219 \(3 records of 3,073\)"
    with pytest.raises(DataError, match=message):
        read_cifar(folder, SMALL10, "train")


def test_a_label_out_of_range_is_named_with_its_record(folder: Path) -> None:
    change_byte(folder / "data_batch_2.bin", 3073, 7)
    with pytest.raises(DataError, match=r"data_batch_2\.bin: record 1 has label 7; CIFAR-10 has labels 0 to 2"):
        read_cifar(folder, SMALL10, "train")


def test_unbalanced_classes_are_refused(folder: Path) -> None:
    change_byte(folder / "test_batch.bin", 0, 0)
    with pytest.raises(DataError, match="cifar: class 0 has 2 val pictures; CIFAR-10 has 1"):
        read_cifar(folder, SMALL10, "val")


def test_swapped_labels_are_refused(folder: Path) -> None:
    change_byte(folder / "data_batch_1.bin", 0, LABELS["train"][1])
    change_byte(folder / "data_batch_1.bin", 3073, LABELS["train"][0])
    with pytest.raises(DataError, match="cifar: the train labels are not CIFAR-10's in their official order"):
        read_cifar(folder, SMALL10, "train")


@pytest.mark.parametrize("file", ["data_batch_2.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(DataError, match=rf"^cannot read .*{file}.*"):
        read_cifar(folder, SMALL10, "train")


@pytest.mark.parametrize(("names", "found"), [("cat\ndog\n", "2 class names"), ("cat\n", "1 class name")])
def test_class_names_must_be_as_many_as_the_classes(names: str, found: str, folder: Path) -> None:
    (folder / "batches.meta.txt").write_text(names, encoding="utf-8")
    with pytest.raises(DataError, match=rf"batches\.meta\.txt has {found}; CIFAR-10 has 3"):
        read_cifar(folder, SMALL10, "train")


def test_class_names_must_be_text(folder: Path) -> None:
    (folder / "batches.meta.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"cannot read .*batches\.meta\.txt"):
        read_cifar(folder, SMALL10, "val")


def test_cifar_100_counts_the_fine_label_and_not_the_coarse(tmp_path: Path) -> None:
    folder = write(tmp_path, SMALL100)
    assert folder.joinpath("train.bin").read_bytes()[0] == 0x13
    change_byte(folder / "train.bin", 3074, 0)
    assert read_cifar(folder, SMALL100, "train").labels.tolist() == LABELS["train"]
    change_byte(folder / "train.bin", 3075, 9)
    with pytest.raises(DataError, match=r"train\.bin: record 1 has label 9; CIFAR-100 has labels 0 to 2"):
        read_cifar(folder, SMALL100, "train")


def test_the_official_layouts_are_those_of_the_data_sets() -> None:
    assert (CIFAR10.classes, CIFAR10.label_bytes, CIFAR100.classes, CIFAR100.label_bytes) == (10, 1, 100, 2)
    assert CIFAR10.records == CIFAR100.records == {"train": 50_000, "val": 10_000}
    assert CIFAR10.files["train"][4] == "data_batch_5.bin"


def test_an_official_file_of_a_few_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(b"short")
    message = r"data_batch_1\.bin has 5 bytes; CIFAR-10's binary layout has 30,730,000 \(10,000 records of 3,073\)"
    with pytest.raises(DataError, match=message):
        load(str(tmp_path))


def test_embedded_is_found_and_read() -> None:
    found = find_data("embedded")
    assert (found.name, found.place) == ("embedded", "embedded")
    assert len(found.read("val")) == len(load("embedded", "val")) == 2_000


@pytest.mark.parametrize(
    ("name", "layout", "usual"),
    [("cifar10", SMALL10, "cifar-10-batches-bin"), ("cifar100", SMALL100, "cifar-100-binary")],
)
def test_a_folder_and_the_folder_around_it_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: Layout, usual: str
) -> None:
    monkeypatch.setitem(source.CIFAR, name, (layout, usual))
    inner = write(tmp_path / usual, layout)
    for path in (inner, tmp_path):
        found = find_data(str(path))
        assert (found.name, found.place) == (name, usual)
        assert found.read("val").labels.tolist() == LABELS["val"]
    assert load(str(tmp_path)).split == "train"


def test_a_missing_path_is_refused_with_what_would_do(tmp_path: Path) -> None:
    message = r"absent does not exist; --data takes 'embedded', a folder of photographs"
    with pytest.raises(DataError, match=message):
        find_data(str(tmp_path / "absent"))


@pytest.mark.parametrize(("kind", "message"), [("folder", "lie in no class folders"), ("file", "is not a folder")])
def test_a_place_without_classes_is_refused(tmp_path: Path, kind: str, message: str) -> None:
    (tmp_path / "holiday.jpg").touch()
    place = tmp_path if kind == "folder" else tmp_path / "holiday.jpg"
    with pytest.raises(DataError, match=message):
        find_data(str(place))


@pytest.mark.data
@pytest.mark.parametrize(("split", "count", "first"), [("train", 50_000, 6), ("val", 10_000, 3)])
def test_the_real_cifar_10_is_read(real_cifar10: Path, split: source.Split, count: int, first: int) -> None:
    pictures = load(str(real_cifar10), split)
    assert pictures.pixels.shape == (count, 3, 32, 32)
    assert torch.bincount(pictures.labels).tolist() == [count // 10] * 10
    assert int(pictures.labels[0]) == first
    assert (pictures.classes[6], pictures.classes[3]) == ("frog", "cat")


@pytest.mark.data
@pytest.mark.parametrize(("split", "part"), [("train", "train"), ("val", "test")])
def test_the_copy_at_hand_has_as_many_lossy_pictures_as_its_list_says(
    real_cifar10: Path, split: source.Split, part: str
) -> None:
    lossy = Path(os.environ["RESLAB_DATA"], "cifar10", f"{part}_inexact_index.txt").read_text().split()
    pictures = read_cifar(real_cifar10 / "cifar-10-batches-bin", CIFAR10, split)
    note = f"CIFAR-10 {split}: {len(lossy)} of {len(pictures):,} pictures are not the official ones"
    assert (copy_note(pictures) or "").startswith(note)


@pytest.mark.data
def test_the_tool_writes_the_checksums_that_are_installed(real_cifar10: Path, tmp_path: Path) -> None:
    lists = Path(os.environ["RESLAB_DATA"], "cifar10")
    out, tool = tmp_path / "checksums.bin", Path(__file__).parents[2] / "tools" / "cifar10_checksums.py"
    lossy = ("--lossy-train", lists / "train_inexact_index.txt", "--lossy-val", lists / "test_inexact_index.txt")
    subprocess.run([sys.executable, tool, real_cifar10 / "cifar-10-batches-bin", *lossy, "--out", out], check=True)
    assert sha256(out.read_bytes()).hexdigest() == official.SHA256


@pytest.mark.data
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), r"test_batch\.bin has 30,729,999 bytes"),
        (lambda file: change_byte(file, 0, 10), r"test_batch\.bin: record 0 has label 10"),
        (lambda file: change_byte(file, 0, 8), r"class 3 has 999 val pictures; CIFAR-10 has 1,000"),
    ],
    ids=["cut", "label", "balance"],
)
def test_damage_to_the_real_cifar_10_is_noticed(
    real_cifar10: Path, damage: Callable[[Path], None], message: str
) -> None:
    file = real_cifar10 / "cifar-10-batches-bin" / "test_batch.bin"
    whole = file.read_bytes()
    try:
        damage(file)
        with pytest.raises(DataError, match=message):
            load(str(real_cifar10), "val")
    finally:
        file.write_bytes(whole)


def test_class_names_must_differ(folder: Path) -> None:
    (folder / "batches.meta.txt").write_text("cat\ndog\ncat\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"batches\.meta\.txt names 'cat' twice"):
        read_cifar(folder, SMALL10, "train")
