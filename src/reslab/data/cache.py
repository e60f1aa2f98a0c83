"""Files that were fetched once, kept in a folder of bounded size; processes share it, the oldest go first."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reslab.core.errors import SpecError
from reslab.core.files import storing
from reslab.core.units import bytes_of

FOLDER: Final = "RESLAB_CACHE"  # environment: where the cache lies
SIZE: Final = "RESLAB_CACHE_SIZE"  # environment: how large it may grow
USUAL_SIZE: Final = "64 GiB"  # ours: a third of ImageNet-1k as it is, all of it at a shorter side of 256
PARTIAL: Final = ".partial"
OPENED: Final = (".tar", PARTIAL)  # what is held open while it is read; other files are read by their names
FRESH: Final = 600.0  # seconds; ours: an index is read in a second once it is there, and by nobody later


@dataclass(frozen=True)
class Cache:
    """Keeps files below ``folder`` that have at most ``limit`` bytes together, but for what is being fetched.

    What is being fetched is locked by whoever fetches it, so that it is fetched once; it becomes the file by a rename.
    A process that dies leaves a partial file that the next one fills, or that makes room like any other.
    """

    folder: Path
    limit: int

    def opened(self, name: str, size: int, fill: Callable[[Path], None]) -> int:
        """A handle of the file ``name``, which is filled by ``fill`` where it is not there; the caller closes it.

        Args:
            name: path below the folder.
            size: bytes that it has or will have.
            fill: writes it, in place, and raises where it cannot.

        Raises:
            StorageError: the folder takes no files.
            Exception: whatever ``fill`` raises; nothing half-filled stays behind.
        """
        path = self.folder / name
        while True:
            with contextlib.suppress(FileNotFoundError):
                number = os.open(path, os.O_RDONLY)
                with contextlib.suppress(OSError):
                    os.utime(number)  # used just now
                return number
            partial = path.with_name(f"{path.name}{PARTIAL}")
            with storing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                claimed = _claimed(partial)
            if claimed is not None:
                return self._filled(claimed, partial, path, size, fill)

    def _filled(self, number: int, partial: Path, path: Path, size: int, fill: Callable[[Path], None]) -> int:
        try:
            os.truncate(number, 0)
            self._make_room(size)
            fill(partial)
            with storing(path, size):
                os.fsync(number)
                partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            os.close(number)
            raise
        fcntl.flock(number, fcntl.LOCK_UN)
        return number

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest, until ``size`` more bytes are within the limit.

        Another process may be about to read what is read by its name, where that has just been fetched.
        """
        with storing(self.folder, size), (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = sorted(self._entries())
            total = size + sum(length for _, length, _ in entries)
            for used, length, path in entries:
                if total <= self.limit:
                    break
                idle = path.name.endswith(OPENED) or time.time() - used > FRESH
                if idle and _removed(path):
                    total -= length

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each file was last used, its bytes, and where it is."""
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):  # it has just gone
                found = path.stat()
                yield found.st_mtime, found.st_size, path


def usual_cache() -> Cache:
    """The cache that the environment names, or one in the user's cache folder.

    Raises:
        SpecError: its size is no number of bytes.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get(FOLDER) or home / "reslab" / "shards")
    try:
        return Cache(folder, bytes_of(os.environ.get(SIZE) or USUAL_SIZE))
    except SpecError as error:
        raise SpecError(f"{SIZE}: {error}") from None


def _claimed(partial: Path) -> int | None:
    """A locked handle of the partial file, once nobody else has it; None: whoever had it is done with it."""
    number = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(number, fcntl.LOCK_EX)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(number), partial.stat()):
            return number
    os.close(number)
    return None


def _removed(path: Path) -> bool:
    """Delete ``path``, unless it is a partial file that is being filled."""
    with contextlib.suppress(OSError):
        if not path.name.endswith(PARTIAL):
            path.unlink()
            return True
        number = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(number)
        return True
    return False
