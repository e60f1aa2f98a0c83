"""Shards behind a URL: each is fetched whole, when a picture in it is first read, into a cache on this machine.

Storage may go away and come back: whoever fetches waits for it, and says so once.
"""

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from reslab.core.errors import DataError, ReslabError, SpecError, StorageError, one_line
from reslab.core.files import FULL, storing
from reslab.core.listening import tell
from reslab.core.text import printable
from reslab.core.units import bytes_text, duration_text
from reslab.data.cache import SIZE, Cache, usual_cache
from reslab.data.outage import Outage
from reslab.data.shards import INDEX, ShardFile

RETRY: Final = "RESLAB_RETRY"  # environment: seconds
USUAL_RETRY: Final = 300.0  # seconds that storage may be away
SILENCE: Final = 60.0  # seconds without a byte after which a web server counts as away
TRANSFER: Final = 600.0  # seconds that one shard may take; ours: 256 MiB at half a megabyte a second
FIRST_PAUSE: Final = 0.5  # seconds; each further pause is twice as long
LONGEST_PAUSE: Final = 30.0
TWICE: Final = 2  # times that a shard is fetched before it counts as damaged where it lies
BLOCK: Final = 2**20


class RemoteFiles:
    """The shards and indices below ``url``.

    Args:
        url: as fsspec knows it: ``s3://bucket/place``, ``https://...``, ``file://...``.
        cache: where they are kept; None: where the environment says.
        retry: seconds that storage may be away; None: as the environment says.
    """

    def __init__(self, url: str, cache: Cache | None = None, retry: float | None = None) -> None:
        self.url = url.rstrip("/")
        self.cache = cache or usual_cache()
        self.retry = usual_retry() if retry is None else retry
        self._outage = Outage()
        self._key = hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def patience(self) -> float:
        """Seconds that a read may take: storage comes back, and a shard is fetched."""
        return self.retry + TRANSFER

    @cached_property
    def _indices(self) -> dict[str, Path | None]:
        return {}

    def index(self, folder: str) -> Path | None:
        """A copy of the index of the set in ``folder``, fetched once; None: there is none.

        Raises:
            SpecError: what reads such URLs is not installed.
            StorageError: storage does not answer, or the cache takes no files.
        """
        if folder not in self._indices:
            name = INDEX if folder == "." else f"{folder}/{INDEX}"
            kept = self.cache.folder / self._key / name.replace("/", "-")
            partial = kept.with_name(f"{kept.name}-{os.getpid()}")
            with storing(kept):
                kept.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._fetch(name, partial)
                with storing(kept):
                    partial.replace(kept)
            except FileNotFoundError:
                self._indices[folder] = None
            else:
                self._indices[folder] = kept
            finally:
                partial.unlink(missing_ok=True)
        return self._indices[folder]

    def check(self, files: Sequence[ShardFile]) -> None:
        """Find out whether each shard fits into the cache; whether it is there is found when it is fetched.

        Raises:
            DataError: one does not.
        """
        largest = max(files, key=lambda file: file.size)
        if largest.size > self.cache.limit:
            raise DataError(
                f"shard {printable(f'{self.url}/{largest.name}')} has {bytes_text(largest.size)}, and the cache"
                f" holds {bytes_text(self.cache.limit)}: set {SIZE}"
            )

    def note(self, files: Sequence[ShardFile]) -> str | None:
        """What is to be said before they are read."""
        total = sum(file.size for file in files)
        if total <= self.cache.limit:
            return None
        return (
            f"{printable(self.url)} has {bytes_text(total)} of shards, and the cache holds"
            f" {bytes_text(self.cache.limit)}: they will be fetched again and again; set {SIZE}"
        )

    def read(self, file: ShardFile, length: int, offset: int) -> bytes:
        """``length`` bytes from ``offset`` on.

        Raises:
            DataError: the shard is not where it should be, or is damaged there.
            StorageError: storage does not answer, or the cache takes no files.
        """
        plain = file.name.replace("/", "-").removesuffix(".tar")
        number = self.cache.opened(f"{self._key}/{plain}-{file.crc:08x}.tar", file.size, self._filler(file))
        try:
            return os.pread(number, length, offset)
        finally:
            os.close(number)

    def _filler(self, file: ShardFile) -> Callable[[Path], None]:
        where = printable(f"{self.url}/{file.name}")

        def fill(partial: Path) -> None:
            for _ in range(TWICE):
                try:
                    self._fetch(file.name, partial)
                except FileNotFoundError:
                    raise DataError(f"shard {where} is missing: copy it there again") from None
                if checksum(partial) == (file.size, file.crc):
                    return
            raise DataError(f"shard {where} is damaged, or not the one that its index is of")

        return fill

    def _fetch(self, name: str, target: Path) -> None:
        """Copy a file into ``target``, in place; waits for storage that is away. Raises FileNotFoundError."""
        url = f"{self.url}/{name}"
        failed, told, pause = None, False, FIRST_PAUSE
        while True:
            begun = time.monotonic()
            try:
                download(url, target)
            except (FileNotFoundError, ReslabError):
                raise
            except Exception as error:  # every library of every storage has its own
                away, first = self._outage.met(begun)
                why = printable(one_line(error) or type(error).__name__)
                failed = failed or time.monotonic()
                tried = max(away, time.monotonic() - failed)
                if tried + pause > self.retry:
                    raise StorageError(
                        f"{printable(url)} cannot be fetched, tried for {duration_text(tried)}: {why}"
                    ) from error
                if first and not told:
                    told = True
                    tell(f"{printable(self.url)} does not answer ({why}); trying again for {duration_text(self.retry)}")
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._outage.over(begun)
                return


def download(url: str, target: Path) -> None:
    """Copy what lies at ``url`` into the file ``target``, whose content is replaced in place.

    Raises:
        FileNotFoundError: nothing lies there.
        DataError: it may not be read.
        SpecError: what reads such URLs is not installed.
        StorageError: ``target`` cannot be written.
        Exception: whatever the storage's library raises.
    """
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url, **_options(url))
    except (ImportError, ValueError) as error:
        raise SpecError(f"cannot read {printable(url)}: {one_line(error)}; pip install 'reslab[remote]'") from None
    try:
        system.get_file(path, str(target))
    except PermissionError as error:
        raise DataError(f"{printable(url)} may not be read: {one_line(error)}") from None
    except OSError as error:
        if error.errno in FULL:
            with storing(target):
                raise
        raise


def _options(url: str) -> dict[str, Any]:
    """What a URL's library is told: by itself, aiohttp gives a silent server and a slow shard five minutes each."""
    import fsspec

    protocol = url.partition("://")[0]
    if protocol not in ("http", "https"):
        return {}
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE, sock_read=SILENCE)
    configured = fsspec.config.conf.get(protocol, {}).get("client_kwargs", {})
    return {"client_kwargs": {"timeout": limits, **configured}}


def checksum(file: Path) -> tuple[int, int]:
    """A file's bytes and their CRC-32."""
    size = total = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            size, total = size + len(block), zlib.crc32(block, total)
    return size, total


def usual_retry() -> float:
    """Seconds that storage may be away, as the environment says.

    Raises:
        SpecError: it says no number.
    """
    told = os.environ.get(RETRY)
    try:
        seconds = USUAL_RETRY if not told else float(told)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SpecError(f"{RETRY} must be seconds, not {told!r}")
    return seconds
