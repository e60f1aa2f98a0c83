"""`reslab data verify`: what it prints, and the code it exits with."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.picture_bytes import image, png_of, saved
from tests.said import Terminal, one_line

from reslab.cli.app import run
from reslab.cli.data import LISTED
from reslab.data import source, verify
from reslab.data.cifar import CIFAR10
from reslab.data.decode import decode
from reslab.data.verify import SMALLEST

Command = Callable[..., subprocess.CompletedProcess[str]]

KEYS = {"path", "pictures", "bytes", "classes", "defects", "notes", "other_files", "seconds", "pictures_per_second"}
SMALL = "small, 40x24: it is enlarged"
LONG_NAME = "a-name-as-cameras-and-archives-give-them-with-place-and-date-2015-12-10-and-a-number"


def picture(path: Path, seed: int) -> None:
    """A picture about which nothing is to be said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((SMALLEST, SMALLEST)).save(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with three pictures in train/ and two in val/; nobody may change them."""
    root = tmp_path_factory.mktemp("sound") / "trees"
    places = [(part, name) for part, count in (("train", 3), ("val", 2)) for name in ("ash", "birch") * count]
    for seed, (part, name) in enumerate(places):
        picture(root / part / name / f"{seed}.jpg", seed)
    return root


@pytest.fixture
def own(sound: Path, tmp_path: Path) -> Path:
    """The same pictures, to be changed."""
    shutil.copytree(sound, tmp_path / "trees")
    return tmp_path / "trees"


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON document that was printed, without what differs from time to time."""
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    assert found.pop("pictures_per_second") > 0
    return dict(found)


def damage(root: Path) -> None:
    """A defect, a note, another file."""
    (root / "train/ash/empty.jpg").write_bytes(b"")
    (root / "val/birch/tiny.png").write_bytes(saved("PNG", image()))
    (root / "val/birch/notes.txt").write_text("x")


def test_a_sound_folder_is_a_table_of_its_classes_and_a_line(reslab: Command, sound: Path) -> None:
    done = reslab("data", "verify", sound, "--workers", 0)
    assert (done.returncode, done.stderr) == (0, "")
    first, *rows, blank, last = done.stdout.splitlines()
    assert first.split() == ["label", "class", "train", "val"]
    assert [row.split() for row in rows] == [["0", "ash", "3", "2"], ["1", "birch", "3", "2"]]
    assert blank == ""
    size = sum(path.stat().st_size for path in sound.rglob("*.jpg")) / 1024
    assert last.startswith(f"10 pictures of 2 classes, {size:.1f} KiB: 0 defects, 0 notes (")
    assert re.search(r"\([\d,]+ pictures a second\)$", last)


def test_class_folders_alone_have_one_column(reslab: Command, sound: Path) -> None:
    done = reslab("data", "verify", sound / "val", "--workers", 0)
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()[:3]] == [
        ["label", "class", "pictures"],
        ["0", "ash", "2"],
        ["1", "birch", "2"],
    ]


def test_json_has_everything(reslab: Command, own: Path) -> None:
    damage(own)
    done = reslab("data", "verify", own, "--workers", 0, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout).keys() == KEYS
    assert document(done) == {
        "path": str(own),
        "pictures": 12,
        "bytes": sum(path.stat().st_size for path in own.rglob("*.*g")),
        "classes": [
            {"label": 0, "name": "ash", "train": 4, "val": 2},
            {"label": 1, "name": "birch", "train": 3, "val": 3},
        ],
        "defects": [{"path": "train/ash/empty.jpg", "what": "is empty"}],
        "notes": [{"path": "val/birch/tiny.png", "what": SMALL}],
        "other_files": ["val/birch/notes.txt"],
    }


def test_defects_exit_with_1_and_are_listed_with_the_rest(reslab: Command, own: Path) -> None:
    damage(own)
    done = reslab("data", "verify", own, "--workers", 0)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for part in (("train/ash/empty.jpg", "is empty"), ("val/birch/tiny.png", SMALL)):
        assert any(all(text in line for text in part) for line in lines)
    assert "other files, no pictures by name (1): val/birch/notes.txt" in lines
    assert ": 1 defect, 1 note (" in lines[-1]


def test_notes_alone_exit_with_0(reslab: Command, own: Path) -> None:
    (own / "val/birch/tiny.png").write_bytes(saved("PNG", image()))
    (own / "val/birch/notes.txt").write_text("x")
    done = reslab("data", "verify", own, "--workers", 0)
    assert done.returncode == 0
    assert "0 defects, 1 note (" in done.stdout


def test_a_class_on_one_side_alone_has_none_on_the_other(reslab: Command, own: Path) -> None:
    picture(own / "val/alder/0.jpg", 50)
    found = document(reslab("data", "verify", own, "--workers", 0, "--json"))
    assert found["classes"][0] == {"label": 0, "name": "alder", "train": 0, "val": 1}
    assert found["defects"] == [{"path": "train/alder", "what": "is missing: this class is only in val/"}]


def test_long_lists_are_cut_and_said_to_be(reslab: Command, own: Path) -> None:
    for number in range(LISTED + 3):
        (own / f"train/ash/e{number:03}.jpg").write_bytes(b"")
    for number in range(LISTED):
        (own / f"train/ash/s{number:03}.png").write_bytes(saved("PNG", image().crop((0, 0, 40, number + 1))))
    for number in range(5):
        (own / f"train/ash/{number}.txt").write_bytes(b"")
    done = reslab("data", "verify", own, "--workers", 0)
    lines = done.stdout.splitlines()
    assert sum("train/ash/e" in line and "is empty" in line for line in lines) == LISTED
    assert sum("train/ash/s" in line and "it is enlarged" in line for line in lines) == LISTED
    assert f"defects by kind: {LISTED + 3} is empty" in lines
    assert f"notes by kind: {LISTED} small" in lines
    assert "and 3 more defects; --json lists all\n" in done.stdout
    assert "more notes" not in done.stdout
    others = ", ".join(f"train/ash/{number}.txt" for number in range(3))
    assert f"other files, no pictures by name (5): {others} and 2 more\n" in done.stdout
    found = document(reslab("data", "verify", own, "--workers", 0, "--json"))
    assert [len(found[key]) for key in ("defects", "notes", "other_files")] == [LISTED + 3, LISTED, 5]
    (own / "train/ash/more.png").write_bytes(saved("PNG", image().crop((0, 0, 40, 1))))
    assert "and 1 more note; --json lists all\n" in reslab("data", "verify", own, "--workers", 0).stdout


def test_kinds_are_counted_whatever_files_they_are_of(reslab: Command, own: Path) -> None:
    """All copies are one kind, all small pictures are one, in class folders alone as well."""
    for part in ("train", "val"):
        for number, name in enumerate(sorted((own / part / "ash").iterdir())):
            shutil.copy(name, own / part / "birch" / f"copy-{number}.jpg")
    for number in range(3):
        (own / f"train/ash/tiny-{number}.png").write_bytes(saved("PNG", image().crop((0, 0, 20, 20 + number))))
    for place, copies in ((own, 5), (own / "train", 3)):
        lines = reslab("data", "verify", place, "--workers", 0).stdout.splitlines()
        (kinds,) = [line for line in lines if line.startswith("defects by kind: ")]
        assert kinds.startswith(f"defects by kind: {copies} has the same bytes")
        assert "," not in kinds
        assert "notes by kind: 3 small" in lines


@pytest.fixture
def deep(own: Path) -> Path:
    """A copy with a path so long that path and reason are wider than a table."""
    (own / f"val/birch/{LONG_NAME}.jpg").write_bytes((own / "train/ash/0.jpg").read_bytes())
    return own


def test_a_long_path_and_its_reason_are_whole_and_on_one_line(reslab: Command, deep: Path) -> None:
    done = reslab("data", "verify", deep, "--workers", 0)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("val/birch/")]
    assert f"val/birch/{LONG_NAME}.jpg" in line
    assert "has the same bytes as train/ash/0.jpg, so it is trained on and tested on" in line


def test_a_narrow_terminal_shows_a_path_whole(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with contextlib.redirect_stdout(Terminal()) as shown:
        assert run(["data", "verify", str(deep), "--workers", "0"]) == 1
    assert "…" not in shown.getvalue()
    assert "val/birch/a-name-as-cameras" in shown.getvalue()


@pytest.mark.parametrize("name", [b"a\nb", b"caf\xe9", b"x\x1b[31m", b"[bold]", b":dog:", b"<b>"])
def test_a_class_of_any_name_is_one_row_that_every_terminal_can_show(
    name: bytes, reslab: Command, tmp_path: Path
) -> None:
    picture(tmp_path / os.fsdecode(name) / "0.jpg", 0)
    picture(tmp_path / "z" / "0.jpg", 1)
    done = reslab("data", "verify", tmp_path, "--workers", 0)
    _, row, second, blank, *_ = done.stdout.splitlines()
    assert (second.split(), blank) == (["1", "z", "1"], "")
    assert row.split()[0::2] == ["0", "1"]
    assert row.isprintable()
    if name.isascii() and name.decode().isprintable():
        assert row.split()[1] == name.decode()
    found = json.loads(reslab("data", "verify", tmp_path, "--workers", 0, "--json").stdout)
    assert json.dumps(found, ensure_ascii=False).encode()


def test_a_folder_of_any_name_is_valid_json(reslab: Command, own: Path) -> None:
    odd = own.rename(own.with_name(os.fsdecode(b"caf\xe9\n")))
    found = document(reslab("data", "verify", odd, "--workers", 0, "--json"))
    assert json.dumps(found, ensure_ascii=False).encode()
    assert "\n" not in found["path"]


@pytest.mark.parametrize("workers", [(), ("--workers", 2)], ids=["one a core", "2"])
def test_workers_change_nothing(workers: tuple[object, ...], reslab: Command, own: Path) -> None:
    damage(own)
    for number in range(40):
        (own / f"train/birch/{number:03}.png").write_bytes(saved("PNG", image().crop((0, 0, 40, 1 + number % 24))))
    done, alone = (reslab("data", "verify", own, "--json", *words) for words in (workers, ("--workers", 0)))
    assert done.returncode == alone.returncode == 1
    assert document(done) == document(alone)
    assert done.stderr == ""


def test_three_decoders_that_die_at_a_picture_stop_with_one_line(
    reslab: Command, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own / "val/birch/8.jpg"
    shutil.move(own / "val/birch/9.jpg", path)
    wanted = path.read_bytes()

    def dying(data: bytes, *rest: Any) -> Any:
        if data == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, *rest)

    monkeypatch.setattr(verify, "decode", dying)
    done = reslab("data", "verify", own, "--workers", 2)
    assert (done.returncode, done.stdout) == (1, "")
    *warnings, last = done.stderr.splitlines()
    assert len(warnings) == 2
    assert all(line.startswith("reslab: warning: loader worker ") for line in warnings)
    assert re.fullmatch(rf"reslab: loader worker \d+ died \(SIGKILL\) at {path}; so did 2 others .*", last)


def test_the_embedded_pictures_are_as_they_should_be(reslab: Command) -> None:
    done = reslab("data", "verify", "embedded")
    assert done.returncode == 0
    first, *rows, _, last = done.stdout.splitlines()
    assert first.split() == ["label", "class", "train", "val"]
    assert len(rows) == 10
    assert all(row.split()[-2:] == ["1,200", "200"] for row in rows)
    assert rows[9].startswith("9      Ankle boot ")
    assert last == "14,000 pictures of 10 classes: as they should be"
    found = json.loads(reslab("data", "verify", "embedded", "--json").stdout)
    assert (found["pictures"], found["defects"], found["notes"]) == (14_000, [], [])
    assert found["classes"][9] == {"label": 9, "name": "Ankle boot", "train": 1200, "val": 200}


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in CIFAR-10's layout, of nine pictures."""
    labels = {"data_batch_1.bin": bytes((2, 0, 1)), "data_batch_2.bin": bytes((1, 2, 0)), "test_batch.bin": b"\1\2\0"}
    layout = replace(
        CIFAR10,
        classes=3,
        files={"train": ("data_batch_1.bin", "data_batch_2.bin"), "val": ("test_batch.bin",)},
        records={"train": 6, "val": 3},
        label_digests={"train": sha256(bytes((2, 0, 1, 1, 2, 0))).hexdigest()},
    )
    monkeypatch.setitem(source.CIFAR, "cifar10", (layout, "cifar-10-batches-bin"))
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, values in labels.items():
        (folder / name).write_bytes(b"".join(bytes([value]) + bytes([value]) * 3072 for value in values))
    (folder / layout.names).write_text("cat\ndog\nfrog\n")
    return folder


def test_a_cifar_folder_is_counted(reslab: Command, cifar: Path) -> None:
    for path in (cifar, cifar.parent):
        done = reslab("data", "verify", path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("9 pictures of 3 classes: as they should be\n")
    found = json.loads(reslab("data", "verify", cifar, "--json").stdout)
    assert found["classes"] == [
        {"label": label, "name": name, "train": 2, "val": 1} for label, name in enumerate(("cat", "dog", "frog"))
    ]


def test_a_damaged_cifar_folder_is_one_line(reslab: Command, cifar: Path) -> None:
    file = cifar / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    assert "data_batch_2.bin has 9,218 bytes" in one_line(reslab("data", "verify", cifar))


@pytest.mark.parametrize(
    ("path", "words", "message"),
    [
        ("absent", (), "absent does not exist; "),
        ("absent\n\x1b[31m", (), "absent\\n\\x1b[31m does not exist; "),
        ("trees/train/ash/0.jpg", (), "0.jpg is not a folder; "),
        ("trees/train/ash", (), "ash holds no classes: its pictures lie in no class folders"),
        ("bare", (), "bare holds no classes: it has no class folders"),
        ("half", (), "half has train/ but no val/"),
        ("loose", (), "class folders"),
        ("loose-val", (), "its pictures lie in no class folders"),
        ("trees", ("--workers", -1), "--workers must be 0 or more, not -1"),
        ("trees", ("--workers", "x"), "--workers"),
    ],
)
def test_a_mistake_is_one_line(
    path: str, words: tuple[object, ...], message: str, reslab: Command, own: Path, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copytree(own / "train", tmp_path / "half" / "train")
    shutil.copytree(own / "train", tmp_path / "loose-val" / "train")
    for place in ("loose/train", "loose/val", "loose-val/val"):
        picture(tmp_path / place / "0.jpg", 0)
    assert message in one_line(reslab("data", "verify", tmp_path / path, *words))


def real_pictures() -> Path:
    if "RESLAB_DATA" not in os.environ:
        pytest.skip("RESLAB_DATA is not set: it names the folder of real data")
    return Path(os.environ["RESLAB_DATA"]) / "imagewoof-mini"


@pytest.mark.data
def test_real_photographs_are_sound_and_seven_of_them_grey(reslab: Command) -> None:
    done = reslab("data", "verify", real_pictures(), "--json")
    assert done.returncode == 0, done.stderr
    found = document(done)
    assert (found["pictures"], found["defects"], found["other_files"]) == (1200, [], [])
    assert [note["what"] for note in found["notes"]] == ["grey"] * 7
    assert [(count["train"], count["val"]) for count in found["classes"]] == [(90, 30)] * 10


@pytest.mark.data
def test_twelve_planted_defects_of_twelve_kinds_are_all_named(reslab: Command, tmp_path: Path) -> None:
    original, root = real_pictures(), tmp_path / "dogs"
    for file in original.rglob("*.JPEG"):
        copied = root / file.relative_to(original)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
    first, second, *_, last = sorted(path.name for path in (root / "train").iterdir())
    train, val = (sorted((root / part / first).iterdir()) for part in ("train", "val"))
    other = root / "train" / second

    whole = train[0].read_bytes()
    train[0].write_bytes(whole[: len(whole) // 2])
    train[1].write_bytes(b"")
    train[2].write_text("<html>404 Not Found</html>")
    train[3].write_bytes(png_of(30000, 30000, 8, 2, b"tiny"))
    shutil.copyfile(train[4], train[4].with_name("zz-copy.JPEG"))
    shutil.copyfile(train[5], other / "zz-copy.JPEG")
    shutil.copyfile(train[6], val[0].with_name("zz-copy.JPEG"))
    picture(root / "train/zebra/0.jpg", 0)
    shutil.rmtree(root / "val" / last)
    (root / "val" / last).mkdir()
    (other / "folder.jpg").mkdir()
    (other / "upwards").symlink_to("..")
    (other / "broken.jpg").symlink_to("/nowhere/dog.jpg")
    planted = {
        train[0]: "is damaged: Premature end of JPEG file",
        train[1]: "is empty",
        train[2]: "is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture",
        train[3]: "claims more than 89,478,485 pixels",
        train[4].with_name("zz-copy.JPEG"): f"has the same bytes as {train[4].relative_to(root)}",
        other / "zz-copy.JPEG": f"has the same bytes as {train[5].relative_to(root)}",
        val[0].with_name("zz-copy.JPEG"): (
            f"has the same bytes as {train[6].relative_to(root)}, so it is trained on and tested on"
        ),
        root / "val/zebra": "is missing: this class is only in train/",
        root / "val" / last: "has no pictures",
        other / "folder.jpg": "is a folder with a picture's name",
        other / "upwards": "is a link to a folder that contains it",
        other / "broken.jpg": "cannot be read: No such file or directory",
    }
    done = reslab("data", "verify", root, "--json")
    assert done.returncode == 1
    found = {defect["path"]: defect["what"] for defect in document(done)["defects"]}
    assert found == {str(path.relative_to(root)): what for path, what in planted.items()}
    shown = reslab("data", "verify", root)
    assert shown.returncode == 1
    for path, what in found.items():
        assert any(path in line and what in line for line in shown.stdout.splitlines()), path
