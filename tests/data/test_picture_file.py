import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageFile
from tests.hostile import KINDS, SPECIAL, UNREADABLE, Kind, nobody
from tests.picture_bytes import HEIGHT, WIDTH, exif, image, saved, scans, with_exif

from reslab.core.errors import PictureError
from reslab.data import picture_file
from reslab.data.picture_file import SUFFIXES, pillow, read_header, read_picture

CALM = settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SIX = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
RICH_EXIF = (  # orientation, resolution, a maker's name elsewhere, and a directory below
    b"II*\0\x08\0\0\0\5\0"
    + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    + struct.pack("<HHII", 0x010F, 2, 5, 74)
    + struct.pack("<HHII", 0x011A, 5, 1, 80)
    + struct.pack("<HHIHH", 0x0128, 3, 1, 2, 0)
    + struct.pack("<HHII", 0x8769, 4, 1, 8)
    + bytes(4)
    + b"maker\0"
    + struct.pack("<II", 72, 1)
)


def named(kind: Kind) -> str:
    return kind.name


def test_the_bytes_of_a_file_are_read(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    file.write_bytes(b"abc")
    assert read_picture(file) == read_picture(file, expected=3) == b"abc"


def test_a_link_to_a_picture_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"abc")
    (tmp_path / "y.jpg").symlink_to("x.jpg")
    assert read_picture(tmp_path / "y.jpg") == b"abc"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", SPECIAL, ids=named)
def test_what_is_no_readable_file_is_refused_without_waiting(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=f"^{kind.says}"):
        read_picture(kind.put(tmp_path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"^cannot be read: No such file or directory$"):
        read_picture(tmp_path / "absent.jpg")


def test_a_file_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's own is closed to others
        Path(folder).chmod(0o755)
        path = UNREADABLE.put(Path(folder))
        with nobody(), pytest.raises(PictureError, match=f"^{UNREADABLE.says}$"):
            read_picture(path)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    with file.open("wb") as stream:
        stream.truncate(3 * 2**38)
    with pytest.raises(PictureError, match=r"^has 768\.0 GiB, more than 256\.0 MiB$"):
        read_picture(file)


def test_the_largest_file_is_read_and_one_byte_more_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_file, "MAX_BYTES", 5)
    file = tmp_path / "x.png"
    file.write_bytes(b"12345")
    assert read_picture(file) == b"12345"
    file.write_bytes(b"123456")
    with pytest.raises(PictureError, match=r"^has 6 B, more than 5 B$"):
        read_picture(file)


def test_an_empty_file_is_refused_as_empty_whatever_was_expected(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.touch()
    with pytest.raises(PictureError, match=r"^is empty$"):
        read_picture(file, expected=7)


@pytest.mark.parametrize("size", [1_233, 1_235])
def test_a_file_of_another_size_than_when_it_was_found_is_refused(tmp_path: Path, size: int) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(bytes(size))
    with pytest.raises(PictureError, match=f"^has changed: {size:,} bytes, not the 1,234 it had when it was found$"):
        read_picture(file, expected=1_234)


@pytest.mark.parametrize("kind", SIX)
def test_the_kind_is_read_from_the_content(kind: str) -> None:
    header = read_header(saved(kind))
    assert (header.kind, header.width, header.height, header.orientation) == (kind, WIDTH, HEIGHT, 1)
    assert header.upright == (WIDTH, HEIGHT)


def test_every_kind_has_a_suffix_in_lower_case() -> None:
    assert set(SUFFIXES.values()) == set(SIX)
    assert {suffix for suffix in SUFFIXES if suffix != suffix.lower() or not suffix.startswith(".")} == set()
    assert SUFFIXES[".jpg"] == SUFFIXES[".jpeg"] == "JPEG"


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"RIFF....WAVE", b"\x89PNG\n", b"PK\3\4" * 9, b"<svg/>"])
def test_what_is_none_of_the_kinds_is_refused(data: bytes) -> None:
    with pytest.raises(PictureError, match=r"^is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture$"):
        read_header(data)


@pytest.mark.parametrize("kind", SIX)
@pytest.mark.parametrize("length", [12, 20, 26, 40])
def test_a_file_that_ends_in_its_header_is_damaged(kind: str, length: int) -> None:
    with pytest.raises(PictureError, match=r"^is damaged: "):
        read_header(saved(kind)[:length])


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("jpeg", ()),
        ("jpeg-grey", ("grey",)),
        ("jpeg-cmyk-exif-6", ("CMYK", "EXIF orientation 6")),
        ("jpeg-ycck", ("YCCK",)),
        ("jpeg-exif-3", ("EXIF orientation 3",)),
        ("png", ()),
        ("png-grey", ("grey",)),
        ("png-1-bit", ("grey",)),
        ("png-palette", ("palette",)),
        ("png-palette-alpha", ("palette", "alpha")),
        ("png-rgba-exif-6", ("alpha", "EXIF orientation 6")),
        ("png-grey-alpha", ("grey", "alpha")),
        ("png-16-bit-grey", ("16-bit", "grey")),
        ("png-16-bit-rgb", ("16-bit",)),
        ("png-moving", ("several frames",)),
        ("webp-moving", ("several frames",)),
        ("webp-alpha-exif-6", ("alpha", "EXIF orientation 6")),
        ("gif", ()),
        ("gif-moving", ("several frames",)),
        ("tiff-16-bit", ("16-bit", "grey")),
        ("tiff-loop", ("grey",)),
        ("tiff-4000-pages", ("grey", "several frames")),
        ("bmp-1-bit", ("grey",)),
    ],
)
def test_notes_say_what_is_unusual(name: str, notes: tuple[str, ...], tmp_path: Path) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    assert read_header(kind.put(tmp_path).read_bytes()).notes == notes


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_the_size_as_people_see_it(kind: str, orientation: int) -> None:
    header = read_header(saved(kind, exif=exif(orientation)))
    assert header.upright == ((WIDTH, HEIGHT) if orientation < 5 else (HEIGHT, WIDTH))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    header = read_header(saved("JPEG", exif=exif(orientation)))
    assert (header.orientation, header.notes) == (1, ())


@CALM
@given(st.lists(st.tuples(st.integers(0, len(RICH_EXIF) - 1), st.integers(0, 255)), max_size=5), st.integers(0, 90))
def test_damaged_exif_never_costs_a_picture(changes: list[tuple[int, int]], length: int) -> None:
    block = bytearray(RICH_EXIF)
    for place, value in changes:
        block[place] = value
    header = read_header(with_exif(bytes(block[: length or None])))
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert type(header.orientation) is int
    assert 1 <= header.orientation <= 8


@pytest.mark.parametrize("kind", SIX)
def test_a_picture_may_have_as_many_pixels_as_the_limit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(kind, exif=exif(6)) if kind == "JPEG" else saved(kind)
    limit = "MAX_PIXELS" if kind == "JPEG" else "MAX_PILLOW"
    monkeypatch.setattr(picture_file, limit, WIDTH * HEIGHT)
    assert read_header(data).width == WIDTH
    monkeypatch.setattr(picture_file, limit, WIDTH * HEIGHT - 1)
    with pytest.raises(PictureError, match=r"^claims 40 x 24 pixels, more than 959$"):
        read_header(data)


def test_a_jpeg_may_have_as_many_scans_as_the_limit() -> None:
    own = scans(0).count(b"\xff\xda")
    assert read_header(scans(picture_file.MAX_SCANS - own)).kind == "JPEG"
    with pytest.raises(PictureError, match=r"^is a JPEG of 101 scans, more than 100$"):
        read_header(scans(picture_file.MAX_SCANS + 1 - own))


@pytest.mark.parametrize("kind", SIX)
def test_a_header_is_read_without_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(kind)

    def load(_self: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert read_header(data).kind == kind


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines"), "is damaged: two lines"),
        (KeyError(), "is damaged: KeyError"),
        (RuntimeError("odd"), "is damaged: odd"),
    ],
)
def test_whatever_pillow_raises_becomes_one_line(error: Exception, line: str) -> None:
    with pytest.raises(PictureError, match=f"^{line}$") as caught, pillow():
        raise error
    assert caught.value.__suppress_context__


def test_a_picture_error_passes_as_it_is() -> None:
    with pytest.raises(PictureError, match=r"^has no pixels$"), pillow():
        raise PictureError("has no pixels")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_is_not_held_up(error: type[BaseException]) -> None:
    with pytest.raises(error), pillow():
        raise error


def test_pillow_warns_nobody() -> None:
    with pillow():
        warnings.warn("careful", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="careful"):
        warnings.warn("careful", UserWarning, stacklevel=1)


def refusal(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        read_header(data)
    return str(caught.value)


def test_the_same_damage_is_told_in_the_same_words() -> None:
    data = saved("TIFF", image("L"), compression="tiff_lzw")[:60]
    said = refusal(data)
    assert said == refusal(bytes(bytearray(data)))
    assert "object at 0x" not in said
