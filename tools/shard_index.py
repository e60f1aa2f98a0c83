"""Measure what it takes to open the index of shards of 1,281,167 pictures, ImageNet-1k's training set.

    python tools/shard_index.py [--pictures 1281167] [--rounds 5]

The index is synthetic, with paths as ImageNet has them; each round opens it in a process of its own. Prints one JSON
document: seconds to open and check it, and how much the process grew.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from reslab.data.index import Index
from reslab.data.shards import INDEX, ShardFile, Shards

CLASSES = 1000
IN_A_SHARD = 2_300  # pictures of 110 kB in 256 MiB
OPEN = """
import json, sys, time
from pathlib import Path
from reslab.data.shards import read_shards
from reslab.data.store import LocalFiles

def status(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024

before = status("VmRSS")
begun = time.perf_counter()
found = read_shards(Path(sys.argv[1]))
seconds = time.perf_counter() - begun
path = found.index.path(len(found.index) // 2)
assert path.startswith("train/n00000")
print(json.dumps({"seconds": seconds, "grown": status("VmHWM") - before, "held": status("VmRSS") - before}))
"""


def synthetic(pictures: int) -> Shards:
    """An index of ``pictures`` in 1,000 classes, in shards of 256 MiB."""
    labels = np.arange(pictures) * CLASSES // pictures
    paths = [f"train/n{label:08}/n{label:08}_{number * 7919 % 100_003}.JPEG" for number, label in enumerate(labels)]
    ends = np.cumsum([len(path) for path in paths], dtype=np.int64)
    sizes = 60_000 + np.arange(pictures, dtype=np.int64) * 7919 % 100_003
    index = Index(
        tuple(f"n{label:08}" for label in range(CLASSES)),
        np.frombuffer("".join(paths).encode(), np.uint8),
        ends,
        labels.astype(np.int32),
        sizes,
    )
    shards = (np.arange(pictures) * 7919 % pictures // IN_A_SHARD).astype(np.int32)
    files = tuple(ShardFile(f"shard-{number:05}.tar", 2**40, number) for number in range(int(shards.max()) + 1))
    return Shards(index, shards, sizes * 2048, sizes.astype(np.uint32), files)


def opened(file: Path) -> dict[str, float]:
    """What one process measured."""
    done = subprocess.run([sys.executable, "-c", OPEN, str(file)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_281_167)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / INDEX
        synthetic(asked.pictures).save(file)
        rounds = [opened(file) for _ in range(asked.rounds)]
        print(
            json.dumps(
                {
                    "pictures": asked.pictures,
                    "file_bytes": file.stat().st_size,
                    **{key: median(one[key] for one in rounds) for key in ("seconds", "grown", "held")},
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
