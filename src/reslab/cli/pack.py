"""``reslab data pack``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reslab.cli.advancing import advancing, say_found
from reslab.cli.output import print_json, stdout
from reslab.cli.progress import warn
from reslab.core.errors import SpecError
from reslab.core.text import few, printable
from reslab.core.units import bytes_of, bytes_text, counted

if TYPE_CHECKING:
    from reslab.data.pack import Packed
    from reslab.data.pack_set import Packing


def pack(
    path: Path,
    /,
    *,
    out: Path,
    shorter_side: int | None = None,
    quality: int | None = None,
    shard_size: str | None = None,
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Pack a folder of photographs into shards: a few large TAR files, which --data takes in the folder's place.

    Pictures stay byte for byte as they are, unless --shorter-side makes the larger ones smaller. The same command goes
    on with what was stopped; equal pictures give equal shards. Any reader of WebDataset's layout can read them.

    Args:
        path: class folders, alone or below train/ and val/.
        out: the folder for the shards; new or empty.
        shorter_side: pictures whose shorter side is larger become JPEG of this shorter side.
        quality: of those JPEG pictures, 1 to 95; by default 90.
        shard_size: of a shard: bytes, as 256MiB or 1GB, or a plain number of pictures; by default 256MiB.
        workers: processes that read and write; by default one a core.
        json: print one JSON document.
    """
    from reslab.data.pack import pack as write
    from reslab.data.pool import check_workers
    from reslab.data.source import PictureFolder, find_data
    from reslab.experiments.session import cores

    check_workers(workers)
    how = packing(shard_size, shorter_side, quality)
    source = find_data(str(path))
    if not isinstance(source, PictureFolder):
        raise SpecError(f"data pack takes a folder of photographs, and {printable(str(path))} is none")
    begun = time.monotonic()
    with advancing("packed") as done:
        packed = write(source, out, how, cores() if workers is None else workers, warn, done, say_found)
    seconds = time.monotonic() - begun
    if packed.others:
        warn(f"files that are no pictures by name are in no shard ({len(packed.others):,}): {few(packed.others)}")
    warn_damaged(packed.damaged)
    if json:
        print_json(_as_json(packed, path, out, how, seconds))
    else:
        _print(packed, out, seconds)


def packing(shard_size: str | None, shorter_side: int | None, quality: int | None) -> "Packing":
    """How pictures are packed, as the command line says.

    Raises:
        SpecError: it cannot be.
    """
    from reslab.data.pack_set import Packing
    from reslab.data.shard_writer import Smaller

    if quality is not None and shorter_side is None:
        raise SpecError("--quality is of pictures that --shorter-side makes smaller, and is not given")
    if quality is not None and not 1 <= quality <= 95:
        raise SpecError(f"--quality must be 1 to 95, not {quality}")
    if shorter_side is not None and shorter_side < 1:
        raise SpecError(f"--shorter-side must be 1 or more, not {shorter_side}")
    smaller = None if shorter_side is None else Smaller(shorter_side, 90 if quality is None else quality)
    if shard_size is None:
        return Packing(smaller=smaller)
    if shard_size.isdecimal():
        if int(shard_size) < 1:
            raise SpecError("--shard-size must be 1 picture or more")
        return Packing(pictures=int(shard_size), smaller=smaller)
    try:
        return Packing(size=bytes_of(shard_size), smaller=smaller)
    except SpecError as error:
        raise SpecError(f"--shard-size: {error}, or a number of pictures") from None


def warn_damaged(paths: Sequence[str]) -> None:
    """Name the pictures that should have been made smaller and cannot be decoded."""
    if paths:
        warn(f"pictures that cannot be decoded are kept as they are ({len(paths):,}): {few(paths)}")


def _as_json(packed: "Packed", path: Path, out: Path, how: "Packing", seconds: float) -> dict[str, Any]:
    return {
        "path": printable(str(path)),
        "out": printable(str(out)),
        "pictures": packed.pictures,
        "bytes": packed.size,
        "shards": packed.shards,
        "made_before": packed.kept,
        "shorter_side": how.smaller.shorter_side if how.smaller else None,
        "quality": how.smaller.quality if how.smaller else None,
        "resized": packed.resized,
        "damaged": list(map(printable, packed.damaged)),
        "other_files": packed.others,
        "digests": packed.digests,
        "seconds": round(seconds, 3),
        "pictures_per_second": round(packed.pictures / seconds, 1),
    }


def _print(packed: "Packed", out: Path, seconds: float) -> None:
    before = f", {packed.kept:,} of them made before" if packed.kept else ""
    resized = f"{packed.resized:,} resized" if packed.resized else "byte for byte"
    stdout().print(
        f"{counted(packed.pictures, 'picture')} in {counted(packed.shards, 'shard')}{before},"
        f" {bytes_text(packed.size)}, {resized} ({counted(round(packed.pictures / seconds), 'picture')} a second)"
    )
    stdout().print(f"train on them with: --data {printable(str(out))}")
