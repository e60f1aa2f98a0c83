"""Official files that are given as another: known by what lies in them, whatever they are called and however large."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imagenet_archives import ROOT, devkit_bytes, devkit_entries, entry, packed, train_entries, val_entries

from reslab.core.errors import DataError
from reslab.data.archive import Tar
from reslab.data.devkit import MAX_UNPACKED, read_devkit
from reslab.data.which_archive import GZIP, KIT, TRAINING, VALIDATION, Official, refuse_another

FILES = {TRAINING: packed(train_entries()[:2]), VALIDATION: packed(val_entries(3)), KIT: devkit_bytes()}

COMPRESSED = "mine is compressed: unpack it to a plain tar, which is read in place"


def checked(data: bytes, wanted: Official) -> str:
    """What is said of a file, or nothing."""
    return said_of(Tar(io.BytesIO(data), 0, len(data), "mine"), wanted)


def said_of(tar: Tar, wanted: Official) -> str:
    try:
        refuse_another(tar, wanted)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("wanted", FILES, ids=lambda one: one.flag)
@pytest.mark.parametrize("form", [bytes, gzip.compress, lambda data: data[:600]], ids=["whole", "packed", "cut short"])
def test_each_is_known_in_the_place_of_another_and_taken_in_its_own(
    form: Callable[[bytes], bytes], wanted: Official
) -> None:
    for one, data in {**FILES, KIT: packed(devkit_entries())}.items():
        says = f"mine is {one.what}, given as {wanted.flag}: give it as {one.flag}"
        own = COMPRESSED if form is gzip.compress and wanted is not KIT else ""
        assert checked(form(data), wanted) == (own if one is wanted else says)


def test_times_in_an_extended_header_hide_nothing() -> None:
    info, data = val_entries(1)[0]
    info.pax_headers = {"mtime": "1339000000.5"}
    assert checked(packed([(info, data)], tarfile.PAX_FORMAT), TRAINING).startswith(f"mine is {VALIDATION.what}, ")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"text" * 999, bytes(10_240)),
        packed([entry("notes.txt"), *val_entries(1)]),
        packed([entry(f"{ROOT}.txt")]),
        packed([entry("../n01440764.tar")]),
        packed([entry(f"{ROOT}\n")]),
    ],
)
def test_of_any_other_file_nothing_is_said(data: bytes) -> None:
    assert [checked(data, wanted) for wanted in FILES] == ["", "", ""]


@pytest.mark.parametrize(
    "data",
    [
        *(GZIP, GZIP + b"\x08" * 999, gzip.compress(bytes(2**22)), bz2.compress(FILES[TRAINING])),
        *(lzma.compress(FILES[VALIDATION]), b"PK\x03\x04" + bytes(99), b"\x28\xb5\x2f\xfd" + bytes(99)),
    ],
)
def test_pictures_are_not_read_from_what_is_compressed(data: bytes) -> None:
    assert [checked(data, wanted) for wanted in FILES] == [COMPRESSED, COMPRESSED, ""]


def test_no_more_than_the_beginning_is_read_of_an_archive_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.tar"
    path.write_bytes(FILES[VALIDATION])
    os.truncate(path, 2 * MAX_UNPACKED)
    monkeypatch.setattr("reslab.data.devkit._first", pytest.fail)
    with pytest.raises(DataError, match=r"^large\.tar is the archive of validation pictures, given as --devkit: "):
        read_devkit(path)
    with path.open("rb") as stream, pytest.raises(DataError):
        refuse_another(Tar(stream, 0, 2 * MAX_UNPACKED, "mine"), TRAINING)


def test_a_file_that_cannot_be_read_is_left_to_who_reads_it() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError

    assert said_of(Tar(Broken(), 0, 1000, "mine"), TRAINING) == ""
