import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.errors import DataError
from reslab.core.text import printable
from reslab.data import folder
from reslab.data.folder import class_folders, is_picture, scan
from reslab.data.index import Index
from reslab.data.source import PictureFolder, Reading, find_data, load

CALM = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
NOBODY = 65534
FOREIGN = os.fsdecode(b"caf\xe9")


def put(root: Path, *paths: str | bytes) -> Path:
    """Files of as many bytes as their relative path has: a search does not look inside."""
    for path in map(os.fsdecode, paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.fsencode(path))
    return root


def paths_of(index: Index) -> list[str]:
    return [index.path(number) for number in range(len(index))]


def refusal(call: Callable[..., object], *arguments: object) -> str:
    """The line with which ``call`` refuses: one, and fit for every terminal."""
    with pytest.raises(DataError) as error:
        call(*arguments)
    text = str(error.value)
    assert text.isprintable()
    assert text.encode().decode() == text
    return text


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that others may enter, unlike pytest's."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    for path in (place, *place.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(place)


@contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if before == 0:
            os.seteuid(before)


def test_pictures_come_by_class_and_then_by_path(tmp_path: Path) -> None:
    put(tmp_path, "b/2.jpg", "b/10.jpg", "a/z.png", "a/B.gif", "a/sub/deep/x.webp", "c/1.tif")
    index = scan(tmp_path)
    assert paths_of(index) == ["a/B.gif", "a/sub/deep/x.webp", "a/z.png", "b/10.jpg", "b/2.jpg", "c/1.tif"]
    assert index.classes == ("a", "b", "c")
    assert index.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert index.sizes.tolist() == [len(path) for path in paths_of(index)]
    assert index.others == ()


def test_the_order_does_not_depend_on_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *(f"{name}/{number}.jpg" for name in "abc" for number in range(20)), "a/x.txt", "b/x.txt")
    first, real = scan(tmp_path), folder._entries
    for order in (lambda entries: entries[::-1], lambda entries: sorted(entries, key=lambda e: hash(e.name))):
        monkeypatch.setattr(folder, "_entries", lambda place, order=order: order(real(place)))
        again = scan(tmp_path)
        assert (paths_of(again), again.digest, again.others) == (paths_of(first), first.digest, first.others)


def test_what_else_lies_there_is_listed(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/notes.txt", "a/.hidden.jpg", "a/sub/Thumbs.db", "a/jpg", "a/2.jpg.bak", "b/1.jpg")
    put(tmp_path, b"b/caf\xe9\n.txt", "a/sub/._2.jpg")
    index = scan(tmp_path)
    assert paths_of(index) == ["a/1.jpg", "b/1.jpg"]
    assert index.others == (
        *("a/.hidden.jpg", "a/2.jpg.bak", "a/jpg", "a/notes.txt", "a/sub/._2.jpg", "a/sub/Thumbs.db"),
        "b/caf\\xe9\\n.txt",
    )


@pytest.mark.parametrize("part", ["", "train/"])
def test_no_picture_beside_the_class_folders_is_passed_over_unseen(part: str, tmp_path: Path) -> None:
    put(tmp_path, f"{part}a/1.jpg", f"{part}b/1.jpg", f"{part}loose.jpg")
    assert f"{part}loose.jpg" in scan(tmp_path, (part.rstrip("/") or ".",)).others


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".thumbnails"])
def test_hidden_folders_are_not_searched_and_are_listed(hidden: str, tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", f"a/{hidden}/1.jpg", "b/1.jpg")
    index = scan(tmp_path)
    assert paths_of(index) == ["a/1.jpg", "b/1.jpg"]
    assert len(index.others) == 1
    assert index.others[0].startswith(f"a/{hidden}")


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", ".git/1.jpg", "b/1.jpg")
    assert scan(tmp_path).classes == ("a", "b")


@pytest.mark.parametrize(
    "name", ["1.JPG", "1.Jpeg", "1.PNG", "1.tIfF", "1.jpe", "1.jfif", "1.dib", "a.b.webp", "é.gif"]
)
def test_suffixes_count_in_any_case(name: str) -> None:
    assert is_picture(name)


@pytest.mark.parametrize("name", ["jpg", ".jpg", ".a.jpg", "a.jpg~", "a.jpg.txt", "a.svg", "a", "a.jpgx", "a."])
def test_other_names_are_no_pictures(name: str) -> None:
    assert not is_picture(name)


def test_linked_class_folders_and_files_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "1.jpg", "sub/2.jpg")
    root = put(tmp_path / "root", "b/3.jpg")
    (root / "a").symlink_to("../elsewhere")
    (root / "b" / "more").symlink_to("../../elsewhere/sub")
    (root / "b" / "4.jpg").symlink_to("../../elsewhere/1.jpg")
    assert paths_of(scan(root)) == ["a/1.jpg", "a/sub/2.jpg", "b/3.jpg", "b/4.jpg", "b/more/2.jpg"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "../../root/a"])
def test_a_link_to_a_folder_around_it_is_refused(target: str, tmp_path: Path) -> None:
    root = put(tmp_path / "root", "a/1.jpg", "b/1.jpg")
    (root / "a" / "loop").symlink_to(target)
    assert refusal(scan, root) == f"{root}/a/loop is a link to a folder that contains it"


def test_a_loop_through_another_class_is_refused(tmp_path: Path) -> None:
    root = put(tmp_path / "root", "a/1.jpg", "b/1.jpg")
    (root / "a" / "x").symlink_to("../b")
    (root / "b" / "y").symlink_to("../a")
    assert "is a link to a folder that contains it" in refusal(scan, root)


def test_links_that_lead_nowhere_are_kept_for_the_reader_to_name(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "2.jpg").symlink_to("absent.jpg")
    (tmp_path / "a" / "3.jpg").symlink_to("3.jpg")
    index = scan(tmp_path)
    assert paths_of(index) == ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg"]
    assert index.sizes.tolist() == [7, -1, -1, 7]


@pytest.mark.parametrize("odd", ["x.jpg", "a/x.jpg", "a/sub/x.JPG"])
def test_a_folder_with_a_pictures_name_is_refused(odd: str, tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", f"{odd}/1.jpg", "b/1.jpg")
    assert refusal(scan, tmp_path) == f"{tmp_path}/{odd} is a folder with a picture's name"


@pytest.mark.parametrize("name", [b"two\nlines", b"caf\xe9", b"bell\x07", "right-to-left\u202eoverride".encode()])
def test_odd_names_are_kept_as_they_are_and_printed_on_one_line(name: bytes, tmp_path: Path) -> None:
    put(tmp_path, name + b"/" + name + b".jpg", "z/1.jpg")
    index = scan(tmp_path)
    assert printable(index.classes[0]) == printable(os.fsdecode(name))
    assert os.fsencode(index.path(0)) == name + b"/" + name + b".jpg"
    assert (tmp_path / index.path(0)).stat().st_size == index.sizes[0]
    (tmp_path / os.fsdecode(name) / "y.jpg").mkdir()
    assert "is a folder with a picture's name" in refusal(scan, tmp_path)


@CALM
@given(st.binary(min_size=1, max_size=40))
def test_printable_is_one_line_of_what_every_terminal_shows(name: bytes) -> None:
    shown = printable(os.fsdecode(name))
    assert shown.isprintable()
    assert shown.encode("utf-8").decode() == shown
    assert len(shown.splitlines()) == 1


@CALM
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20).filter(str.isprintable))
def test_printable_leaves_ordinary_names_alone(name: str) -> None:
    assert printable(name) == name


def test_a_folder_that_cannot_be_read_is_named(open_place: Path) -> None:
    put(open_place, "a/1.jpg", "b/sub/1.jpg")
    (open_place / "b" / "sub").chmod(0)
    with nobody():
        assert refusal(scan, open_place) == f"{open_place}/b/sub cannot be read: Permission denied"


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_root_that_cannot_be_read_is_named(mode: int, open_place: Path) -> None:
    root = put(open_place / "root", "a/1.jpg", "b/1.jpg")
    root.chmod(mode)
    with nobody():
        text = refusal(lambda: find_data(str(root)).read("all"))
    assert str(root) in text
    assert "Permission denied" in text


def test_a_folder_below_one_that_cannot_be_entered_is_named(open_place: Path) -> None:
    root = put(open_place / "closed" / "root", "a/1.jpg", "b/1.jpg")
    (open_place / "closed").chmod(0)
    with nobody():
        assert str(root) in refusal(find_data, str(root))


def test_a_folder_that_vanishes_while_it_is_searched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    monkeypatch.setattr(folder, "common_classes", lambda *_: ["a", "b", "c"])
    assert refusal(scan, tmp_path) == f"{tmp_path}/c cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a/1.jpg", "b/note.txt"], "class 'b' has no pictures"),
        (["a/1.jpg", "b/sub/note.txt"], "class 'b' has no pictures"),
        (["1.jpg", "2.png"], "holds no classes: its pictures lie in no class folders"),
        (["note.txt"], "holds no classes: it has no class folders"),
        ([".a/1.jpg"], "holds no classes: it has no class folders"),
        (["train/a/1.jpg"], "has train/ but no val/"),
        (["val/a/1.jpg", "other/1.jpg"], "has val/ but no train/"),
        (["train/a/1.jpg", "val/1.jpg"], "val holds no classes: its pictures lie in no class folders"),
        (["train/a/1.jpg", "val/a/note.txt"], "class 'a' has no pictures"),
        (["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg"], "different classes: only in train/: b"),
        (["train/a/1.jpg", "val/a/1.jpg", "val/b/1.jpg"], "different classes: only in val/: b"),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/c/1.jpg", "val/d/1.jpg"],
            "train/ and val/ have different classes: only in train/: a, b; only in val/: d",
        ),
        (["train/two\nlines/1.jpg", b"val/caf\xe9/1.jpg"], "only in train/: two\\nlines; only in val/: caf\\xe9"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_with_the_reason(
    paths: Sequence[str | bytes], message: str, tmp_path: Path
) -> None:
    root = put(tmp_path / "root", *paths)
    text = refusal(lambda: [find_data(str(root)).read(part) for part in ("train", "val")])
    assert message in text
    assert str(root) in text


@pytest.mark.parametrize(("name", "found"), [("absent", "does not exist"), ("file", "is not a folder")])
def test_what_is_no_folder_is_refused_with_what_would_be_one(name: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = refusal(find_data, str(tmp_path / name))
    assert text.startswith(f"{tmp_path / name} {found}; --data takes 'embedded', a folder of photographs")


def test_empty_folders_make_no_class_disappear(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg")
    (tmp_path / "b").mkdir()
    assert "class 'b' has no pictures" in refusal(scan, tmp_path)
    assert class_folders(tmp_path) == ["a", "b"]


def test_halves_share_their_classes_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "val/b/4.jpg", "test/c/5.jpg", "train/x.txt")
    source = find_data(str(tmp_path))
    assert isinstance(source, PictureFolder)
    assert source.halved
    assert (source.name, source.place) == ("folder", str(tmp_path))
    train, val, both = (source.read(part) for part in ("train", "val", "all"))
    assert paths_of(train.index) == ["train/a/1.jpg", "train/b/2.jpg"]
    assert paths_of(val.index) == ["val/a/3.jpg", "val/b/4.jpg"]
    assert paths_of(both.index) == ["train/a/1.jpg", "val/a/3.jpg", "train/b/2.jpg", "val/b/4.jpg"]
    assert {part.classes for part in (train, val, both)} == {("a", "b")}
    assert (train.name, train.split) == (tmp_path.name, "train")


def test_class_folders_alone_are_split(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in range(10)))
    train, val, both = (load(str(tmp_path), part) for part in ("train", "val", "all"))
    assert not PictureFolder(tmp_path).halved
    assert len(train) == 16
    assert len(val) == 4
    assert sorted(paths_of(train.index) + paths_of(val.index)) == sorted(paths_of(both.index))  # type: ignore[union-attr]


def test_a_folder_with_one_picture_a_class_can_hold_none_out(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    assert "has too few pictures to hold any out: give it a val/ folder" in refusal(load, str(tmp_path), "val")
    assert len(load(str(tmp_path), "train")) == 2


def test_a_search_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, *(f"{name}/{number}.jpg" for name in "ab" for number in range(5)))
    monkeypatch.setattr(folder, "REPORT_EVERY", 3)
    heard: list[int] = []
    PictureFolder(tmp_path).read("all", Reading(found=heard.append))
    assert heard == [3, 6, 9]
