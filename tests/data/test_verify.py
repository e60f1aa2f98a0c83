"""What `verify` says of folders of photographs: counts, defects, notes, other files."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.hostile import nobody
from tests.picture_bytes import deep_grey, exif, image, moving, png, saved, see_through, sized_jpeg

from reslab.core.errors import DataError, WorkerError
from reslab.core.text import printable
from reslab.data import folder, verify
from reslab.data.decode import decode
from reslab.data.source import HALVES
from reslab.data.verify import CHUNK, SMALLEST, Remark, Verification

SIDE = SMALLEST  # pixels: of a picture about which nothing is to be said
ACROSS = ", so it is trained on and tested on"
ALONE = (".",)


def picture(path: Path, seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """A picture about which nothing is to be said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize(size).save(path)
    return path


def pictures(root: Path, *paths: str) -> Path:
    for seed, path in enumerate(paths):
        picture(root / path, seed)
    return root


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with three pictures in train/ and two in val/; nobody may change them."""
    root = tmp_path_factory.mktemp("sound") / "trees"
    names = [f"train/{name}/{number}.jpg" for name in ("ash", "birch") for number in range(3)]
    return pictures(root, *names, *(f"val/{name}/{number}.jpg" for name in ("ash", "birch") for number in range(2)))


@pytest.fixture
def own(sound: Path, tmp_path: Path) -> Path:
    """The same pictures, to be changed."""
    shutil.copytree(sound, tmp_path / "trees")
    return tmp_path / "trees"


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that others may enter, unlike pytest's."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    for path in [place, *place.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(place)


def verified(root: Path, parts: tuple[str, ...] = HALVES, workers: int = 0) -> Verification:
    return verify.verify(root, parts, workers, pytest.fail)


def test_a_sound_folder_has_its_counts_and_nothing_else(sound: Path) -> None:
    found = verified(sound)
    assert (found.root, found.classes, found.pictures) == (sound, ["ash", "birch"], 10)
    assert found.counts == {"train": {"ash": 3, "birch": 3}, "val": {"ash": 2, "birch": 2}}
    assert found.size == sum(path.stat().st_size for path in sound.rglob("*.jpg"))
    assert (found.defects, found.notes, found.others) == ([], [], [])


def test_class_folders_alone_are_one_part(sound: Path) -> None:
    found = verified(sound / "val", ALONE)
    assert found.counts == {".": {"ash": 2, "birch": 2}}
    assert (found.pictures, found.defects) == (4, [])


def test_classes_come_in_the_order_of_their_labels(tmp_path: Path) -> None:
    names = ("Zelkova", "ash", "10", "9", "älm", "a b")
    pictures(tmp_path, *(f"{name}/1.jpg" for name in names))
    assert verified(tmp_path, ALONE).classes == ["10", "9", "Zelkova", "a b", "ash", "älm"]


def test_sub_folders_belong_to_their_class(own: Path) -> None:
    picture(own / "train/ash/old/er/1.png", 20)
    assert verified(own).counts["train"] == {"ash": 4, "birch": 3}


Plant = Callable[[Path], None]


def truncated(root: Path) -> None:
    path = root / "train/ash/1.jpg"
    path.write_bytes(path.read_bytes()[:-100])


def bomb(root: Path) -> None:
    path = root / "val/birch/1.jpg"
    path.write_bytes(sized_jpeg(path.read_bytes(), 65500, 65500))


def emptied(root: Path) -> None:
    (root / "train/ash/1.jpg").write_bytes(b"")


def text(root: Path) -> None:
    (root / "train/birch/0.jpg").write_text("no picture\n")


def copy(of: str, to: str, root: Path) -> None:
    shutil.copy(root / of, root / to)


def only_in(part: str, root: Path) -> None:
    picture(root / part / "cedar/0.jpg", 30)


def empty_class(root: Path) -> None:
    shutil.rmtree(root / "val/birch")
    (root / "val/birch").mkdir()


def class_of_other_files(root: Path) -> None:
    empty_class(root)
    (root / "val/birch/notes.txt").write_text("gone")


def folder_named_as_a_picture(root: Path) -> None:
    picture(root / "val/ash/9.jpg/0.jpg", 30)


def link_upwards(root: Path) -> None:
    (root / "train/ash/again").symlink_to("..")


def link_to_the_root(root: Path) -> None:
    (root / "train/ash/again").symlink_to(root)


def link_to_itself(root: Path) -> None:
    (root / "train/ash/again.jpg").symlink_to("again.jpg")


def broken_link(root: Path) -> None:
    (root / "train/ash/gone.jpg").symlink_to("/nowhere/gone.jpg")


def linked_twice(root: Path) -> None:
    (root / "train/birch/a.jpg").symlink_to("../ash/0.jpg")


def fifo(root: Path) -> None:
    os.mkfifo(root / "val/ash/pipe.jpg")


SAME = "has the same bytes as"


@pytest.mark.parametrize(
    ("plant", "path", "what"),
    [
        (truncated, "train/ash/1.jpg", "is damaged: Premature end of JPEG file"),
        (bomb, "val/birch/1.jpg", "claims 65,500 x 65,500 pixels, more than 89,478,485"),
        (emptied, "train/ash/1.jpg", "is empty"),
        (text, "train/birch/0.jpg", "is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture"),
        (partial(copy, "train/ash/1.jpg", "train/ash/9.jpg"), "train/ash/9.jpg", f"{SAME} train/ash/1.jpg"),
        (partial(copy, "train/ash/1.jpg", "train/birch/9.jpg"), "train/birch/9.jpg", f"{SAME} train/ash/1.jpg"),
        (partial(copy, "train/ash/1.jpg", "val/ash/9.jpg"), "val/ash/9.jpg", f"{SAME} train/ash/1.jpg{ACROSS}"),
        (partial(copy, "val/birch/1.jpg", "train/ash/9.jpg"), "val/birch/1.jpg", f"{SAME} train/ash/9.jpg{ACROSS}"),
        (partial(copy, "val/birch/1.jpg", "val/ash/9.jpg"), "val/birch/1.jpg", f"{SAME} val/ash/9.jpg"),
        (linked_twice, "train/birch/a.jpg", f"{SAME} train/ash/0.jpg"),
        (partial(only_in, "train"), "val/cedar", "is missing: this class is only in train/"),
        (partial(only_in, "val"), "train/cedar", "is missing: this class is only in val/"),
        (empty_class, "val/birch", "has no pictures"),
        (class_of_other_files, "val/birch", "has no pictures"),
        (folder_named_as_a_picture, "val/ash/9.jpg", "is a folder with a picture's name"),
        (link_upwards, "train/ash/again", "is a link to a folder that contains it"),
        (link_to_the_root, "train/ash/again", "is a link to a folder that contains it"),
        (link_to_itself, "train/ash/again.jpg", "cannot be read: Too many levels of symbolic links"),
        (broken_link, "train/ash/gone.jpg", "cannot be read: No such file or directory"),
        (fifo, "val/ash/pipe.jpg", "is not a regular file"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_defect_is_named_once_and_nothing_else_is(plant: Plant, path: str, what: str, own: Path) -> None:
    plant(own)
    found = verified(own)
    assert found.defects == [Remark(path, what)]
    assert found.notes == []


def test_a_link_round_about_through_another_class_is_a_defect(own: Path) -> None:
    (own / "train/ash/x").symlink_to("../birch")
    (own / "train/birch/y").symlink_to("../ash")
    loops = [remark.path for remark in verified(own).defects if "contains it" in remark.what]
    assert loops == ["train/ash/x/y", "train/birch/y/x"]


def test_a_folder_that_cannot_be_read_is_a_defect(open_place: Path) -> None:
    pictures(open_place, "ash/0.jpg", "ash/closed/1.jpg", "birch/2.jpg")
    (open_place / "ash/closed").chmod(0)
    with nobody():
        found = verified(open_place, ALONE)
    assert found.defects == [Remark("ash/closed", "cannot be read: Permission denied")]
    assert found.pictures == 2


def test_a_class_is_empty_whatever_is_wrong_with_one_whose_name_begins_alike(tmp_path: Path) -> None:
    for folder_name in ("train/ash", "train/ashen", "val/ash"):
        (tmp_path / folder_name).mkdir(parents=True)
    found = verify.verify(tmp_path, HALVES, 0, pytest.fail)
    assert {Remark("val/ashen", "is missing: this class is only in train/"), Remark("val/ash", "has no pictures")} <= {
        *found.defects
    }


def test_of_a_class_that_cannot_be_read_nobody_says_that_it_is_empty(open_place: Path) -> None:
    pictures(open_place, "ash/0.jpg", "birch/1.jpg")
    (open_place / "ash").chmod(0)
    with nobody():
        found = verified(open_place, ALONE)
    assert found.defects == [Remark("ash", "cannot be read: Permission denied")]


def test_a_file_that_cannot_be_read_is_a_defect(open_place: Path) -> None:
    pictures(open_place, "ash/0.jpg", "birch/1.jpg")
    (open_place / "ash/0.jpg").chmod(0)
    with nobody():
        found = verified(open_place, ALONE)
    assert found.defects == [Remark("ash/0.jpg", "cannot be read: Permission denied")]


def test_each_further_copy_is_named_with_the_first(own: Path) -> None:
    for to in ("train/birch/9.jpg", "train/birch/8.jpg", "val/ash/9.jpg"):
        copy("train/ash/1.jpg", to, own)
    same = f"{SAME} train/ash/1.jpg"
    assert verified(own).defects == [
        Remark("train/birch/8.jpg", same),
        Remark("train/birch/9.jpg", same),
        Remark("val/ash/9.jpg", same + ACROSS),
    ]


def test_only_train_and_val_are_sides(tmp_path: Path) -> None:
    pictures(tmp_path, "train/0.jpg", "validation/1.jpg")
    copy("train/0.jpg", "validation/2.jpg", tmp_path)
    assert verified(tmp_path, ALONE).defects == [Remark("validation/2.jpg", f"{SAME} train/0.jpg")]


def test_empty_files_are_empty_not_copies(own: Path) -> None:
    for path in ("train/ash/0.jpg", "train/ash/1.jpg", "val/ash/0.jpg"):
        (own / path).write_bytes(b"")
    assert {remark.what for remark in verified(own).defects} == {"is empty"}


def test_several_defects_come_by_path(own: Path) -> None:
    for plant in (fifo, broken_link, emptied, text, empty_class, partial(only_in, "val"), link_upwards):
        plant(own)
    paths = [remark.path for remark in verified(own).defects]
    assert paths == sorted(paths)
    assert len(paths) == 7


def large(kind: str = "JPEG", mode: str = "RGB", **options: object) -> bytes:
    return saved(kind, image(mode).resize((SIDE, SIDE)), **options)


def wide(width: int, height: int, **options: object) -> bytes:
    return saved("JPEG", image().resize((width, height)), **options)


SMALL_DEEP = "small, 40x24: it is enlarged"
NARROW = "small, 20x300: it is enlarged, long, 20x300: a crop shows little of it"


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("x.jpg", partial(large, mode="L"), "grey"),
        ("x.jpg", partial(large, mode="CMYK"), "CMYK"),
        ("x.jpg", partial(large, exif=exif(6)), "EXIF orientation 6"),
        ("x.jpg", partial(large, "PNG"), "PNG named .jpg"),
        ("x.JPG", partial(large, "WEBP"), "WEBP named .JPG"),
        ("x.png", large, "JPEG named .png"),
        ("x.png", partial(large, "PNG", "P"), "palette"),
        ("x.png", lambda: saved("PNG", see_through().resize((SIDE, SIDE))), "alpha"),
        ("x.png", lambda: png(deep_grey(), 16, 0), f"16-bit, grey, {SMALL_DEEP}"),
        ("x.gif", lambda: moving("GIF"), f"several frames, {SMALL_DEEP}"),
        ("x.jpg", partial(wide, SIDE, SIDE - 1), f"small, {SIDE}x{SIDE - 1}: it is enlarged"),
        ("x.jpg", partial(wide, 300, 20, exif=exif(6)), f"EXIF orientation 6, {NARROW}"),
        ("x.jpg", partial(wide, 4 * SIDE + 1, SIDE), f"long, {4 * SIDE + 1}x{SIDE}: a crop shows little of it"),
    ],
)
def test_what_is_handled_is_a_note(name: str, data: Callable[[], bytes], what: str, own: Path) -> None:
    (own / "train/ash" / name).write_bytes(data())
    found = verified(own)
    assert found.defects == []
    assert found.notes == [Remark(f"train/ash/{name}", what)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.JPG", large),
        ("x.jfif", large),
        ("x.Jpe", large),
        ("x.dib", partial(large, "BMP")),
        ("x.TIFF", partial(large, "TIFF")),
        ("x.gif", partial(large, "GIF")),
        ("x.webp", partial(large, "WEBP")),
        ("x.jpg", partial(large, exif=exif(1))),
        ("x.jpg", partial(wide, 4 * SIDE, SIDE)),
    ],
)
def test_nothing_is_said_of_what_is_usual(name: str, data: Callable[[], bytes], own: Path) -> None:
    (own / "train/ash" / name).write_bytes(data())
    found = verified(own)
    assert (found.defects, found.notes, found.pictures) == ([], [], 11)


def test_other_files_are_listed(own: Path) -> None:
    others = ("train/ash/notes.txt", "val/birch/sub/Thumbs.db", "train/birch/.hidden.jpg", "val/ash/0.jpg.bak")
    for path in others:
        (own / path).parent.mkdir(exist_ok=True)
        (own / path).write_text("x")
    found = verified(own)
    assert found.others == sorted(others)
    assert (found.defects, found.pictures) == ([], 10)


def test_pictures_beside_the_class_folders_are_listed(own: Path) -> None:
    picture(own / "train/loose.jpg", 40)
    found = verified(own)
    assert found.others == ["train/loose.jpg"]
    assert found.pictures == 10


def test_a_class_folder_that_is_a_broken_link_is_named(own: Path) -> None:
    (own / "train/cedar").symlink_to("/nowhere/cedar")
    found = verified(own)
    assert "train/cedar" in [*(remark.path for remark in found.defects), *found.others]


def test_the_order_does_not_depend_on_the_disks(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in HALVES:
        for name in ("z.txt", "a.txt", "k.txt"):
            (own / part / "ash" / name).write_text("x")
    first, real = verified(own), folder._entries
    monkeypatch.setattr(folder, "_entries", lambda place: real(place)[::-1])
    assert verified(own) == first


def test_names_are_fit_to_be_printed(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9\nx")
    picture(tmp_path / odd / "0.jpg", 0)
    (tmp_path / odd / "1.jpg").write_bytes(b"")
    (tmp_path / odd / "2\x1b[31m.txt").write_bytes(b"")
    copy(f"{odd}/0.jpg", f"{odd}/3.jpg", tmp_path)
    found = verified(tmp_path, ALONE)
    assert [remark.path for remark in found.defects] == [printable(f"{odd}/{number}.jpg") for number in (1, 3)]
    assert found.others == ["caf\\xe9\\nx/2\\x1b[31m.txt"]
    for line in (*found.defects[0], *found.defects[1], *found.others):
        assert line.isprintable()
        assert line.encode()


@pytest.fixture
def many(own: Path) -> Path:
    """More than one task, with something of every sort."""
    for number in range(2 * CHUNK):
        (own / f"train/birch/{number:03}.png").write_bytes(saved("PNG", image().crop((0, 0, 9, 1 + number % 20))))
    for plant in (truncated, emptied, text, empty_class, fifo, broken_link, link_upwards, linked_twice):
        plant(own)
    return own


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_finds_the_same(workers: int, many: Path) -> None:
    found = verified(many, workers=workers)
    assert found == verified(many)
    assert found.pictures > 2 * CHUNK


def test_it_tells_how_far_it_is(many: Path) -> None:
    heard: list[tuple[int, int]] = []
    found = verify.verify(many, HALVES, 0, pytest.fail, lambda done, total: heard.append((done, total)))
    assert heard[-1] == (found.pictures, found.pictures)
    assert [done for done, _ in heard[:2]] == [CHUNK, 2 * CHUNK]


def kills(path: Path, times: int, place: Path) -> Callable[..., object]:
    """A decoder that dies at the file ``path``, that many times; ``place`` is where it counts."""
    wanted = path.read_bytes()

    def dying(data: bytes, *rest: object) -> object:
        if data == wanted and (before := len(list(place.iterdir()))) < times:
            (place / str(before)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, *rest)  # type: ignore[arg-type]

    return dying


def test_a_decoder_that_dies_is_replaced_and_nothing_changes(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deaths").mkdir()
    expected = verified(own)
    monkeypatch.setattr(verify, "decode", kills(own / "val/ash/1.jpg", 2, tmp_path / "deaths"))
    heard: list[str] = []
    assert verify.verify(own, HALVES, 2, heard.append) == expected
    assert len(heard) == 2
    assert all(f"died (SIGKILL) at {own}/val/ash/1.jpg; it was replaced" in line for line in heard)


def test_a_picture_at_which_three_decoders_die_stops_with_its_name(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deaths").mkdir()
    monkeypatch.setattr(verify, "decode", kills(own / "val/ash/1.jpg", 3, tmp_path / "deaths"))
    with pytest.raises(WorkerError, match=f"died \\(SIGKILL\\) at {own}/val/ash/1.jpg; so did 2 others") as error:
        verify.verify(own, HALVES, 2, lambda _text: None)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("part", HALVES)
def test_a_part_without_class_folders_is_refused(part: str, own: Path) -> None:
    shutil.rmtree(own / part)
    picture(own / part / "0.jpg", 0)
    with pytest.raises(DataError, match=f"{part} holds no classes: its pictures lie in no class folders"):
        verified(own)
