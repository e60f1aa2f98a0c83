"""One path for fp32 and bf16: autocast that is on or off. Parameters, statistics and updates stay fp32."""

from pathlib import Path
from typing import Literal

import torch

from reslab.core.experiment import Precision

Resolved = Literal["fp32", "bf16"]
NATIVE_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86 names, and Arm's


def resolve_precision(asked: Precision, device: torch.device) -> Resolved:
    """``auto`` takes bf16 where the processor computes in it natively, else fp32."""
    if asked != "auto":
        return asked
    return "bf16" if native_bf16(device) else "fp32"


def native_bf16(device: torch.device) -> bool:
    """Whether ``device`` multiplies in bf16: CUDA from compute capability 8.0, CPUs that say so in /proc/cpuinfo."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return not NATIVE_FLAGS.isdisjoint(processor_flags())
    return False


def processor_flags() -> frozenset[str]:
    """The processor's features as Linux names them; empty elsewhere."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    words = next((line for line in lines if line.lower().startswith(("flags", "features"))), ":")
    return frozenset(words.split(":", 1)[1].split())


def autocast(device: torch.device, precision: Resolved) -> torch.autocast:
    """The context in which a forward pass runs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
