"""Write the checksums of CIFAR-10's pictures, by which a copy is recognised (`reslab.data.official`).

    python tools/cifar10_checksums.py FOLDER [--lossy-train FILE] [--lossy-val FILE] [--out FILE]

FOLDER holds CIFAR-10 in its official binary layout. Each FILE lists, one number a line, the places (from 0) of those
pictures of a part that are lossy copies; all others must be official to the last bit. The file that reslab has was
written from a copy with 59,905 exact pictures. From the official files themselves neither list is needed.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from reslab.data.cifar import CIFAR10, read_layout
from reslab.data.official import FILE, KEPT, checksums
from reslab.data.parts import Split

ROOM = Path(__file__).resolve().parents[1] / "src" / "reslab" / "data"


def build(folder: Path, lossy: dict[Split, list[int]]) -> bytes:
    """A checksum of each picture, train first, then the places of the lossy ones; 16 bits each."""
    parts: list[np.ndarray] = []
    places: list[int] = []
    for split in CIFAR10.files:
        begin = sum(map(len, parts))
        places += [begin + place for place in lossy[split]]
        parts.append(checksums(read_layout(folder, CIFAR10, split).pixels))
    return np.concatenate([*parts, np.array(sorted(places), KEPT)]).astype(KEPT).tobytes()


def listed(file: Path | None) -> list[int]:
    """The numbers in ``file``; none where there is none."""
    return [] if file is None else list(map(int, file.read_text(encoding="utf-8").split()))


def main() -> None:
    """Write the file and print its digest, which `reslab.data.official` must know."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lossy-train", type=Path)
    parser.add_argument("--lossy-val", type=Path)
    parser.add_argument("--out", type=Path, default=ROOM / FILE)
    options = parser.parse_args()
    data = build(options.folder, {"train": listed(options.lossy_train), "val": listed(options.lossy_val)})
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
