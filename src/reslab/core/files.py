"""Files that are there whole or not at all."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reslab.core.errors import RunError, StorageError
from reslab.core.units import bytes_text

PARTIAL = ".partial-"  # begins the name of what is not there yet
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def storing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn the system's refusal to write below ``path`` into one clear line.

    Args:
        path: what is being written.
        needed: how many bytes it takes, where known.

    Raises:
        StorageError: the disk is full, the place is read-only, or permission is missing.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            place = next(p for p in (path, *path.parents) if p.exists())
            wants = f"; {bytes_text(needed)} are needed" if needed is not None else ""
            free = bytes_text(shutil.disk_usage(place).free)
            raise StorageError(f"the disk is full: cannot write {path}{wants}, {free} are free") from error
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def canonical_json(value: Any) -> str:
    """``value`` as JSON with sorted keys and no spaces: equal values are equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    """The sha256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_directory(path: Path) -> None:
    """Make a rename inside ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, data: bytes) -> None:
    """Write ``data`` and wait until the disk holds it; not atomic."""
    with path.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def whole_folder(target: Path, needed: int | None = None) -> Iterator[Path]:
    """A folder to fill, which becomes ``target`` in one rename when all went well; else nothing is left of it.

    Args:
        target: a folder that is already there stays as it is, and the rename fails.
        needed: how many bytes it takes, where known.

    Raises:
        StorageError: as `storing` says.
    """
    with storing(target, needed):
        partial = _partial(target)
        try:
            partial.mkdir(parents=True)
            yield partial
            sync_directory(partial)
            partial.rename(target)
            sync_directory(target.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def refilled(target: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to fill, whose files take the place of those in ``target`` when all went well; else nothing changes.

    The files go over one by one while nobody else's do; a crash in between leaves no first file.

    Args:
        target: made where it is missing.
        names: the files that there may be; those of them that are in ``target`` go, others stay. The first says that
            the rest is whole: it goes first and comes last.

    Raises:
        RunError: ``target`` is no folder, or the root.
        StorageError: as `storing` says.
    """
    place = target.resolve()
    if not place.name or (place.exists() and not place.is_dir()):
        raise RunError(f"{target} cannot be filled: it is {'a file' if place.name else 'the root of all folders'}")
    above = not place.parent.exists()
    with storing(target):
        partial = _partial(place)
        partial.mkdir(parents=True)
    try:
        yield partial
        with storing(target):
            _take_over(partial, place, names)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if above:
            with contextlib.suppress(OSError):  # it holds something
                place.parent.rmdir()


def _take_over(partial: Path, place: Path, names: Sequence[str]) -> None:
    for name in names:
        if (partial / name).exists():
            with (partial / name).open("rb") as stream:
                os.fsync(stream.fileno())
    handle = os.open(place.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).unlink(missing_ok=True)
        for name in names[::-1]:
            if (partial / name).exists():
                (partial / name).replace(place / name)
        sync_directory(place)
    finally:
        os.close(handle)


def _partial(target: Path) -> Path:
    """A name beside ``target`` to write under; what processes of this machine that are gone left there is deleted."""
    begin = f"{PARTIAL}{target.name}-{platform.node()}-"
    for path in target.parent.glob(f"{glob.escape(begin)}*"):
        number = path.name.removeprefix(begin).partition("-")[0]
        if number.isdecimal() and not _alive(int(number)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return target.with_name(f"{begin}{os.getpid()}-{secrets.token_hex(4)}")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def require_writable(folder: Path) -> None:
    """Find out whether ``folder``, there or to be made, takes files, before hours of work are to be kept in it.

    Raises:
        RunError: it is a file, or below one.
        StorageError: it does not.
    """
    with storing(folder):
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if there.is_file():
            raise RunError(f"{there} is a file, not a directory")
        tempfile.TemporaryFile(dir=there).close()


def require_file(path: Path) -> None:
    """Find out whether a file can be written to ``path``.

    Raises:
        StorageError: a folder is there, or what is above it takes no files.
    """
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a directory")
    require_writable(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` atomically: a reader, or a crash, meets the old file or the new one.

    Raises:
        StorageError: as `storing` says; nothing half-written stays behind.
    """
    with storing(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(path)
        try:
            write_synced(partial, data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` for a JSON value, indented for people, keys in the order given."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")
