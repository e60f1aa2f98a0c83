"""``reslab data``."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reslab.cli.advancing import advancing, say_found
from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import warn
from reslab.core.text import few, printable
from reslab.core.units import bytes_text, counted

if TYPE_CHECKING:
    from reslab.data.pictures import Pictures
    from reslab.data.verify import Remark, Verification

LISTED = 50  # lines of a kind on a terminal; --json has all


def verify(path: str, /, *, workers: int | None = None, json: bool = False) -> int:
    """Read every picture of a folder or of shards whole: what is wrong with it, and what is merely unusual.

    Defects (damaged files, other classes in train/ than in val/, exact duplicates, ...) exit with 1; notes (grey, EXIF
    orientation, unusual sizes, ...) are handled by stated rules and exit with 0.

    Args:
        path: class folders, alone or below train/ and val/, or shards of them.
        workers: processes that decode; by default one a core.
        json: print one JSON document.
    """
    from reslab.data.parts import HALVES
    from reslab.data.pool import check_workers
    from reslab.data.sharded import ShardFolder
    from reslab.data.source import PictureFolder, SmallPictures, find_data
    from reslab.data.verify import verify as read_all
    from reslab.data.verify import verify_shards
    from reslab.experiments.session import cores

    check_workers(workers)
    source = find_data(path)
    if isinstance(source, SmallPictures):
        return _verify_small(source.name, {part: source.read(part) for part in HALVES}, as_json=json)
    hands = cores() if workers is None else workers
    begun = time.monotonic()
    with advancing("verified") as checked:
        if isinstance(source, ShardFolder):
            found = verify_shards(source, hands, warn, checked)
        else:
            assert isinstance(source, PictureFolder)
            found = read_all(source.root, HALVES if source.halved else (".",), hands, warn, checked, say_found)
    seconds = time.monotonic() - begun
    if json:
        print_json(_as_json(found, seconds))
    else:
        _print(found, seconds)
    return 1 if found.defects else 0


def _as_json(found: "Verification", seconds: float) -> dict[str, Any]:
    return {
        "path": printable(str(found.root)),
        "pictures": found.pictures,
        "bytes": found.size,
        "classes": [
            {
                "label": label,
                "name": printable(name),
                **{part: counts.get(name, 0) for part, counts in found.counts.items()},
            }
            for label, name in enumerate(found.classes)
        ],
        "defects": [remark._asdict() for remark in found.defects],
        "notes": [remark._asdict() for remark in found.notes],
        "other_files": found.others,
        "seconds": round(seconds, 3),
        "pictures_per_second": round(found.pictures / seconds, 1),
    }


def _print(found: "Verification", seconds: float) -> None:
    titles = ["pictures" if part == "." else part for part in found.counts]
    rows = [
        (str(label), printable(name), *(f"{counts.get(name, 0):,}" for counts in found.counts.values()))
        for label, name in enumerate(found.classes)
    ]
    print_table(("label", "class", *titles), rows)
    for title, remarks in (("defect", found.defects), ("note", found.notes)):
        if remarks:
            stdout().print()
            stdout().print(f"{title}s")
            for remark in remarks[:LISTED]:
                stdout().print(f"{remark.path}: {remark.what}", soft_wrap=True)
            stdout().print(f"{title}s by kind: {_kinds(remarks)}")
        if len(remarks) > LISTED:
            stdout().print(f"and {counted(len(remarks) - LISTED, f'more {title}')}; --json lists all")
    if found.others:
        stdout().print(f"\nother files, no pictures by name ({len(found.others):,}): {few(found.others)}")
    stdout().print(
        f"\n{counted(found.pictures, 'picture')} of {counted(len(found.classes), 'class')}, {bytes_text(found.size)}:"
        f" {counted(len(found.defects), 'defect')}, {counted(len(found.notes), 'note')}"
        f" ({counted(round(found.pictures / seconds), 'picture')} a second)"
    )


def _kinds(remarks: "Sequence[Remark]") -> str:
    """How many of each kind, by the words up to the first number or comma."""
    counts = Counter(re.split(r"[,:(]| as | \d", remark.what)[0] for remark in remarks)
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())


def _verify_small(name: str, halves: "dict[str, Pictures]", *, as_json: bool) -> int:
    """Small pictures were checked while they were read: sizes, labels, digests."""
    counts = {part: pictures.labels.bincount(minlength=len(pictures.classes)) for part, pictures in halves.items()}
    classes = next(iter(halves.values())).classes
    rows = [
        {"label": label, "name": title, **{part: int(count[label]) for part, count in counts.items()}}
        for label, title in enumerate(classes)
    ]
    total = sum(len(pictures) for pictures in halves.values())
    if as_json:
        print_json({"path": name, "pictures": total, "classes": rows, "defects": [], "notes": [], "other_files": []})
        return 0
    print_table(
        ("label", "class", *counts),
        [[f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()] for row in rows],
    )
    stdout().print(f"\n{counted(total, 'picture')} of {counted(len(classes), 'class')}: as they should be")
    return 0
