"""Tar archives as strangers write them: what is read, what is refused, and that nothing else happens."""

import io
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.imagenet_archives import Entry, entry, packed

from reslab.core.errors import DataError
from reslab.data.archive import MAX_EXTENSION, Limits, Tar

SMALL = Limits(members=3, size=2000, total=3000, name=20)
NAMES = re.compile(r"[a-z]+\.JPEG")


def tar_of(data: bytes, title: str = "some.tar") -> Tar:
    return Tar(io.BytesIO(data), 0, len(data), title)


def refused(data: bytes, limits: Limits = SMALL) -> str:
    with pytest.raises(DataError) as failure:
        tar_of(data).members(limits, NAMES)
    line = str(failure.value)
    assert line.startswith("some.tar")
    assert line.isprintable()
    return line


def special(name: str, kind: bytes, link: str = "") -> bytes:
    return packed([entry("a.JPEG", b"a"), entry(name, kind=kind, link=link)])


def claiming(size: int, name: str = "b.JPEG") -> bytes:
    """A first sound member, then a header that claims ``size`` bytes, which are not there."""
    info, _ = entry(name)
    info.size = size
    return packed([entry("a.JPEG", b"a")])[:1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mtime", [1_339_000_000, 1_339_000_000.25])
def test_members_are_read_as_tarfile_reads_them(layout: int, mtime: float) -> None:
    """Python's own `tarfile.add` writes broken seconds, as an extended header."""
    entries = [entry("a.JPEG", b"first" * 200), entry("b.JPEG"), entry("c.JPEG", b"third")]
    for info, _ in entries:
        info.mtime = mtime if layout == tarfile.PAX_FORMAT else int(mtime)
    tar = tar_of(packed(entries, layout))
    members = tar.members(SMALL, NAMES)
    assert [(member.name, tar.read(member)) for member in members] == [(info.name, data) for info, data in entries]


def test_an_archive_in_an_archive_is_read_in_its_place() -> None:
    inner = packed([entry("a.JPEG", b"inside")])
    outer = tar_of(packed([entry("x.tar", b"before"), entry("y.tar", inner)]))
    second = outer.members(Limits(2, 2**20, 2**20))[1]
    nested = outer.inside(second)
    (member,) = nested.members(SMALL, NAMES)
    assert (nested.title, nested.read(member)) == ("some.tar: y.tar", b"inside")


def test_an_archive_in_an_archive_ends_where_its_member_does() -> None:
    """The bytes that follow belong to the outer archive, whatever the inner one claims."""
    cut = packed([entry("a.JPEG", bytes(1500))])[:1024]
    outer = tar_of(packed([entry("x.tar", cut), entry("y.tar", b"secret" * 200)]))
    first = outer.members(Limits(2, 2**20, 2**20))[0]
    with pytest.raises(DataError, match=r"^some.tar: x.tar: 'a.JPEG' is not whole: the archive is cut short$"):
        outer.inside(first).members(SMALL, NAMES)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/etc/passwd", "'/etc/passwd' is an absolute path"),
        ("../a.JPEG", "'../a.JPEG' leads out of its folder"),
        ("x/../../a.JPEG", "'x/../../a.JPEG' leads out of its folder"),
        ("./a.JPEG", "'./a.JPEG' has a name that does not belong here"),
        ("a.jpeg", "'a.jpeg' has a name that does not belong here"),
        ("a.JPEG\n", "'a.JPEG\\n' has a name that does not belong here"),
        ("a\x1b[31m.JPEG", "'a\\x1b[31m.JPEG' has a name that does not belong here"),
        ("\u0430.JPEG", "'\u0430.JPEG' has a name that does not belong here"),
        ("a\u202e.JPEG", "'a\\u202e.JPEG' has a name that does not belong here"),
        ("a\udcff.JPEG", "'a\\xff.JPEG' has a name that does not belong here"),
        ("abcdefghijklmnop.JPEG", "'abcdefghijklmnop.JPEG' has a name of 21 characters, more than 20"),
        ("", "'' has a name that does not belong here"),
    ],
)
def test_a_name_that_leads_elsewhere_or_is_another_is_refused(name: str, says: str) -> None:
    assert refused(packed([entry("a.JPEG", b"a"), entry(name, b"b")])) == f"some.tar: {says}"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (tarfile.CONTTYPE, "of the unknown type b'7'"),
        (b"Z", "of the unknown type b'Z'"),
    ],
)
def test_what_is_no_regular_file_is_refused(kind: bytes, says: str) -> None:
    line = refused(special("b.JPEG", kind, "/etc/passwd"))
    assert line == f"some.tar: 'b.JPEG' is {says}; only regular files are read"


def test_names_and_links_too_long_for_a_header_are_refused_unread() -> None:
    assert "is a name of more than 100 characters; only" in refused(packed([entry("a" * 101 + ".JPEG", b"x")]))
    assert "is a link's name of more than 100 characters; only" in refused(
        special("b.JPEG", tarfile.SYMTYPE, "l" * 101)
    )


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([entry(f"{letter}.JPEG", b"x") for letter in "abcd"], "some.tar holds more than 3 members"),
        ([entry("a.JPEG", bytes(2001))], "some.tar: 'a.JPEG' has 2.0 KiB, more than 2.0 KiB"),
        ([entry("a.JPEG", bytes(2000)), entry("b.JPEG", bytes(1001))], "some.tar holds more than 2.9 KiB"),
        ([entry("a.JPEG", b"x"), entry("a.JPEG", b"y")], "some.tar: 'a.JPEG' is there twice"),
    ],
)
def test_limits_and_doubles(entries: list[Entry], says: str) -> None:
    assert refused(packed(entries)) == says


def test_sizes_that_are_only_claimed() -> None:
    assert refused(claiming(2**40)) == "some.tar: 'b.JPEG' has 1.0 TiB, more than 2.0 KiB"
    assert refused(claiming(-5)) == "some.tar: 'b.JPEG' claims -5 bytes"
    assert refused(claiming(1999)) == "some.tar: 'b.JPEG' is not whole: the archive is cut short"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("path", "../../b.JPEG", "path"),
        ("size", "5", "size"),
        ("linkpath", "/etc", "linkpath"),
        ("GNU.sparse.realsize", "99999999999", "GNU.sparse.realsize"),
    ],
)
def test_an_extended_header_may_not_make_another_member_of_one(field: str, value: str, says: str) -> None:
    info, data = entry("b.JPEG", b"x")
    info.pax_headers = {field: value}
    line = refused(packed([(info, data)], tarfile.PAX_FORMAT))
    assert line == f"some.tar has an extended header that gives a member another {says}"


def test_an_extended_header_has_a_limit() -> None:
    info, data = entry("b.JPEG", b"x")
    info.pax_headers = {"comment": "x" * MAX_EXTENSION}
    assert "has an extended header of 64.0 KiB, more than 64.0 KiB" in refused(
        packed([(info, data)], tarfile.PAX_FORMAT)
    )


def test_a_damaged_header_is_not_the_archives_end() -> None:
    """`tarfile` itself stops here without a word, and a hundred classes are missing."""
    data = bytearray(packed([entry("a.JPEG", b"a"), entry("b.JPEG", b"b"), entry("c.JPEG", b"c")]))
    data[1024] ^= 1
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["a.JPEG"]
    assert refused(bytes(data)) == "some.tar is damaged at byte 1,024: bad checksum"


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 512, b"PK\3\4" * 1000, b"\x1f\x8b" * 500])
def test_what_is_no_archive_is_said_to_be_none(data: bytes) -> None:
    assert refused(data).startswith("some.tar is not a tar archive: ")


def test_an_archive_cut_anywhere_is_refused() -> None:
    whole = packed([entry("a.JPEG", bytes(700)), entry("b.JPEG", b"b" * 600)])
    last = 1536 + 512 + 1024  # where the mark of the end begins
    for length in (*range(1, last, 97), last - 1, last, last + 511):
        refused(whole[:length])
    assert len(tar_of(whole[: last + 512]).members(SMALL, NAMES)) == 2


def test_a_file_that_shrinks_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "some.tar"
    path.write_bytes(packed([entry("a.JPEG", bytes(1500))]))
    with path.open("rb", buffering=0) as stream:
        tar = Tar(stream, 0, path.stat().st_size, "some.tar")
        (member,) = tar.members(SMALL, NAMES)
        path.write_bytes(path.read_bytes()[:700])
        with pytest.raises(DataError, match=r"^some.tar: 'a.JPEG' is not whole: the archive has changed$"):
            tar.read(member)


def sound(data: bytes) -> bool:
    """Whether what becomes of an archive is members as they should be, or one line."""
    try:
        members = tar_of(data).members(SMALL, NAMES)
    except DataError as error:
        return str(error).isprintable()
    return all(
        NAMES.fullmatch(member.name) and member.size <= SMALL.size and member.start + member.size <= len(data)
        for member in members
    )


@given(place=st.integers(0, 2559), value=st.integers(0, 255), more=st.integers(0, 2559))
def test_changed_bytes_give_members_or_one_line(place: int, value: int, more: int) -> None:
    data = bytearray(packed([entry("a.JPEG", b"a" * 300), entry("b.JPEG", b"b")]))
    data[place], data[more] = value, value ^ 0x5A
    assert sound(bytes(data))


@given(
    field=st.sampled_from([slice(0, 100), slice(124, 136), slice(136, 148), slice(156, 157), slice(345, 500)]),
    value=st.binary(min_size=1, max_size=155),
)
def test_any_field_under_a_right_checksum_gives_members_or_one_line(field: slice, value: bytes) -> None:
    data = bytearray(packed([entry("a.JPEG", b"a" * 300), entry("b.JPEG", b"b")]))
    width = field.stop - field.start
    data[field] = value[:width].ljust(width, b"\0")
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert sound(bytes(data))
