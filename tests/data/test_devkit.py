"""ImageNet's development kit: classes by their numbers, answers by their lines, and what is refused."""

import gzip
import importlib.util
import io
import os
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tests.imagenet_archives import (
    ANSWERS,
    META,
    ORDER,
    ROOT,
    TRUTH,
    Entry,
    devkit_bytes,
    devkit_entries,
    entry,
    meta_mat,
    official_meta,
    packed,
    synsets,
    truth_text,
)
from tests.picture_bytes import packed_zeros

from reslab.core.errors import DataError, SpecError
from reslab.data import devkit
from reslab.data import meta_mat as reader
from reslab.data.devkit import MAX_UNPACKED, read_devkit

NAME = "ILSVRC2012_devkit_t12.tar.gz"


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.write_bytes(devkit_bytes())
    return path


def refused(path: Path, data: bytes | None = None) -> str:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DataError) as failure:
        read_devkit(path)
    assert str(failure.value).isprintable()
    return str(failure.value)


def test_classes_come_by_their_numbers_and_what_is_above_them_is_none(kit: Path) -> None:
    found = read_devkit(kit)
    assert found.wnids == ORDER
    assert [found.wnids[place] for place in found.truth] == [ORDER[number - 1] for number in ANSWERS]
    assert found.title == NAME


def test_rows_may_stand_in_any_order_and_numbers_be_of_any_kind(kit: Path) -> None:
    rows = synsets()[::-1].copy()
    for row in rows[:, 0]:
        row["ILSVRC2012_ID"], row["num_children"] = float(row["ILSVRC2012_ID"]), np.uint8(row["num_children"])
    kit.write_bytes(devkit_bytes(meta_mat(rows)))
    assert read_devkit(kit).wnids == ORDER


def test_the_unpacked_folder_the_folder_around_it_and_an_unzipped_archive_say_the_same(
    kit: Path, tmp_path: Path
) -> None:
    for name, data in ((META, official_meta()), (TRUTH, truth_text())):
        (tmp_path / "kit" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "kit" / name).write_bytes(data)
    plain = tmp_path / "plain.tar"
    plain.write_bytes(packed(devkit_entries()))
    digests = {read_devkit(path).digest for path in (kit, tmp_path / "kit", tmp_path / "kit" / ROOT, plain)}
    assert len(digests) == 1


def test_another_order_and_other_answers_have_other_digests(kit: Path) -> None:
    digests = {read_devkit(kit).digest}
    for data in (devkit_bytes(meta_mat(synsets(ORDER[::-1]))), devkit_bytes(truth=truth_text((2, *ANSWERS[1:])))):
        kit.write_bytes(data)
        digests.add(read_devkit(kit).digest)
    assert len(digests) == 3


@pytest.mark.usefixtures("quick_meta")
def test_windows_ends_of_lines_are_ends_of_lines(kit: Path) -> None:
    kit.write_bytes(devkit_bytes(truth=truth_text().replace(b"\n", b"\r\n")))
    assert len(read_devkit(kit).truth) == len(ANSWERS)


@pytest.mark.usefixtures("quick_meta")
@pytest.mark.parametrize(
    ("line", "shown"), [("0", "0"), ("11", "11"), ("-1", "-1"), ("x", "x"), ("", ""), ("1.0", "1.0"), ("\x1b", "\\x1b")]
)
def test_an_answer_that_is_no_class_is_named_by_its_line(kit: Path, line: str, shown: str) -> None:
    says = refused(kit, devkit_bytes(truth=truth_text((1, 2, line, 4))))
    assert says == f"{NAME}: line 3 of the ground truth is '{shown}', which is no class from 1 to 10"


@pytest.mark.usefixtures("quick_meta")
def test_a_ground_truth_has_a_limit(kit: Path) -> None:
    assert refused(kit, devkit_bytes(truth=b"1\n" * 2**19 + b"1\n")).endswith("has 1.0 MiB, more than 1.0 MiB")


@pytest.mark.parametrize(
    ("order", "above", "says"),
    [
        ((), 3, "meta.mat has 0 classes, not numbered from 1 on, or more than 1,000"),
        ([f"n{number:08}" for number in range(1001)], 0, "meta.mat has 1,001 classes, not numbered from 1 on"),
        ((*ORDER, ORDER[0]), 3, "meta.mat has classes that are no wnids or are there twice: "),
        ((*ORDER, "../../../etc"), 3, "meta.mat has classes that are no wnids or are there twice: ../../../etc"),
        ((*ORDER, "n0144076\u0664"), 3, "meta.mat has classes that are no wnids or are there twice: n0144076\u0664"),
    ],
)
def test_classes_that_cannot_be(kit: Path, order: tuple[str, ...], above: int, says: str) -> None:
    assert refused(kit, devkit_bytes(meta_mat(synsets(order, above)))).startswith(f"{NAME}: {says}")


def test_numbers_with_a_gap_are_refused(kit: Path) -> None:
    rows = synsets()
    rows[4, 0]["ILSVRC2012_ID"] = 12
    assert "10 classes, not numbered from 1 on" in refused(kit, devkit_bytes(meta_mat(rows)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"other": 1}, "its synsets are no list of ILSVRC2012_ID, WNID, num_children"),
        ({"synsets": np.arange(3)}, "its synsets are no list of ILSVRC2012_ID, WNID, num_children"),
        ({"synsets": {"WNID": "n01440764"}}, "its synsets are no list of ILSVRC2012_ID, WNID, num_children"),
        ({"synsets": {"ILSVRC2012_ID": 1, "WNID": 5, "num_children": 0}}, "a WNID is no text"),
        ({"synsets": {"ILSVRC2012_ID": "x", "WNID": "n01440764", "num_children": 0}}, "invalid literal for int"),
    ],
)
def test_a_matlab_file_of_something_else_is_said_to_be(kit: Path, content: dict[str, object], says: str) -> None:
    buffer = io.BytesIO()
    savemat(buffer, content)
    assert refused(kit, devkit_bytes(buffer.getvalue())).startswith(f"{NAME}: meta.mat is damaged: {says}")


@pytest.mark.parametrize(
    "data",
    [b"", b"x", bytes(1000), b"\x89HDF\r\n\x1a\n" + bytes(600), official_meta()[:200], official_meta()[:-30]],
    ids=["empty", "short", "zeros", "version 7.3", "cut in its header", "cut"],
)
def test_a_damaged_matlab_file_is_one_line(kit: Path, data: bytes) -> None:
    assert refused(kit, devkit_bytes(data)).startswith(f"{NAME}: meta.mat is damaged: ")


def test_a_matlab_file_that_expands_to_more_than_memory_is_one_line(kit: Path) -> None:
    """Four MiB that claim to be a text of three GiB."""
    size = 3 * 2**30
    head = struct.pack("<IIIIII", 14, size, 6, 8, 4, 0) + struct.pack("<IIII", 5, 8, 1, size // 2)
    head += struct.pack("<II8s", 1, 7, b"synsets\0") + struct.pack("<II", 17, size)
    packer = zlib.compressobj(9)
    body = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + packed_zeros(3072)[2:-4]
    data = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(body)) + body
    assert len(data) < 2**22
    assert refused(kit, devkit_bytes(data)).startswith(f"{NAME}: meta.mat is damaged: ")


def test_a_reader_that_crashes_or_hangs_is_one_line(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WORDS", (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"))
    assert refused(kit) == f"{NAME}: meta.mat is damaged: its reader ended by SIGSEGV"
    monkeypatch.setattr(reader, "WORDS", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(reader, "PATIENCE", 0.2)
    assert refused(kit) == f"{NAME}: meta.mat is damaged: it could not be read in 0.2 seconds"
    monkeypatch.setattr(reader, "PATIENCE", 600)
    monkeypatch.setattr(reader, "WORDS", (sys.executable, "-c", "import absent_module"))
    assert refused(kit).startswith(f"{NAME}: meta.mat cannot be read: ModuleNotFoundError: ")


def test_the_reader_imports_nothing_from_the_folder_that_the_user_is_in(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scipy.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    assert read_devkit(kit).wnids == ORDER


def test_without_scipy_the_line_says_what_to_install(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else found(name))
    with pytest.raises(SpecError, match=r'pip install "reslab\[imagenet\]"$'):
        read_devkit(kit)


def changed(name: str, *more: Entry) -> bytes:
    return gzip.compress(packed([one for one in devkit_entries() if one[0].name != name] + list(more)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not a tar archive: empty header"),
        (b"no archive", "is not a tar archive: "),
        (gzip.compress(b"no archive", mtime=0), "is not a tar archive: "),
        (devkit_bytes()[:-100], "is damaged: Compressed file ended before the end-of-stream marker"),
        (b"\x1f\x8b\x08" + bytes(50), "is damaged: Error -3"),
        (b"\x1f\x8b\x07" + bytes(50), "is damaged: Unknown compression method"),
        (devkit_bytes()[:40] + b"\xff" * 40 + devkit_bytes()[80:], "is damaged: "),
        (changed(META), f"is not ImageNet's development kit: it lacks {META}"),
        (changed(TRUTH), f"is not ImageNet's development kit: it lacks {TRUTH}"),
        (changed("", entry("../x", b"")), "'../x' leads out of its folder"),
        (changed("", entry("/x", b"")), "'/x' is an absolute path"),
        (changed("", entry("x", kind=tarfile.SYMTYPE, link="/etc")), "'x' is a symbolic link"),
        (changed(META, entry(META, kind=tarfile.LNKTYPE, link=TRUTH)), f"'{META}' is a hard link"),
        (changed(META, entry(META, kind=tarfile.DIRTYPE)), f"is not ImageNet's development kit: it lacks {META}"),
        (changed("", entry(TRUTH, b"1\n")), f"'{TRUTH}' is there twice"),
        (changed("", entry("x\n", b"")), "'x\\n' has a name that does not belong here"),
        (changed("", *(entry(f"{n}", b"") for n in range(1000))), "holds more than 1,000 members"),
    ],
)
def test_a_damaged_or_hostile_archive_is_one_line(kit: Path, data: bytes, says: str) -> None:
    line = refused(kit, data)
    assert line.startswith(NAME)
    assert says in line


def test_a_gzip_bomb_is_stopped_early(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MiB that would be a GiB: no more of it is unpacked than the limit and a byte."""
    body = packed_zeros(1024)[2:-4]
    kit.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + struct.pack("<II", 0, 0))
    asked = []

    class Counted(gzip.GzipFile):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size)
            return super().read(size)

    monkeypatch.setattr(devkit.gzip, "GzipFile", Counted)
    assert refused(kit) == f"{NAME} unpacks to more than 64.0 MiB"
    assert asked == [MAX_UNPACKED + 1]


def test_what_is_no_file_is_said_to_be(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent").endswith("absent: No such file or directory")
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "pipe is not a regular file"
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").endswith("empty/data/meta.mat is missing: the development kit has it")


def test_a_folder_with_a_huge_or_odd_file_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / TRUTH.removeprefix(f"{ROOT}/")).write_bytes(truth_text())
    meta = data / "meta.mat"
    os.mkfifo(meta)
    assert refused(tmp_path).endswith("data/meta.mat is missing: the development kit has it")
    meta.unlink()
    with meta.open("wb") as stream:
        stream.truncate(2**40)
    assert refused(tmp_path).endswith("data/meta.mat has more than 32.0 MiB")
