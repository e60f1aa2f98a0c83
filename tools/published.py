"""Test published weights on real pictures, and keep what came out in results/published.json.

    python tools/published.py --cifar FOLDER --akamaster FOLDER --resnet50 model.json --photos FOLDER

FOLDER of ``--akamaster`` has resnet20-12fca82f.th and resnet56-4bfd9763.th; ``--photos`` has val/ with
ten of ImageNet's classes. Each row is what the commands in it print, in fp32.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from reslab.core.files import write_json
from reslab.experiments.environment import environment

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("n", "hits", "error", "interval", "top5_error", "protocol", "precision")


def reslab(*words: str) -> Any:
    """What a command prints with ``--json``."""
    done = subprocess.run([sys.executable, "-m", "reslab", *words, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def row(library: str, weights: Path, data: Path, pictures: str, published: str, split: tuple[str, ...]) -> Any:
    """One network, brought in and tested."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/weights"
        said = reslab("weights", "import", library, str(weights), "--out", out)
        found = reslab("evaluate", out, "--data", str(data), *split)
    return {
        "weights": f"{library} {weights.name}",
        "model": said["model"],
        "architecture": said["architecture"],
        "pictures": pictures,
        "published": published,
        "commands": [
            f"reslab weights import {library} {weights.name} --out weights",
            " ".join(["reslab evaluate weights --data", data.name, *split]),
        ],
        **{key: found[key] for key in KEPT},
    }


def main() -> None:
    """Test all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cifar", "akamaster", "resnet50", "photos"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    places = parser.parse_args()
    cifar = "CIFAR-10 test pictures"
    woof = "photographs of 10 of ImageNet's 1,000 classes (imagewoof-mini/val, shorter side 320)"
    rows = [
        row("akamaster", places.akamaster / "resnet20-12fca82f.th", places.cifar, cifar, "8.27", ()),
        row("akamaster", places.akamaster / "resnet56-4bfd9763.th", places.cifar, cifar, "6.61", ()),
        row("keras-tfjs", places.resnet50, places.photos, woof, "24.7 on all 1,000 classes", ("--split", "val")),
    ]
    kept = {"rows": rows, "environment": environment(torch.device("cpu"), "fp32")}
    write_json(ROOT / "results" / "published.json", kept)


if __name__ == "__main__":
    main()
