"""Folders of photographs without classes."""

from pathlib import Path

import pytest

from reslab.core.errors import DataError
from reslab.data.index import read_index
from reslab.data.source import PictureFolder, Reading, find_data
from reslab.data.unlabelled import UnlabelledFolder, find_answered


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def test_pictures_come_by_name_without_labels(tmp_path: Path) -> None:
    put(tmp_path, "test_10.JPEG", "test_02.JPEG", "readme.txt", ".hidden.jpg", ".cache/x.jpg")
    source = find_answered(str(tmp_path))
    assert isinstance(source, UnlabelledFolder)
    index = source.read("all").index
    assert [index.path(number) for number in range(len(index))] == ["test_02.JPEG", "test_10.JPEG"]
    assert (index.classes, index.labels.tolist(), index.sizes.tolist()) == ((), [-1, -1], [12, 12])
    assert index.others == (".hidden.jpg", "readme.txt")
    index.save(tmp_path / "index")
    assert read_index(tmp_path / "index").digest == index.digest


def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reslab.data.folder.REPORT_EVERY", 2)
    told: list[int] = []
    put(tmp_path, *(f"{number}.jpg" for number in range(5)))
    find_answered(str(tmp_path)).read("all", Reading(found=told.append))
    assert told == [2, 4]


def test_class_folders_and_other_data_are_what_they_were(tmp_path: Path) -> None:
    put(tmp_path, "beside.jpg", "a/1.jpg")
    assert isinstance(find_answered(str(tmp_path)), PictureFolder)
    assert find_answered("embedded").name == "embedded"


@pytest.mark.parametrize("paths", [(), ("notes.txt",)], ids=["empty", "no pictures"])
def test_a_folder_without_pictures_is_refused_as_ever(paths: tuple[str, ...], tmp_path: Path) -> None:
    put(tmp_path, *paths)
    with pytest.raises(DataError, match="holds no classes: it has no class folders"):
        find_answered(str(tmp_path))
    with pytest.raises(DataError, match="does not exist"):
        find_answered(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("part", ["train", "val"])
def test_there_is_no_part_of_it(part: str, tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    with pytest.raises(DataError, match=f"has no classes, so it has no part {part}: leave --split out"):
        find_answered(str(tmp_path)).read(part)  # type: ignore[arg-type]  # of the two that there are


def test_it_is_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its pictures lie in no class folders"):
        find_data(str(put(tmp_path, "1.jpg")))


def test_a_broken_link_is_a_picture_that_cannot_be_read_yet(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    (tmp_path / "2.jpg").symlink_to("nowhere")
    assert find_answered(str(tmp_path)).read("all").index.sizes.tolist() == [5, -1]
