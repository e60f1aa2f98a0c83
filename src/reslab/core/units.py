"""Time is counted in steps; these turn what people say into steps, and counts into percent."""

import math
import re
from typing import Final

from reslab.core.errors import SpecError

BYTES: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i)?)?B", re.IGNORECASE)


def epochs_to_steps(epochs: float, pictures: int, batch: int) -> int:
    """Steps of ``batch`` pictures that cover ``epochs`` passes over ``pictures``, rounded up.

    Raises:
        SpecError: if any of the three is not positive.
    """
    if not (0 < epochs < math.inf) or pictures <= 0 or batch <= 0:
        raise SpecError(f"epochs, pictures and batch must be positive, not {epochs}, {pictures}, {batch}")
    return math.ceil(epochs * pictures / batch)


def percent(part: int, whole: int) -> float:
    """``part`` of ``whole`` in percent; ``whole`` must be positive."""
    assert whole > 0
    return 100.0 * part / whole


def bytes_text(count: int) -> str:
    """A byte count for people: ``1.5 MiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def bytes_of(text: str) -> int:
    """A byte count as people write it: ``256MiB``, ``1.5 GB``, ``4096 B``.

    Raises:
        SpecError: it is no such count, or not positive.
    """
    found = BYTES.fullmatch(text.strip())
    size = 0.0
    if found:
        number, letter, binary = found.groups()
        size = float(number) * (1024 if binary else 1000) ** " KMGT".index((letter or " ").upper())
    if size < 1:
        raise SpecError(f"{text!r} is no number of bytes: write 256MiB or 1.5GB")
    return int(size)


def counted(count: int, thing: str) -> str:
    """A number of things for people: ``1 run``, ``64,000 steps``, ``10 classes``."""
    plural = "es" if thing.endswith(("s", "x", "ch", "sh")) else "s"
    return f"{count:,} {thing}{'' if count == 1 else plural}"


def duration_text(seconds: float) -> str:
    """A duration for people: ``48 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
