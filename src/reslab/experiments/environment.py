"""Where a run took place: recorded once, compared when it is resumed."""

import functools
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any, Final

import torch

from reslab._version import __version__
from reslab.core.errors import SpecError, unknown
from reslab.core.units import counted
from reslab.experiments.revision import revision_of
from reslab.training.precision import Resolved

CODE: Final = ("reslab", "revision")
DECIDES_BITS: Final = (
    *CODE,
    "torch",
    "device",
    "processor",
    "capability",
    "threads",
    "precision",
    "engine",
    "processes",
)
DEVICES: Final = ("auto", "cpu", "cuda")


def find_device(asked: str) -> torch.device:
    """The device that ``asked`` means, on a CUDA device with a number made the present one; ``auto`` prefers CUDA.

    Raises:
        SpecError: an unknown device, or one that this machine lacks.
    """
    kind, colon, number = asked.partition(":")
    if kind not in DEVICES or (colon and not (kind == "cuda" and number.isdecimal())):
        raise SpecError(unknown("device", asked, DEVICES))
    there = torch.cuda.is_available()
    if kind == "cuda" and not there:
        raise SpecError("--device cuda: torch finds no CUDA device here")
    if colon and int(number) >= torch.cuda.device_count():
        raise SpecError(f"--device {asked}: torch finds {counted(torch.cuda.device_count(), 'CUDA device')} here")
    device = torch.device(("cuda" if there else "cpu") if kind == "auto" else asked)
    if device.index is not None:
        torch.cuda.set_device(device)  # streams and graphs belong to the present device
    return device


def choose_device(asked: str) -> torch.device:
    """The device that ``asked`` means; on a CUDA device torch then computes repeatably, and in no less than it says.

    Raises:
        SpecError: as `find_device` does.
    """
    device = find_device(asked)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the same seed on the same device: the same bits
        torch.backends.cudnn.allow_tf32 = False  # fp32 is fp32; torch allows convolutions ten bits of mantissa
    return device


def environment(device: torch.device, precision: Resolved) -> dict[str, Any]:
    """Versions, processor, threads, precision and revision; no name of host, user or path."""
    return {
        "reslab": __version__,
        "revision": _revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
        "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What has changed of the things that decide a result's bits: one phrase each."""
    changed = [key for key in DECIDES_BITS if key in before and before[key] != now.get(key)]
    return [f"{key} was {before.get(key)} and is {now.get(key)}" for key in changed]


@functools.cache
def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    wanted = {"model name", "cpu family", "model", "stepping"}
    first: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in wanted:
            first.setdefault(key.strip(), value.strip())
    if "model name" not in first:
        return platform.processor() or platform.machine()
    family = " ".join(f"{key.split()[-1]} {first[key]}" for key in ("cpu family", "model", "stepping") if key in first)
    return f"{first['model name']} ({family})"


@functools.cache
def _revision() -> str | None:
    return revision_of(Path(__file__).parents[1])
