"""Test published weights in every way that the paper does, and keep what came out in results/testing.json.

    python tools/testing.py WORK

WORK is a folder with imported weights m20 and m56 (akamaster) and r50 (Keras), and links to the pictures:
cifar-10-batches-bin and imagewoof-mini. What was tested there before is not tested again; each entry has the command
that gives it, to be run in WORK.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from reslab.core.files import write_json
from reslab.experiments.environment import environment

ROOT = Path(__file__).resolve().parents[1]
TOLD: Final = ("protocol", "views", "average", "precision", "n", "hits", "error", "interval", "top5_error")
PAIRED: Final = ("statement", "n", "hits", "only_first", "only_second", "difference", "interval", "p_value", "verdict")
CIFAR: Final = "cifar-10-batches-bin"
WOOF: Final = ("imagewoof-mini", "--split", "all")
SMALL: Final = ("single", "flip")
WAYS: Final = {
    "fp32": ("center", "ten-crop", "multi-scale"),
    "bf16": ("center", "ten-crop", "multi-scale", "multi-scale-mirror", "places.toml"),
}
PLACES: Final = """shorter_sides = [224, 256, 384, 480, 640]
dense = "classify-then-average"
"""
SIZES: Final = (("224", "256"), ("640",))  # below the photographs' own, and twice that
AVERAGES: Final = ("probabilities", "logits")


def reslab(*words: str) -> Any:
    """What a command prints with ``--json``."""
    done = subprocess.run([sys.executable, "-m", "reslab", *words, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def tested(name: str, data: Sequence[str], protocol: str, precision: str) -> tuple[str, str]:
    """Test once; the folder of the scores, and the command."""
    out = f"scores/{name}-{Path(protocol).stem}-{precision}"
    words = ["evaluate", name, "--data", *data, "--protocol", protocol, "--precision", precision, "--out", out]
    if not Path(out, "protocol.json").exists():
        reslab(*words)
    return out, " ".join(["reslab", *words])


def scored(folders: Sequence[str], *how: str) -> dict[str, Any]:
    """What stored scores say, averaged anew."""
    words = ["evaluate", "--from-scores", *folders, *how]
    found = reslab(*words)
    networks = [one["network"] for one in found.get("members", [found])]
    return {"networks": networks, **{key: found[key] for key in TOLD}, "command": " ".join(["reslab", *words])}


def compared(first: str, second: str) -> dict[str, Any]:
    """What a comparison of stored scores says."""
    words = ["compare", "--from-scores", first, second]
    found = reslab(*words)
    precision = found["networks"][0]["precision"]
    return {**{key: found[key] for key in PAIRED}, "precision": precision, "command": " ".join(["reslab", *words])}


def main() -> None:
    """Test all three, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    os.chdir(parser.parse_args().work)
    Path("places.toml").write_text(PLACES, encoding="ascii")
    plan = [(name, (CIFAR,), way, "fp32") for way in SMALL for name in ("m20", "m56")]
    plan += [("r50", WOOF, way, precision) for precision, ways in WAYS.items() for way in ways]
    folders, commands = {}, []
    for name, data, way, precision in plan:
        folders[name, way, precision], command = tested(name, data, way, precision)
        commands.append(command)
    cifar, photographs = [], []
    for way in SMALL:
        members = [folders[name, way, "fp32"] for name in ("m20", "m56")]
        cifar += [scored(group) for group in (members[:1], members[1:], members)]
    paired = [compared(folders["m20", "single", "fp32"], folders["m56", "single", "fp32"])]
    paired += [compared(folders[name, "single", "fp32"], folders[name, "flip", "fp32"]) for name in ("m20", "m56")]
    for precision, ways in WAYS.items():
        crop, *others = (folders["r50", way, precision] for way in ways)
        photographs += [scored([crop]), *(scored([one], "--average", how) for one in others for how in AVERAGES)]
        dense = [folders["r50", way, precision] for way in ("multi-scale", "places.toml") if way in ways]
        photographs += [scored([one], "--scales", *sizes) for one in dense for sizes in SIZES]
        paired += [compared(crop, other) for other in others]
    paired.append(compared(*(folders["r50", way, "bf16"] for way in ("multi-scale", "places.toml"))))
    kept = {
        "tests": commands,
        "cifar": cifar,
        "photographs": photographs,
        "paired": paired,
        "environment": environment(torch.device("cpu"), "fp32"),
    }
    write_json(ROOT / "results" / "testing.json", kept)


if __name__ == "__main__":
    main()
