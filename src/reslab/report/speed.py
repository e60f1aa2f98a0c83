"""What `reslab bench` measured, as a table and sentences: the same on a terminal and in docs/speed.md."""

from collections.abc import Iterator
from typing import Any, Final

from reslab.core.units import counted

SPEED_HEADINGS: Final = ("", "images/s", "rival", "ratio", "lowest", "highest")


def speed_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rows as texts: rates in images/s, the median ratio, and the lowest and highest of all rounds."""
    return [
        (
            row["name"],
            f"{row['rate']:,.1f}",
            f"{row['rival_rate']:,.1f}",
            *(f"{ratio:.2f}" for ratio in (row["ratio"], min(row["ratios"]), max(row["ratios"]))),
        )
        for row in found["rows"]
    ]


def speed_sentences(found: dict[str, Any]) -> Iterator[str]:
    """What differs from the rival's pixels, what limits, and which settings are best here."""
    for path, gap in found.get("differences", {}).items():
        yield (
            f"The {path} path's values differ from Pillow's full decode and resize by {gap['mean_absolute']:.3f} of 255"
            f" on average; the bias is {gap['bias']:.3f}."
        )
    yield from found["advice"]["because"]


def speed_place(found: dict[str, Any]) -> str:
    """What was measured where, with which versions, in how many rounds."""
    where, settings = found["environment"], found["settings"]
    what = where.get("precision") or f"{counted(settings['pictures'], 'photograph')} of {settings['data']}"
    processor = where["processor"] if where["device"] == "cpu" else f"{where['device']} beside {where['processor']}"
    rivals = (
        "" if settings["kind"] in ("loader", "test") else f", rivals {settings.get('rivals', 'in the same process')}"
    )
    versions = ", ".join(f"{name} {where[name]}" for name in ("torch", "pillow", "simplejpeg") if name in where)
    return (
        f"{what}, n={counted(found['rounds'], 'round')}, {processor}, {where['capability']},"
        f" {counted(where['cores'], 'core')}, {counted(where['threads'], 'thread')}, {versions}{rivals}"
    )


def speed_command(found: dict[str, Any]) -> str:
    """The command that measures the same; a folder is named without its place."""
    settings = found["settings"]
    flags = {
        key: settings.get(key)
        for key in ("model", "data", "recipe", "batch", "bn_group", "workers", "precision", "device")
    }
    words = [f"--{key.replace('_', '-')} {value}" for key, value in flags.items() if value is not None]
    return " ".join(["reslab bench", settings["kind"], *words, f"--rounds {found['rounds']}"])
