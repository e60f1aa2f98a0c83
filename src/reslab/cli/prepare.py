"""``reslab data prepare``."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reslab.cli.advancing import advancing_parts, in_bytes, in_pictures, say_found
from reslab.cli.output import print_json, stdout
from reslab.cli.progress import warn
from reslab.core.errors import SpecError
from reslab.core.text import printable
from reslab.core.units import duration_text

if TYPE_CHECKING:
    from reslab.data.halves import Sources
    from reslab.data.prepare import Moved
    from reslab.data.prepared import Half, Prepared


def prepare(
    dataset: Literal["imagenet"],
    /,
    *,
    out: Path,
    train_archive: Path | None = None,
    val_archive: Path | None = None,
    devkit: Path | None = None,
    shards: bool = False,
    shorter_side: int | None = None,
    quality: int | None = None,
    shard_size: str | None = None,
    workers: int | None = None,
    json: bool = False,
) -> None:
    """Make folders that reslab reads from a data set's official archives; the same command goes on after a stop.

    Every header is checked, pictures are kept byte for byte, and nothing is written outside the folder. With --shards
    they become shards at once, the same that `reslab data pack` would make of the folders.

    Args:
        dataset: imagenet: the challenge of 2012.
        out: the folder of train/ and val/, there or to be made.
        train_archive: ILSVRC2012_img_train.tar.
        val_archive: ILSVRC2012_img_val.tar; needs the development kit.
        devkit: ILSVRC2012_devkit_t12.tar.gz, or its folder; server-classes.txt is made from it.
        shards: write shards, without class folders in between.
        shorter_side: in shards, pictures whose shorter side is larger become JPEG of this shorter side.
        quality: of those JPEG pictures, 1 to 95; by default 90.
        shard_size: of a shard: bytes, as 256MiB or 1GB, or a plain number of pictures; by default 256MiB.
        workers: processes that read and write shards; by default one a core.
        json: print one JSON document.
    """
    if train_archive is None and val_archive is None:
        raise SpecError(f"data prepare {dataset} needs pictures: give --train-archive, --val-archive, or both")
    if val_archive is not None and devkit is None:
        raise SpecError("--val-archive needs --devkit: the archive does not say which class a picture is of")
    sizes = {"--shorter-side": shorter_side, "--quality": quality, "--shard-size": shard_size, "--workers": workers}
    for name, value in sizes.items():
        if value is not None and not shards:
            raise SpecError(f"{name} is of --shards, which is not given")
    from reslab.data.halves import Sources
    from reslab.data.prepare import prepare_imagenet

    write = _writing_shards(shard_size, shorter_side, quality, workers) if shards else prepare_imagenet
    begun = time.monotonic()
    made: set[str] = set()
    with advancing_parts(text=in_pictures if shards else in_bytes) as advanced:
        moved = partial(_advanced, made, advanced)
        prepared = write(Sources(train_archive, val_archive, devkit), out, warn, moved)
    seconds = time.monotonic() - begun
    if json:
        print_json(_as_json(out, prepared, seconds))
    else:
        _print(prepared)
        ending = f"is prepared ({duration_text(seconds)})" if made else "was prepared before: nothing is to be done"
        stdout().print(f"\n{printable(str(out))} {ending}", soft_wrap=True)


def _writing_shards(
    shard_size: str | None, shorter_side: int | None, quality: int | None, workers: int | None
) -> "Callable[[Sources, Path, Callable[[str], None], Moved], Prepared]":
    """`prepare_imagenet`, into shards."""
    from reslab.cli.pack import packing, warn_damaged
    from reslab.data.pool import check_workers
    from reslab.data.prepare_shards import prepare_shards
    from reslab.experiments.session import cores

    check_workers(workers)
    how, hands = packing(shard_size, shorter_side, quality), cores() if workers is None else workers

    def write(sources: "Sources", out: Path, warn: Callable[[str], None], moved: "Moved") -> "Prepared":
        found = prepare_shards(sources, out, how, hands, warn, moved, say_found)
        sharded = [half.sharded for half in (found.train, found.val) if half and half.sharded]
        warn_damaged([path for one in sharded for path in one.damaged])
        return found

    return write


def _advanced(made: set[str], advanced: Callable[[str, int, int], None], half: str, done: int, of: int) -> None:
    """Note that there was something to do, and say how far it is."""
    made.add(half)
    advanced(half, done, of)


def _as_json(out: Path, prepared: "Prepared", seconds: float) -> dict[str, Any]:
    def numbers(half: "Half | None") -> dict[str, Any] | None:
        if half is None:
            return None
        found: dict[str, Any] = half.model_dump(include={"classes", "pictures", "bytes"})
        return found | ({} if half.sharded is None else {"sharded": half.sharded.model_dump(exclude={"plan"})})

    return {
        "out": printable(str(out)),
        "train": numbers(prepared.train),
        "val": numbers(prepared.val),
        "odd": [odd.model_dump() for half in (prepared.train, prepared.val) if half for odd in half.odd],
        "seconds": round(seconds, 3),
    }


def _print(prepared: "Prepared") -> None:
    from reslab.data.halves import size_text

    if prepared.train:
        stdout().print(size_text("train", prepared.train))
    if prepared.val:
        stdout().print(size_text("val", prepared.val))
    odd = [odd for half in (prepared.train, prepared.val) if half for odd in half.odd]
    if odd:
        stdout().print("\nodd, kept as they are")
        for one in odd:
            stdout().print(printable(f"{one.path}: {one.what}"), soft_wrap=True)
