"""Tar archives from strangers: headers are checked before a member is used, and nothing is unpacked here.

Headers are parsed by `tarfile.TarInfo.frombuf`, one at a time. `tarfile.TarFile` itself is not used: its ``extractall``
can be led out of its folder (CVE-2025-4517), it takes a damaged header for the archive's end, and reads a member's long
name of any size into memory.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import BLOCKSIZE, TarInfo
from typing import BinaryIO, Final, NamedTuple, NoReturn

from reslab.core.errors import DataError, one_line
from reslab.core.text import printable
from reslab.core.units import bytes_text

EXTENSIONS: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)  # pax: times, owners, and more
MAX_EXTENSION: Final = 2**16  # bytes of one; ours: those that Python and bsdtar write have some hundred
OTHER_MEMBER: Final = re.compile(
    rb"[0-9] (path|size|linkpath|GNU\.sparse\.[^=]*)="
)  # pax: the member is not as it says
KINDS: Final = {
    tarfile.DIRTYPE: "a folder",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGNAME: "a name of more than 100 characters",
    tarfile.GNUTYPE_LONGLINK: "a link's name of more than 100 characters",
}
SHOWN: Final = 120  # characters of a name


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that an archive may hold: ``members``, bytes of one (``size``) and of all, characters of a ``name``."""

    members: int
    size: int
    total: int
    name: int = 100


class Member(NamedTuple):
    """A regular file of an archive: where its ``size`` bytes start in the stream that the archive is read from."""

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class Tar:
    """A tar archive, or one inside another, between two places of a stream.

    Args:
        stream: seekable; it must stay open.
        begin: where the archive's first header is.
        end: no byte of the archive is at this place or after it.
        title: what errors call it.
    """

    stream: BinaryIO
    begin: int
    end: int
    title: str

    def members(self, limits: Limits, names: re.Pattern[str] | None = None, *, folders: bool = False) -> list[Member]:
        """All members, in order, after all of their headers were checked.

        Args:
            limits: what is more is refused.
            names: the whole of each name matches it; None: any name that stays in its folder.
            folders: pass over members that are folders; else they are refused.

        Raises:
            DataError: the archive is damaged or cut short, goes beyond the limits, or has a member that is no regular
                file, that has another name, an absolute one or one with .., or that is there twice.
        """
        found: dict[str, Member] = {}
        total = 0
        for count, (header, start) in enumerate(self._headers(), start=1):
            name, size = header.name, header.size
            total += size
            if count > limits.members:
                self._refuse(f"holds more than {limits.members:,} members")
            self._check_kind(header, folders=folders)
            self._check_name(name, names, limits)
            if size > limits.size:
                self._refuse_member(name, f"has {bytes_text(size)}, more than {bytes_text(limits.size)}")
            if total > limits.total:
                self._refuse(f"holds more than {bytes_text(limits.total)}")
            if start + size > self.end:
                self._refuse_member(name, "is not whole: the archive is cut short")
            if name in found:
                self._refuse_member(name, "is there twice")
            if not header.isdir():
                found[name] = Member(name, start, size)
        return list(found.values())

    def first_name(self) -> str | None:
        """What the first member is called, whatever it is; None: there is no header that can be read."""
        try:
            return next((header.name for header, _ in self._headers()), None)
        except DataError:
            return None

    def read(self, member: Member) -> bytes:
        """A member's bytes.

        Raises:
            DataError: they cannot be read.
        """
        data = self._at(member.start, member.size)
        if len(data) < member.size:
            self._refuse_member(member.name, "is not whole: the archive has changed")
        return data

    def inside(self, member: Member) -> "Tar":
        """The archive that a member is."""
        return Tar(self.stream, member.start, member.start + member.size, f"{self.title}: {member.name}")

    def _headers(self) -> Iterator[tuple[TarInfo, int]]:
        """Each member's header and where its bytes start, up to the mark of the archive's end."""
        place = self.begin
        while True:
            block = self._at(place, max(min(BLOCKSIZE, self.end - place), 0))
            if len(block) == BLOCKSIZE and not block.strip(b"\0"):
                return
            header = self._parsed(block, place)
            start = place + BLOCKSIZE
            if header.type in EXTENSIONS:
                self._check_extension(header, start)
            else:
                yield header, start
            place = start + -(-header.size // BLOCKSIZE) * BLOCKSIZE

    def _parsed(self, block: bytes, place: int) -> TarInfo:
        first = place == self.begin
        if len(block) < BLOCKSIZE and not first:
            self._refuse("is cut short: its end is missing")
        try:
            header = TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            what = "is not a tar archive" if first else f"is damaged at byte {place - self.begin:,}"
            self._refuse(f"{what}: {one_line(error)}")
        if header.size < 0:
            self._refuse_member(header.name, f"claims {header.size:,} bytes")
        return header

    def _check_extension(self, header: TarInfo, start: int) -> None:
        if header.size > MAX_EXTENSION:
            self._refuse(f"has an extended header of {bytes_text(header.size)}, more than {bytes_text(MAX_EXTENSION)}")
        changed = OTHER_MEMBER.search(self._at(start, header.size))
        if changed:
            self._refuse(f"has an extended header that gives a member another {printable(os.fsdecode(changed[1]))}")

    def _check_kind(self, header: TarInfo, *, folders: bool) -> None:
        if header.isdir() and folders and not header.size:
            return
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            kind = KINDS.get(header.type, f"of the unknown type {header.type!r}")
            self._refuse_member(header.name, f"is {kind}; only regular files are read")

    def _check_name(self, name: str, names: re.Pattern[str] | None, limits: Limits) -> None:
        if len(name) > limits.name:
            self._refuse_member(name, f"has a name of {len(name):,} characters, more than {limits.name:,}")
        if name.startswith("/"):
            self._refuse_member(name, "is an absolute path")
        if ".." in name.split("/"):
            self._refuse_member(name, "leads out of its folder")
        if not name.isprintable() or (names is not None and not names.fullmatch(name)):
            self._refuse_member(name, "has a name that does not belong here")

    def _at(self, place: int, size: int) -> bytes:
        try:
            self.stream.seek(place)
            return self.stream.read(size)
        except OSError as error:
            raise DataError(f"cannot read {self.title}: {error.strerror or error}") from None

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(f"{self.title} {what}")

    def _refuse_member(self, name: str, what: str) -> NoReturn:
        shown = printable(name[:SHOWN]) + ("..." if len(name) > SHOWN else "")
        raise DataError(f"{self.title}: '{shown}' {what}")
