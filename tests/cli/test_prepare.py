"""`reslab data prepare imagenet` as a user runs it: what it prints, what it refuses, and what it never touches."""

import contextlib
import gzip
import io
import itertools
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.imagenet_archives import (
    CMYK,
    EACH,
    META,
    PNG,
    WNIDS,
    Archives,
    Entry,
    class_entries,
    devkit_bytes,
    devkit_entries,
    entry,
    expected,
    packed,
    photograph,
    pictures_in,
    train_entries,
    tree,
    truth_text,
    val_entries,
    val_name,
)
from tests.picture_bytes import packed_zeros, saved, sized_jpeg
from tests.said import Terminal, bare_line

from reslab.cli.app import run

Command = Callable[..., subprocess.CompletedProcess[str]]

PICTURES = 10 * EACH + 2
FIRST = WNIDS[0]
TRAIN = "ILSVRC2012_img_train.tar"
PICTURE = photograph(1)
ELSE = "has a name that does not belong here"

pytestmark = pytest.mark.usefixtures("quick_meta")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "imagenet"


def test_it_says_what_there_is_now(reslab: Command, archives: Archives, out: Path) -> None:
    done = reslab("data", "prepare", "imagenet", *archives.words, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    train, val, blank, title, *odd, second, last = done.stdout.splitlines()
    sizes = [sum(map(len, expected(half).values())) / 1024 for half in ("train", "val")]
    published = "(published: 1,000 classes, 1,281,167 pictures)"
    assert train == f"train/: 10 classes, {PICTURES} pictures, {sizes[0]:.1f} KiB {published}"
    assert val.startswith(f"val/: 10 classes, 13 pictures, {sizes[1]:.1f} KiB (published: 1,000 classes, 50,000 ")
    assert (blank, title, second) == ("", "odd, kept as they are", "")
    assert odd == [f"train/{WNIDS[2]}/{CMYK}: CMYK", f"train/{WNIDS[5]}/{PNG}: PNG named .JPEG"]
    assert re.fullmatch(rf"{out} is prepared \(\d+ s\)", last)
    assert pictures_in(out) == expected()


def test_json_is_one_document(reslab: Command, archives: Archives, out: Path) -> None:
    done = reslab("data", "prepare", "imagenet", *archives.words, "--out", out, "--json")
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    sizes = [sum(map(len, expected(half).values())) for half in ("train", "val")]
    assert found == {
        "out": str(out),
        "train": {"classes": 10, "pictures": PICTURES, "bytes": sizes[0]},
        "val": {"classes": 10, "pictures": 13, "bytes": sizes[1]},
        "odd": [
            {"path": f"train/{WNIDS[2]}/{CMYK}", "what": "CMYK"},
            {"path": f"train/{WNIDS[5]}/{PNG}", "what": "PNG named .JPEG"},
        ],
    }


def test_a_second_time_it_says_that_nothing_is_to_be_done(reslab: Command, archives: Archives, out: Path) -> None:
    first, second = (reslab("data", "prepare", "imagenet", *archives.words, "--out", out) for _ in range(2))
    assert second.returncode == 0
    assert second.stdout.splitlines()[:-1] == first.stdout.splitlines()[:-1]
    assert second.stdout.splitlines()[-1] == f"{out} was prepared before: nothing is to be done"


def test_one_archive_alone_is_one_half(reslab: Command, archives: Archives, out: Path) -> None:
    done = reslab("data", "prepare", "imagenet", "--train-archive", archives.train, "--out", out, "--json")
    assert json.loads(done.stdout)["val"] is None
    words = ("--val-archive", archives.val, "--devkit", archives.devkit)
    done = reslab("data", "prepare", "imagenet", *words, "--out", out, "--json")
    assert json.loads(done.stdout)["train"]["pictures"] == PICTURES
    assert pictures_in(out) == expected()


def test_verify_finds_nothing_wrong_with_the_outcome(reslab: Command, archives: Archives, out: Path) -> None:
    reslab("data", "prepare", "imagenet", *archives.words, "--out", out)
    found = json.loads(reslab("data", "verify", out, "--workers", 0, "--json").stdout)
    assert found["defects"] == []
    notes = {note["path"]: note["what"] for note in found["notes"]}
    assert notes[f"train/{WNIDS[2]}/{CMYK}"].startswith("CMYK")
    assert "PNG named .JPEG" in notes[f"train/{WNIDS[5]}/{PNG}"]


def test_different_classes_are_a_warning(reslab: Command, archives: Archives, out: Path) -> None:
    archives.train.write_bytes(packed(train_entries(WNIDS[1:])))
    done = reslab("data", "prepare", "imagenet", *archives.words, "--out", out)
    assert done.returncode == 0
    assert done.stderr.startswith(
        f"reslab: warning: {out}: train/ and val/ have different classes: only in val/: {FIRST}"
    )


@pytest.mark.parametrize("form", [(), ("--shards",)])
def test_a_terminal_sees_how_far_it_is(
    form: tuple[str, ...], archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.redirect_stderr(Terminal()) as shown, contextlib.redirect_stdout(io.StringIO()):
        assert run(["data", "prepare", "imagenet", *archives.words, "--out", str(out), *form]) == 0
    assert "train" in shown.getvalue()
    assert "%" in shown.getvalue()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "data prepare imagenet needs pictures: give --train-archive, --val-archive, or both"),
        (("--devkit", "{devkit}"), "needs pictures: give --train-archive, --val-archive, or both"),
        (("--val-archive", "{val}"), "--val-archive needs --devkit: the archive does not say which class"),
        (("--train-archive", "{out}/absent.tar"), "absent.tar does not exist"),
        (("--train-archive", "/"), "/ is not a regular file"),
        (("--train-archive", "/dev/zero"), "/dev/zero is not a regular file"),
        (("--val-archive", "{val}", "--devkit", "{out}/absent"), "absent: No such file or directory"),
        (("--train-archive", "{train}", "--workers", "2"), "--workers"),
    ],
)
def test_a_mistake_is_bare_line(
    words: tuple[str, ...], says: str, reslab: Command, archives: Archives, out: Path
) -> None:
    given = [word.format(**archives._asdict(), out=out) for word in words]
    assert says in bare_line(reslab("data", "prepare", "imagenet", *given, "--out", out))
    assert not out.exists()


KINDS = {
    "train": ("the archive of training pictures", "--train-archive"),
    "val": ("the archive of validation pictures", "--val-archive"),
    "devkit": ("the development kit", "--devkit"),
}


@pytest.mark.parametrize("shards", [(), ("--shards",)])
@pytest.mark.parametrize(("given", "wanted"), list(itertools.permutations(KINDS, 2)))
def test_an_official_file_in_the_place_of_another_is_bare_line(
    given: str, wanted: str, shards: tuple[str, ...], reslab: Command, archives: Archives, out: Path
) -> None:
    asked = archives._replace(**{wanted: getattr(archives, given)})
    says = f"{getattr(archives, given).name} is {KINDS[given][0]}, given as {KINDS[wanted][1]}: give it as"
    line = bare_line(reslab("data", "prepare", "imagenet", *asked.words, "--out", out, *shards))
    assert line == f"{says} {KINDS[given][1]}"
    assert not out.exists()


def test_other_data_sets_and_missing_words_are_bare_line(reslab: Command, archives: Archives, out: Path) -> None:
    assert "imagenet" in bare_line(reslab("data", "prepare", "cifar10", *archives.words, "--out", out))
    assert "--out" in bare_line(reslab("data", "prepare", "imagenet", *archives.words))
    assert "dataset" in bare_line(reslab("data", "prepare", *archives.words, "--out", out)).lower()


def test_a_place_that_is_a_file_is_bare_line(reslab: Command, archives: Archives, out: Path) -> None:
    out.write_bytes(b"mine")
    line = bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out))
    assert line == f"{out} is a file, not a directory"
    assert "is a file" in bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out / "below"))
    assert out.read_bytes() == b"mine"


def test_a_ground_truth_of_another_length_is_bare_line(reslab: Command, archives: Archives, out: Path) -> None:
    archives.devkit.write_bytes(devkit_bytes(truth=truth_text(range(1, 11))))
    line = bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out))
    assert line == "ILSVRC2012_img_val.tar holds 13 pictures, and ILSVRC2012_devkit_t12.tar.gz has the classes of 10"
    assert not out.exists()


def test_a_class_out_of_range_is_bare_line(reslab: Command, archives: Archives, out: Path) -> None:
    archives.devkit.write_bytes(devkit_bytes(truth=truth_text([*range(1, 13), 1001])))
    line = bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out))
    assert line.endswith("line 11 of the ground truth is '11', which is no class from 1 to 10")


def test_the_program_itself_needs_no_torch(archives: Archives, out: Path) -> None:
    program = (
        "import sys\nfrom reslab.cli.app import run\n"
        f"code = run(['data', 'prepare', 'imagenet', *{archives.words!r}, '--out', {str(out)!r}, '--json'])\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["0", "False"]
    assert json.loads(done.stdout)["train"]["pictures"] == PICTURES


def in_class(*more: Entry) -> bytes:
    """A training archive of one class, with more in it than belongs there."""
    return packed([entry(f"{FIRST}.tar", packed([*class_entries(FIRST), *more]))])


def beside(*more: Entry) -> bytes:
    return packed([*train_entries(), *more])


def claiming(size: int) -> bytes:
    """A class archive that says it has ``size`` bytes."""
    info, _ = entry(f"{FIRST}.tar")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240 - 512)


def nested(depth: int) -> bytes:
    """Archives in archives."""
    data = packed(class_entries(FIRST))
    for _ in range(depth):
        data = packed([entry(f"{FIRST}.tar", data)])
    return data


def longlink(size: int) -> bytes:
    """A name that claims gigabytes, which `tarfile` would read into memory."""
    info, _ = entry("././@LongLink", kind=tarfile.GNUTYPE_LONGNAME)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240 - 512)


def extended(field: str, value: str) -> bytes:
    info, data = entry(f"{FIRST}_9.JPEG", photograph(9))
    info.pax_headers = {field: value}
    inner = packed([(info, data)], tarfile.PAX_FORMAT)
    return packed([entry(f"{FIRST}.tar", inner)])


def flipped() -> bytes:
    """A header of a class in the middle that is damaged."""
    data = bytearray(packed(train_entries()))
    data[bytes(data).index(f"{WNIDS[5]}.tar".encode()) + 3] ^= 1
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute path": (lambda: in_class(entry("/etc/x.JPEG", PICTURE)), "'/etc/x.JPEG' is an absolute path"),
    "dots": (lambda: in_class(entry(f"../../{FIRST}_9.JPEG", PICTURE)), f"'../../{FIRST}_9.JPEG' leads out of its"),
    "dots outside": (lambda: beside(entry("../n01440764.tar", b"")), "'../n01440764.tar' leads out of its folder"),
    "dots within": (lambda: in_class(entry(f"a/../../{FIRST}_9.JPEG", PICTURE)), "leads out of its folder"),
    "symbolic link": (
        lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.SYMTYPE, link="/etc/passwd")),
        f"'{FIRST}_9.JPEG' is a symbolic link; only regular files are read",
    ),
    "link then file through it": (
        lambda: beside(
            entry("n99999999.tar", kind=tarfile.SYMTYPE, link="../elsewhere"), entry("n99999999.tar/x", PICTURE)
        ),
        "'n99999999.tar' is a symbolic link",
    ),
    "hard link": (
        lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.LNKTYPE, link="../../elsewhere/kept")),
        f"'{FIRST}_9.JPEG' is a hard link",
    ),
    "character device": (lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.CHRTYPE)), "is a device"),
    "block device": (lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.BLKTYPE)), "is a device"),
    "pipe": (lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.FIFOTYPE)), "is a pipe"),
    "folder": (lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.DIRTYPE)), "is a folder"),
    "sparse": (lambda: in_class(entry(f"{FIRST}_9.JPEG", kind=tarfile.GNUTYPE_SPARSE)), "is a sparse file"),
    "huge": (lambda: claiming(2**50), f"'{FIRST}.tar' has 1024.0 TiB, more than 4.0 GiB"),
    "more than there is": (lambda: claiming(2**31), f"'{FIRST}.tar' is not whole: the archive is cut short"),
    "negative": (lambda: claiming(-512), f"'{FIRST}.tar' claims -512 bytes"),
    "truncated": (lambda: packed(train_entries())[:100_000], "is not whole: the archive is cut short"),
    "truncated at a header": (lambda: packed(train_entries()[:1]).rstrip(b"\0") + bytes(99), "is cut short"),
    "no tar": (lambda: b"\x00\x01" * 5000, f"{TRAIN} is not a tar archive: "),
    "empty": (lambda: b"", f"{TRAIN} is not a tar archive: empty header"),
    "zip": (lambda: b"PK\x03\x04" + bytes(2000), f"{TRAIN} is compressed: unpack it"),
    "nested": (lambda: nested(40), f"{TRAIN}: {FIRST}.tar: '{FIRST}.tar' has a name that does not belong here"),
    "packed class": (
        lambda: packed([entry(f"{FIRST}.tar", gzip.compress(packed(class_entries(FIRST))))]),
        f"{TRAIN}: {FIRST}.tar is not a tar archive: ",
    ),
    "too many classes": (
        lambda: packed([entry(f"n{number:08}.tar") for number in range(1001)]),
        f"{TRAIN} holds more than 1,000 members",
    ),
    "long name": (lambda: in_class(entry(f"{FIRST}_{'9' * 5000}.JPEG", PICTURE)), "a name of more than 100 characters"),
    "long name claimed": (lambda: longlink(2**35), "a name of more than 100 characters"),
    "duplicate": (lambda: in_class(entry(f"{FIRST}_3.JPEG", PICTURE)), f"'{FIRST}_3.JPEG' is there twice"),
    "duplicate class": (lambda: beside(train_entries()[0]), f"'{FIRST}.tar' is there twice"),
    "another wnid": (lambda: in_class(entry(f"{WNIDS[1]}_9.JPEG", PICTURE)), f"'{WNIDS[1]}_9.JPEG' has a name that"),
    "control characters": (
        lambda: in_class(entry(f"{FIRST}_9\n\x1b[31m.JPEG", PICTURE)),
        "\\x1b[31m.JPEG' has a",
    ),
    "other digits": (lambda: in_class(entry(f"{FIRST}_\u0661.JPEG", PICTURE)), ELSE),
    "foreign bytes": (lambda: in_class(entry(f"{FIRST}_\udcff.JPEG", PICTURE)), "\\xff.JPEG' has a name that"),
    "backslashes": (
        lambda: in_class(entry(f"..\\..\\{FIRST}_9.JPEG", PICTURE)),
        ELSE,
    ),
    "extended path": (lambda: extended("path", "../../../x.JPEG"), "gives a member another path"),
    "extended size": (lambda: extended("size", "5"), "gives a member another size"),
    "no picture": (lambda: in_class(entry(f"{FIRST}_9.JPEG", b"#!/bin/sh")), f"{FIRST}_9.JPEG is not a JPEG, PNG"),
    "picture bomb": (
        lambda: in_class(entry(f"{FIRST}_9.JPEG", sized_jpeg(saved("JPEG"), 65_500, 65_500))),
        f"{FIRST}_9.JPEG claims 65,500 x 65,500 pixels",
    ),
    "damaged header": (flipped, f"{TRAIN} is damaged at byte "),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_one_line_and_touches_nothing_else(
    kind: str, reslab: Command, archives: Archives, out: Path, tmp_path: Path
) -> None:
    make, says = HOSTILE[kind]
    archives.train.write_bytes(make())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_bytes(b"kept")
    before = tree(tmp_path)
    line = bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out))
    assert line.startswith(TRAIN)
    assert says in line
    assert len(line) < 400
    assert {path: data for path, data in tree(tmp_path).items() if not path.startswith("imagenet/")} == before
    assert pictures_in(out).items() <= expected().items()
    assert not [path for path in out.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]


def bomb() -> bytes:
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed_zeros(1024)[2:-4] + bytes(8)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (bomb, "ILSVRC2012_devkit_t12.tar.gz unpacks to more than 64.0 MiB"),
        (lambda: devkit_bytes()[:-60], "ILSVRC2012_devkit_t12.tar.gz is damaged: Compressed file ended before"),
        (lambda: devkit_bytes(meta=b"x" * 500), "ILSVRC2012_devkit_t12.tar.gz: meta.mat is damaged: "),
        (
            lambda: gzip.compress(packed([*devkit_entries(), entry("../../x", b"x")])),
            "ILSVRC2012_devkit_t12.tar.gz: '../../x' leads out of its folder",
        ),
        (
            lambda: gzip.compress(packed([entry(META, kind=tarfile.SYMTYPE, link="/etc/passwd")])),
            f"ILSVRC2012_devkit_t12.tar.gz: '{META}' is a symbolic link; only regular files are read",
        ),
    ],
)
def test_a_hostile_development_kit_is_one_line_and_nothing_is_written(
    make: Callable[[], bytes], says: str, reslab: Command, archives: Archives, out: Path
) -> None:
    archives.devkit.write_bytes(make())
    assert bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out)).startswith(says)
    assert not out.exists()


def test_a_hostile_validation_archive_is_one_line_and_nothing_is_written(
    reslab: Command, archives: Archives, out: Path
) -> None:
    changes: list[tuple[Any, str]] = [
        (entry(val_name(13), kind=tarfile.SYMTYPE, link="/etc/passwd"), "is a symbolic link"),
        (entry(f"/{val_name(13)}", PICTURE), "is an absolute path"),
        (entry(f"val/{val_name(13)}", PICTURE), ELSE),
        (entry(val_name(12), PICTURE), "is there twice"),
    ]
    for change, says in changes:
        archives.val.write_bytes(packed([*val_entries()[:12], change]))
        assert says in bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out))
        assert not out.exists()
