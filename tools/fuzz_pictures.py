"""Look for picture files that break the reader: anything but pixels or a PictureError, in reasonable time and memory.

    python tools/fuzz_pictures.py [--seconds 600] [--seed 0] [--first 0] [--workers 2] [--keep fuzz-findings]

File N of a seed is the same for any number of workers and with the same Pillow; ``--first`` goes on where a report's
``next`` says it ended. The report is JSON; the exit code is 1 where something was found.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.hostile import KINDS

from reslab.core.contract import Contract
from reslab.core.errors import PictureError
from reslab.data.decode import decode
from reslab.data.picture_file import read_header
from reslab.transforms.photographs import centre_crop, cut_whole

SLOW, HUNG = 5.0, 60.0  # seconds of work, of silence
LARGE = 2**20  # KiB of memory: 1 GiB
LARGEST_SEED = 2**16  # bytes; the few larger files only cost time
KEPT = 5  # files of one finding
TELLING = (0, 1, 2, 3, 7, 8, 12, 16, 32, 127, 255, 256, 9000, 13000, 32767, 65500, 65535, 2**24, 2**31 - 1, 2**32 - 1)
SMALL = (64, 48)


@cache
def originals() -> tuple[bytes, ...]:
    """Sound, odd and hostile files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [kind.put(Path(folder)) for kind in KINDS]
        files = [path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()]
    return tuple(data for data in files if len(data) <= LARGEST_SEED)


def change(data: bytearray, draw: random.Random) -> None:
    """Flip bits, end early, insert, splice another file in, lie in a number, or set a PNG's checksums right."""
    place, other = draw.randrange(len(data) + 1), draw.choice(originals())
    match draw.choice(("flip", "end", "insert", "splice", "number", "number", "seal")):
        case "flip":
            for _ in range(draw.choice((1, 1, 2, 8, 40)) if data else 0):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case "end":
            del data[place:]
        case "insert":
            data[place:place] = draw.choice((draw.randbytes(1), draw.randbytes(40), bytes(300), b"\xff" * 9))
        case "splice":
            start, length = draw.randrange(len(other) + 1), draw.choice((4, 30, 300, 3000))
            data[place : place + draw.choice((0, length))] = other[start : start + length]
        case "number":
            form, value = draw.choice((">H", "<H", ">I", "<I")), draw.choice(TELLING)
            size = struct.calcsize(form)
            last = min(len(data) - size, draw.choice((64, 700, 2**16)))  # most stand near the start
            if last >= 0:
                struct.pack_into(form, data, draw.randrange(last + 1), value % 256**size)
        case "seal":
            seal(data)


def seal(data: bytearray) -> None:
    """Set the checksums of a PNG's chunks right."""
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 <= len(data):
            struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4


def made(seed: int, turn: int) -> bytes:
    """File ``turn`` of ``seed``; the first ones are the originals."""
    draw = random.Random(f"{seed} {turn}")  # noqa: S311 - no secret
    if turn < len(originals()):
        return originals()[turn]
    data = bytearray(draw.choice(originals()))
    for _ in range(draw.choice((1, 1, 2, 3, 5))):
        change(data, draw)
    return bytes(data)


def examine(data: bytes) -> str:
    """What becomes of a file: ``decoded``, ``refused`` or a finding."""
    try:
        header = read_header(data)
        whole = decode(data, header)
        reduced = decode(data, header, SMALL)
        enough = all(a >= min(b, c) for a, b, c in zip(reduced.shape[1::-1], SMALL, header.upright, strict=True))
        if whole.shape[1::-1] != header.upright or not enough:
            return f"{header.kind}: pixels are not of the header's size"
        cut_whole(whole, centre_crop(header.upright, Contract()))
    except PictureError:
        return "refused"
    except Exception as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "reslab" in frame.filename]
        return f"raised {type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return "decoded"


def work(seed: int, first: int, step: int, out: Connection) -> None:
    """A child's life: every ``step``-th file, until it has grown large or is killed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff writes there
    for turn in range(first, sys.maxsize, step):
        data = made(seed, turn)
        start = time.process_time()
        found = examine(data)
        took = time.process_time() - start
        large = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > LARGE
        out.send([found, *(["took more than 5 s"] if took > SLOW else []), *(["more than 1 GiB"] if large else [])])
        if large:
            return  # a fresh child's peak is small again


class Child:
    """A process and the number of the file that it is on."""

    def __init__(self, seed: int, turn: int, step: int) -> None:
        self.seed, self.turn, self.step, self.files = seed, turn, step, 0
        self.begin()

    def begin(self) -> None:
        """Start at ``turn``."""
        self.results, out = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.Process(target=work, args=(self.seed, self.turn, self.step, out), daemon=True)
        self.process.start()
        out.close()
        self.heard = time.monotonic()

    def told(self) -> Iterator[tuple[str, int]]:
        """What became of its files, and their numbers, since the last call."""
        hung = False
        with contextlib.suppress(EOFError):
            while self.results.poll():
                yield from ((found, self.turn) for found in self.results.recv())
                self.turn, self.files, self.heard = self.turn + self.step, self.files + 1, time.monotonic()
            hung = time.monotonic() - self.heard > HUNG
            if not hung:
                return
            self.process.kill()
        self.process.join()
        if code := self.process.exitcode:
            ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            yield f"silent for {HUNG:.0f} s" if hung else f"died: {ending}", self.turn
            self.turn, self.files = self.turn + self.step, self.files + 1
        self.begin()


def main() -> int:
    """Fuzz and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seconds", 600), ("seed", 0), ("first", 0), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    originals()
    end = time.monotonic() + options.seconds
    children = [Child(options.seed, options.first + place, options.workers) for place in range(options.workers)]
    outcomes: dict[str, list[int]] = {"decoded": [], "refused": []}
    while time.monotonic() < end:
        wait([child.results for child in children], timeout=1)
        for child in children:
            for found, turn in child.told():
                outcomes.setdefault(found, []).append(turn)
    for child in children:
        child.process.kill()
    counts = {what: len(outcomes.pop(what)) for what in ("decoded", "refused")}
    findings = []
    for what, turns in outcomes.items():
        options.keep.mkdir(parents=True, exist_ok=True)
        paths = {options.keep / f"{options.seed}-{turn}": made(options.seed, turn) for turn in turns[:KEPT]}
        for path, data in paths.items():
            path.write_bytes(data)
        findings.append({"what": what, "files": len(turns), "kept": list(map(str, paths))})
    files, following = sum(child.files for child in children), min(child.turn for child in children)
    report = {"seed": options.seed, "next": following, "files": files, **counts, "findings": findings}
    print(json.dumps(report, indent=2))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
