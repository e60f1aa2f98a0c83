"""``reslab data stats``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reslab.cli.advancing import advancing, say_found
from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import warn
from reslab.core.contract import Contract, Resample
from reslab.core.errors import SpecError
from reslab.core.units import counted

if TYPE_CHECKING:
    from reslab.core.statistics import Statistics
    from reslab.data.source import Dataset, Source
    from reslab.data.stats import Sums

DOCUMENT, IMAGE = ".json", ".safetensors"


def stats(
    path: str,
    /,
    *,
    split: Literal["train", "val", "all"] = "train",
    out: Path | None = None,
    shorter_side: int | None = None,
    crop: int | None = None,
    resample: Resample | None = None,
    workers: int | None = None,
    json: bool = False,
) -> int:
    """Measure a data set's pixels in one pass: mean and deviation of each channel, principal colours, mean image.

    Every number is over the same pixels: the central crops of photographs as testing takes them, small pictures as they
    are. Sums are of integers: any number of workers gives the same document.

    Args:
        path: embedded, a folder of photographs or a CIFAR folder, as `reslab train` takes it.
        split: which part of it.
        out: a file FILE.json for the document; the mean image is kept beside it as FILE.safetensors.
        shorter_side: that photographs are resized to; by default 256.
        crop: pixels a side of the central crop; by default 224.
        resample: how photographs are resized, always antialiased; by default bilinear.
        workers: processes that decode; by default one a core.
        json: print one JSON document.
    """
    from reslab.core.files import require_writable, write_json
    from reslab.data.mean_image import write_mean_image
    from reslab.data.pool import check_workers
    from reslab.data.source import Reading, find_data
    from reslab.data.stats import mean_image, statistics

    check_workers(workers)
    if out is not None:
        if out.suffix != DOCUMENT or out.is_dir():
            raise SpecError(f"--out is the file of the document and ends in {DOCUMENT}, not {out}")
        require_writable(out.parent)
    source = find_data(path)
    asked = {"shorter_side": shorter_side, "crop": crop, "resample": resample}
    contract = _contract({key: value for key, value in asked.items() if value is not None}, source)
    pictures = source.read(split, Reading(found=say_found))
    begun = time.monotonic()
    sums = _summed(pictures, contract, workers)
    seconds = time.monotonic() - begun
    found = statistics(pictures, sums, contract, None if out is None else out.with_suffix(IMAGE).name)
    if out is not None:
        write_mean_image(out.with_suffix(IMAGE), mean_image(sums), found)
        write_json(out, found.model_dump(mode="json"))
    if json:
        print_json({**found.model_dump(mode="json"), "seconds": round(seconds, 3)})
    else:
        _print(found, out, seconds)
    return 0


def _contract(asked: dict[str, Any], source: "Source") -> Contract | None:
    if source.name == "folder":
        return Contract.parse(asked, "the flags")
    if asked:
        flags = "--shorter-side, --crop and --resample"
        raise SpecError(f"{flags} are for photographs; small pictures are measured as they are")
    return None


def _summed(pictures: "Dataset", contract: Contract | None, workers: int | None) -> "Sums":
    from reslab.data.pictures import Pictures
    from reslab.data.stats import photograph_sums, small_sums
    from reslab.experiments.session import cores

    if isinstance(pictures, Pictures):
        return small_sums(pictures)
    assert contract is not None
    with advancing("measured") as measured:
        return photograph_sums(pictures, contract, cores() if workers is None else workers, warn, measured)


def _print(found: "Statistics", out: Path | None, seconds: float) -> None:
    print_table(
        ("", "mean", "deviation", "covariance", "", "", "eigenvectors", "", ""),
        [
            (
                name,
                *(f"{values[row]:.3f}" for values in (found.mean, found.std)),
                *(f"{value:.5f}" for value in found.covariance[row]),
                *(f"{value:.4f}" for value in found.eigenvectors[row]),
            )
            for row, name in enumerate("RGB")
        ],
    )
    prepared = found.contract
    crops = "pictures as they are"
    if prepared is not None:
        crops = f"central crops of {prepared.crop}x{prepared.crop} at a shorter side of {prepared.shorter_side}"
        crops += f" ({prepared.resample})"
    smaller = f"; {found.enlarged:,} of them smaller than the crop, so enlarged" if found.enlarged else ""
    eigenvalues = ", ".join(f"{value:.6f}" for value in found.eigenvalues)
    stdout().print(
        f"\neigenvalues {eigenvalues}; mean and deviation of pixels in [0, 255], the others of pixels in [0, 1]\n"
        f"{found.data}, {found.split}: {counted(found.pictures, 'picture')}, {counted(found.pixels, 'pixel')},"
        f" {crops}{smaller} ({counted(round(found.pictures / seconds), 'picture')} a second)"
    )
    if out is not None:
        stdout().print(f"kept in {out} and {out.with_suffix(IMAGE)}")
