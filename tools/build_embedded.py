"""Build the embedded pictures, byte for byte, from the files of Debian's package ``dataset-fashion-mnist``.

    python tools/build_embedded.py [--source /usr/share/datasets/fashion-mnist] [--out FILE]

The first 1,200 training and the first 200 test pictures of each class, in official order, as IDX files in one zip
archive. The bytes are the same wherever Python's zlib is the original library; another deflate implementation gives
other bytes with the same content.
"""

import argparse
import gzip
import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

ROOM = Path(__file__).resolve().parents[1] / "src" / "reslab" / "data" / "embedded"
PER_CLASS = {"train": 1_200, "t10k": 200}  # 12,000 + 2,000 pictures: a file below 8 MB that trains in minutes
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can hold


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes, gzipped."""
    data = gzip.decompress(path.read_bytes())
    dimensions = data[3]
    shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file of unsigned bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first ``count`` of each class, in official order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))


def build(source: Path, licence: bytes) -> bytes:
    """The archive's bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        target.writestr(zipfile.ZipInfo("LICENSE", EPOCH), licence, zipfile.ZIP_DEFLATED)
        for split, count in PER_CLASS.items():
            labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz")
            pictures = read_idx(source / f"{split}-images-idx3-ubyte.gz")
            kept = first_of_each_class(labels, count)
            for name, array in (("images-idx3", pictures[kept]), ("labels-idx1", labels[kept])):
                member = zipfile.ZipInfo(f"{split}-{name}-ubyte", EPOCH)
                target.writestr(member, write_idx(array), zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def main() -> None:
    """Write the archive and print its digest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=ROOM / "fashion-mnist.zip")
    options = parser.parse_args()
    data = build(options.source, (ROOM / "LICENSE").read_bytes())
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
