"""Time how long stored scores take to be averaged anew, and keep what came out in results/rescoring.json.

    python tools/rescoring.py FOLDER [--pictures 50000 --classes 1000 --rounds 5]

FOLDER gets random scores at five sizes (2 GB for ImageNet's validation pictures); nothing else is in it. The rival is
numpy's mean over the sizes of the same memory-mapped file, and the count of hits.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from reslab.core.contract import Contract
from reslab.core.files import sha256_file, write_json
from reslab.core.protocol import Native, find_protocol
from reslab.evaluation.store import in_folder
from reslab.experiments.environment import environment
from reslab.experiments.stored import mix, read_stored

ROOT = Path(__file__).resolve().parents[1]
ROWS = 1_000  # pictures made together


def make(folder: Path, pictures: int, classes: int) -> None:
    """Random scores, as a test keeps them."""
    draw, protocol = np.random.default_rng(0), find_protocol("multi-scale", Native(256, 224, "center"))
    shape = (pictures, len(protocol.groups), classes)
    arrays = [in_folder(folder)(name, shape) for name in ("logits", "probabilities")]
    for start in range(0, pictures, ROWS):
        rows = draw.standard_normal(arrays[0][start : start + ROWS].shape, np.float32)
        arrays[0][start : start + ROWS] = rows
        arrays[1][start : start + ROWS] = torch.from_numpy(rows).softmax(dim=2).numpy()
    labels = torch.from_numpy(draw.integers(0, classes, pictures))
    tensors = {"probabilities": torch.zeros(pictures, classes), "labels": labels}
    safetensors.torch.save_file(tensors, folder / "scores.safetensors")
    named = {"network": "random", "weights": "", "precision": "fp32", "split": "val", "command": "", "n": pictures}
    form = {"form": "photographs", "contract": Contract().model_dump(mode="json"), "resample": ""}
    more = {"step": 0, "forced": [], "preprocessing": form, "data": {"name": "random", "digest": ""}}
    files = ("scores.safetensors", "logits.npy", "probabilities.npy")
    digests = {name: sha256_file(folder / name) for name in files}
    facts = {**named, **more, "classes": list(map(str, range(classes))), "sha256": digests}
    write_json(folder / "protocol.json", {**facts, "settings": protocol.model_dump(mode="json")})


def ours(folder: Path) -> int:
    """Read, average and count, as `reslab evaluate --from-scores` does; the hits."""
    return mix([read_stored(folder)]).evaluation.hits


def rival(folder: Path) -> int:
    """The same by numpy."""
    labels = safetensors.torch.load_file(folder / "scores.safetensors")["labels"].numpy()
    mean = np.load(folder / "probabilities.npy", mmap_mode="r").mean(axis=1)
    return int((mean.argmax(axis=1) == labels).sum())


def main() -> None:
    """Make, take turns, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, value in (("pictures", 50_000), ("classes", 1_000), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    make(asked.folder, asked.pictures, asked.classes)
    times: dict[str, list[float]] = {"ours": [], "numpy": []}
    for _ in range(asked.rounds):
        for name, measure in (("ours", ours), ("numpy", rival)):
            begun = time.perf_counter()
            measure(asked.folder)
            times[name].append(round(time.perf_counter() - begun, 3))
    kept = {
        "command": f"python tools/rescoring.py FOLDER --pictures {asked.pictures} --classes {asked.classes}",
        "seconds": times,
        "median": {name: statistics.median(seconds) for name, seconds in times.items()},
        "environment": environment(torch.device("cpu"), "fp32"),
    }
    write_json(ROOT / "results" / "rescoring.json", kept)
    print(kept["median"])


if __name__ == "__main__":
    main()
