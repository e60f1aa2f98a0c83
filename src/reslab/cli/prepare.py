"""``reslab data prepare``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import Progress, TaskID

from reslab.cli.output import print_json, say, stdout
from reslab.core.errors import SpecError
from reslab.core.text import printable
from reslab.core.units import duration_text

if TYPE_CHECKING:
    from reslab.data.prepared import Half, Prepared


def prepare(
    dataset: Literal["imagenet"],
    /,
    *,
    out: Path,
    train_archive: Path | None = None,
    val_archive: Path | None = None,
    devkit: Path | None = None,
    json: bool = False,
) -> None:
    """Make folders that reslab reads from a data set's official archives; the same command goes on after a stop.

    Every header is checked, pictures are kept byte for byte, and nothing is written outside the folder.

    Args:
        dataset: imagenet: the challenge of 2012.
        out: the folder of train/ and val/, there or to be made.
        train_archive: ILSVRC2012_img_train.tar.
        val_archive: ILSVRC2012_img_val.tar; needs the development kit.
        devkit: ILSVRC2012_devkit_t12.tar.gz, or its folder; server-classes.txt is made from it.
        json: print one JSON document.
    """
    if train_archive is None and val_archive is None:
        raise SpecError(f"data prepare {dataset} needs pictures: give --train-archive, --val-archive, or both")
    if val_archive is not None and devkit is None:
        raise SpecError("--val-archive needs --devkit: the archive does not say which class a picture is of")
    from reslab.data.prepare import Sources, prepare_imagenet

    begun = time.monotonic()
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def moved(half: str, done: int, total: int) -> None:
            if half not in tasks:
                tasks[half] = bar.add_task(half, total=total)
            bar.update(tasks[half], completed=done)

        sources = Sources(train_archive, val_archive, devkit)
        prepared = prepare_imagenet(sources, out, lambda text: say(f"reslab: warning: {text}"), moved)
    seconds = time.monotonic() - begun
    if json:
        print_json(_as_json(out, prepared, seconds))
    else:
        _print(prepared)
        ending = f"is prepared ({duration_text(seconds)})" if tasks else "was prepared before: nothing is to be done"
        stdout().print(f"\n{printable(str(out))} {ending}", soft_wrap=True)


def _as_json(out: Path, prepared: "Prepared", seconds: float) -> dict[str, Any]:
    def numbers(half: "Half | None") -> dict[str, int] | None:
        return None if half is None else half.model_dump(include={"classes", "pictures", "bytes"})

    return {
        "out": printable(str(out)),
        "train": numbers(prepared.train),
        "val": numbers(prepared.val),
        "odd": [odd.model_dump() for half in (prepared.train, prepared.val) if half for odd in half.odd],
        "seconds": round(seconds, 3),
    }


def _print(prepared: "Prepared") -> None:
    from reslab.data.prepare import size_text

    if prepared.train:
        stdout().print(size_text("train", prepared.train))
    if prepared.val:
        stdout().print(size_text("val", prepared.val))
    odd = [odd for half in (prepared.train, prepared.val) if half for odd in half.odd]
    if odd:
        stdout().print("\nodd, kept as they are")
        for one in odd:
            stdout().print(printable(f"{one.path}: {one.what}"), soft_wrap=True)
