"""Time reading training crops from shards against reading them from the folder that was packed, cold and warm.

    python tools/packed.py FOLDER [--shards DIR] [--batch 64] [--workers 2] [--epochs 1] [--rounds 5] [--out FILE]

Both are read by turns in one process, through the loader that training has; every other round begins with the shards.
A turn is whole batches of ``--epochs`` passes over the training pictures, from the start of the workers to the last
batch; both sides draw the same crops. Cold: before each turn the system is told to forget what it holds of those files
(posix_fadvise), and what of them stays in its page cache nonetheless is counted by mincore. Names and places of files
stay known to it, which is to the folder's advantage. Warm: before each turn all bytes are read once. Without
``--shards`` the folder is packed into a temporary folder beside FILE, or here. Prints one JSON document.
"""

import argparse
import contextlib
import ctypes
import json
import mmap
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from reslab.core.errors import DataError, ReslabError
from reslab.core.experiment import Photographs
from reslab.core.files import write_json
from reslab.data.loader import training_crops
from reslab.data.pack import pack
from reslab.data.pack_set import Packing
from reslab.data.photographs import PhotoFolder
from reslab.data.source import PictureFolder, find_data
from reslab.data.store import FolderStore, ShardStore
from reslab.experiments.bench.loader import decoders
from reslab.experiments.environment import environment

SEED: Final = 0
FLAGS: Final = {"batch": 64, "workers": 2, "epochs": 1, "rounds": 5}
PIECE: Final = 2**24  # bytes read at once


def opened(place: Path) -> PhotoFolder:
    """The training photographs at ``place``."""
    found = find_data(str(place)).read("train")
    if not isinstance(found, PhotoFolder):
        raise DataError(f"{place} holds small pictures, which lie in memory")
    return found


def files_of(photos: PhotoFolder) -> list[Path]:
    """The files that hold the bytes of ``photos``."""
    store = photos.store
    if isinstance(store, FolderStore):
        return [store.root / store.index.path(number) for number in range(len(photos))]
    assert isinstance(store, ShardStore)
    used = np.unique(store.shards.shards).tolist()
    return [Path(store.where) / store.shards.files[number].name for number in used]


def forget(files: Iterable[Path]) -> None:
    """Tell the system to drop ``files`` from its page cache."""
    os.sync()  # what is not on the disk yet cannot be dropped
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def remember(files: Iterable[Path]) -> None:
    """Read ``files`` once."""
    for file in files:
        with file.open("rb") as opened_file:
            while opened_file.read(PIECE):
                pass


def resident(files: Iterable[Path]) -> int:
    """Bytes of ``files`` that the page cache holds, by mincore: whole pages."""
    mincore, total = ctypes.CDLL(None, use_errno=True).mincore, 0
    for file in files:
        with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ) as memory:
            view, pages = np.frombuffer(memory, np.uint8), (len(memory) - 1) // mmap.PAGESIZE + 1
            there = (ctypes.c_ubyte * pages)()
            if mincore(ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(len(memory)), there):
                raise OSError(ctypes.get_errno(), "mincore failed")
            total += sum(page & 1 for page in there) * mmap.PAGESIZE
            del view  # the map cannot be closed while it is seen
    return total


def rate(photos: PhotoFolder, batch: int, workers: int, passes: int) -> float:
    """Pictures a second through the loader, workers begun and ended."""
    steps = passes * len(photos) // batch
    begun = time.perf_counter()
    for _ in training_crops(photos, batch=batch, steps=steps, seed=SEED, settings=Photographs(), workers=workers):
        pass
    return round(steps * batch / (time.perf_counter() - begun), 1)


def compared(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the ratio of each round: shards over folder, higher is better."""
    ratios = [shards / folder for shards, folder in zip(rates["shards"], rates["folder"], strict=True)]
    return {
        "images_per_second": rates,
        "median": {name: statistics.median(values) for name, values in rates.items()},
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


def measure(folder: PhotoFolder, shards: PhotoFolder, asked: argparse.Namespace) -> dict[str, Any]:
    """Both sides cold, then warm.

    Raises:
        DataError: they are not a folder and its shards, or too few pictures for one batch.
    """
    if not isinstance(folder.store, FolderStore) or not isinstance(shards.store, ShardStore):
        raise DataError(f"{folder.name} and {shards.name}: first the folder that was packed, then its shards")
    if folder.digest != shards.digest:
        raise DataError(f"{shards.name} holds other pictures than {folder.name}")
    if len(folder) < asked.batch:
        raise DataError(f"{folder.name} has {len(folder)} pictures, fewer than one batch of {asked.batch}")
    photos = {"folder": folder, "shards": shards}
    files = {name: files_of(one) for name, one in photos.items()}
    left: dict[str, list[int]] = {name: [] for name in photos}

    def drop(name: str) -> None:
        forget(files[name])
        left[name].append(resident(files[name]))

    def turns(prepare: Callable[[str], None]) -> dict[str, Any]:
        rates: dict[str, list[float]] = {name: [] for name in photos}
        for number in range(asked.rounds):
            for name in list(photos)[:: -1 if number % 2 else 1]:
                prepare(name)
                rates[name].append(rate(photos[name], asked.batch, asked.workers, asked.epochs))
        return compared(rates)

    for one in photos.values():  # does not count: modules are loaded, memory is taken
        rate(one, asked.batch, asked.workers, passes=1)
    cold, warm = turns(drop), turns(lambda name: remember(files[name]))
    sizes = {name: sum(file.stat().st_size for file in own) for name, own in files.items()}
    return {"file_bytes": sizes, "cold": {**cold, "resident_bytes_after_dropping": left}, "warm": warm}


def read_flags() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=Path)
    for name, value in FLAGS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


@contextlib.contextmanager
def shards_for(asked: argparse.Namespace) -> Iterator[Path]:
    """Those that were given, or new ones that are there for as long as they are needed."""
    if asked.shards is not None:
        yield asked.shards
        return
    beside = Path.cwd() if asked.out is None else asked.out.resolve().parent
    with tempfile.TemporaryDirectory(dir=beside) as temporary:
        pack(PictureFolder(asked.folder), Path(temporary) / "shards", Packing(), asked.workers)
        yield Path(temporary) / "shards"


def main() -> None:
    """Pack where that is needed, measure, keep and print."""
    asked = read_flags()
    try:
        folder = opened(asked.folder)
        with shards_for(asked) as shards:
            found = measure(folder, opened(shards), asked)
    except ReslabError as error:
        print(f"packed.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    flags = " ".join(f"--{name} {getattr(asked, name)}" for name in FLAGS)
    facts = {key: fact for key, fact in environment(torch.device("cpu"), "fp32").items() if key != "precision"}
    kept = {
        "command": f"python tools/packed.py {folder.name} {flags}",
        "pictures": len(folder),
        "n": asked.rounds,
        **found,
        "environment": facts | decoders(),
    }
    if asked.out is not None:
        write_json(asked.out, kept)
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
