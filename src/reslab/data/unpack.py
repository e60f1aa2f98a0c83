"""Pictures of archives become files in class folders, each whole or not at all, also when the process is killed."""

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from reslab.core.errors import DataError, PictureError
from reslab.core.files import PARTIAL, storing, write_text
from reslab.core.text import printable
from reslab.core.units import counted
from reslab.data.archive import Member, Tar
from reslab.data.halves import Picture
from reslab.data.parts import Split
from reslab.data.picture_file import read_header
from reslab.data.prepared import Odd, Origin

INKS: Final = ("CMYK", "YCCK")


def journals(out: Path, half: Split) -> list[Path]:
    """The journals of a half that was begun."""
    return list(out.glob(f".prepare-{half}-*.jsonl"))


class Unpacking:
    """One half of a folder while it is filled.

    Robust after a kill: a picture's bytes are written under another name, which is then replaced by its own, and what a
    process has written the system keeps when the process dies. So a picture that is there with the right size is whole,
    and is passed over. Nothing waits for the disk on the way (ours: 6 ms a picture, two hours for all); `whole` does
    once, at the end. A power cut before that may leave a file with its size and not its bytes.

    Odd pictures are noted in the archive's journal before they are there, so that none is read again to be known. Where
    pictures are there and this journal is not, they are from elsewhere: then all are read and compared.

    Args:
        out: the folder of ``train`` and ``val``.
        half: which of them.
        origin: the archive that all of it is from.
    """

    def __init__(self, out: Path, half: Split, origin: Origin) -> None:
        self.out, self.half, self.end = out, half, origin.bytes
        self.journal = out / f".prepare-{half}-{origin.ends[:16]}.jsonl"
        self.partial = out / f"{PARTIAL}{half}"
        self.classes: set[str] = set()
        self.pictures = self.bytes = 0
        self.noted = self.journal.exists() or not os.path.lexists(out / half)
        self.odd = set(_lines(self.journal))

    @contextmanager
    def begun(self, classes: Iterable[str]) -> Iterator[None]:
        """Make ready for the pictures of ``classes``, and leave nothing half-written.

        Raises:
            DataError: there are links, or folders of other classes.
            StorageError: the disk is full or read-only.
        """
        self._there(self.out / self.half, dict.fromkeys(classes, None))
        if self.noted:
            write_text(self.journal, "".join(map(_line, sorted(self.odd, key=_line))))
        with storing(self.out):
            self.partial.unlink(missing_ok=True)
        try:
            yield
        finally:
            self.partial.unlink(missing_ok=True)

    def take(self, tar: Tar, pictures: Sequence[Picture], moved: Callable[[int], None]) -> None:
        """Write those of ``pictures`` that are not there; they are all that their classes have.

        Args:
            tar: the archive that they are members of.
            pictures: in the order in which they lie in it.
            moved: told after each picture which place of the stream is reached.

        Raises:
            DataError: a member is no picture, or a class folder holds what the archive does not, or other bytes.
            StorageError: the disk is full or read-only.
        """
        there: set[str] = set()
        for wnid, sizes in _by_class(pictures).items():
            folder = self.out / self.half / wnid
            there |= {f"{wnid}/{name}" for name in self._there(folder, sizes)}
            with storing(folder):
                folder.mkdir(parents=True, exist_ok=True)
        for wnid, member in pictures:
            path = f"{wnid}/{member.name}"
            if path not in there or not self.noted:
                data = tar.read(member)
                self._look(path, data, tar, member)
                if path not in there:
                    self._write(path, data, self.end - member.start)
                elif (self.out / self.half / path).read_bytes() != data:
                    raise DataError(
                        f"{self._shown(path)} has other bytes than in this archive: delete it, or choose another --out"
                    )
            self.bytes += member.size
            moved(member.start + member.size)
        self.classes |= {picture.wnid for picture in pictures}
        self.pictures += len(pictures)

    def whole(self) -> tuple[Odd, ...]:
        """Wait until the disk holds everything; the odd pictures, by path."""
        os.sync()
        return tuple(sorted((odd for odd in self.odd if (self.out / odd.path).exists()), key=_line))

    def _there(self, folder: Path, wanted: dict[str, int | None]) -> list[str]:
        """The names in ``folder``, hidden ones aside; each is wanted, with that size, or None for a folder."""
        if folder.is_symlink():
            refuse_link(folder, self.out)
        if not folder.exists():
            return []
        if not folder.is_dir():
            raise DataError(f"{printable(str(folder))} is not a folder")
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries if entry.name[0] != "."]
        for name, status in found:
            if name not in wanted:
                raise DataError(f"{printable(str(folder / name))} is not from this archive: choose another --out")
            self._check_there(folder / name, status, wanted[name])
        return [name for name, _ in found]

    def _check_there(self, path: Path, found: os.stat_result, size: int | None) -> None:
        shown = printable(str(path))
        if stat.S_ISLNK(found.st_mode):
            refuse_link(path, self.out)
        if stat.S_IFMT(found.st_mode) != (stat.S_IFDIR if size is None else stat.S_IFREG):
            raise DataError(f"{shown} is not a {'folder' if size is None else 'regular file'}")
        if size not in (None, found.st_size):
            raise DataError(
                f"{shown} has {counted(found.st_size, 'byte')}, and {size:,} in this archive: it is another's;"
                " choose another --out"
            )

    def _shown(self, path: str) -> str:
        return printable(str(self.out / self.half / path))

    def _look(self, path: str, data: bytes, tar: Tar, member: Member) -> None:
        try:
            what = oddity(path, data)
        except PictureError as error:
            raise DataError(f"{tar.title}: {member.name} {error}") from None
        odd = Odd(path=f"{self.half}/{path}", what=what)
        if not what or odd in self.odd:
            return
        self.odd.add(odd)
        if self.noted:
            with storing(self.journal), self.journal.open("a", encoding="utf-8") as stream:
                stream.write(_line(odd))

    def _write(self, path: str, data: bytes, needed: int) -> None:
        target = self.out / self.half / path
        with storing(target, needed):
            self.partial.write_bytes(data)
            self.partial.replace(target)


def refuse_link(path: Path, out: Path) -> NoReturn:
    """Write nothing where a link leads.

    Raises:
        DataError: always.
    """
    raise DataError(f"{printable(str(path))} is a link: nothing is written outside {printable(str(out))}")


def _by_class(pictures: Sequence[Picture]) -> dict[str, dict[str, int | None]]:
    sizes: dict[str, dict[str, int | None]] = {}
    for wnid, member in pictures:
        sizes.setdefault(wnid, {})[member.name] = member.size
    return sizes


def oddity(path: str, data: bytes) -> str:
    """What the decoder handles by content and other programs may stumble over; nothing of most pictures.

    Raises:
        PictureError: it is none, by its header.
    """
    header = read_header(data)
    named = [f"{header.kind} named {os.path.splitext(path)[1]}"] if header.kind != "JPEG" else []  # noqa: PTH122 hot
    return ", ".join([*named, *(note for note in header.notes if note in INKS)])


def _line(odd: Odd) -> str:
    return json.dumps(odd.model_dump()) + "\n"


def _lines(journal: Path) -> Iterator[Odd]:
    """The journal's lines; the last may be cut short by a kill, and its picture is then not there yet."""
    if journal.exists():
        for line in journal.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield Odd.model_validate_json(line)
