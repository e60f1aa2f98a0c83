"""Reading photographs: one core against Pillow, worker processes against one and against threads."""

import importlib.metadata
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import cycle
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Photographs
from reslab.core.text import printable
from reslab.core.units import counted
from reslab.data import chance
from reslab.data.decode import decode
from reslab.data.photographs import PhotoFolder, TrainingCrops
from reslab.data.pool import in_order
from reslab.data.source import find_data
from reslab.data.verify import WholePictures
from reslab.experiments.bench.advice import loader_advice
from reslab.experiments.bench.asked import Asked, Note, Record, Report
from reslab.experiments.bench.rival import NaiveCrops, threaded
from reslab.experiments.bench.timing import Row, Turn, compare, drain, interleave, once, rate, steady, waiting_for
from reslab.experiments.environment import environment
from reslab.experiments.session import workers_for

SAMPLE: Final = 512  # pictures: enough for a mean, few enough to stay in the page cache
SEED: Final = 0
ENDLESS: Final = 10**9  # batches
ROUND: Final = 1_000  # times over the sample: more than any turn takes
CPU: Final = torch.device("cpu")


def bench_loader(asked: Asked, note: Note) -> Report:
    """Measure reading of the photographs at ``asked.data``.

    Raises:
        SpecError: no data, or no workers.
        DataError: they are no photographs, or one cannot be read.
    """
    if asked.workers == 0:
        raise SpecError("--workers must be at least 1 for bench loader, not 0: one core is always measured besides")
    photos = sample(photographs(asked.data, "loader"))
    workers = workers_for(photos, asked.workers)
    works = crops(photos, asked.batch)
    note(f"{counted(len(photos), 'photograph')} of {photos.name}, read once and compared")
    differences = {name: difference(works[name], works["rival"]) for name in ("fast", "exact")}
    note(f"batches of {asked.batch}, {counted(workers, 'worker')}, {counted(asked.rounds, 'round')}")
    sides = {name: one_batch(work) for name, work in works.items()} | crowds(works["fast"], workers)
    sides |= whole_pictures(photos, asked.batch, workers)
    times = interleave(sides, asked.rounds)
    return Report(
        rows=_rows(times, asked.batch, workers),
        advice=loader_advice({count: rate(asked.batch, times[counted(count, "worker")]) for count in {1, workers}}),
        rounds=asked.rounds,
        environment=_place(),
        settings={
            "kind": "loader",
            "batch": asked.batch,
            "data": photos.name,
            "pictures": len(photos),
            "workers": workers,
        },
        differences=differences,
    )


def photographs(place: str | None, kind: str) -> PhotoFolder:
    """The training photographs at ``place``, for the measurement ``kind``.

    Raises:
        SpecError: no place.
        DataError: they are no photographs.
    """
    if place is None:
        raise SpecError(f"bench {kind} reads photographs: --data FOLDER")
    pictures = find_data(place).read("train")
    if not isinstance(pictures, PhotoFolder):
        raise DataError(f"bench {kind} reads photographs, and {printable(place)} holds small pictures")
    return pictures


def sample(photos: PhotoFolder, most: int = SAMPLE) -> PhotoFolder:
    """The same ``most`` photographs on every machine, in the folder's order."""
    chosen = np.sort(chance.order(SEED, 0, len(photos))[:most])
    return photos.subset(chosen)


def crops(photos: PhotoFolder, batch: int) -> dict[str, TrainingCrops]:
    """Our two ways and the rival's to the same crops."""
    exact = Photographs(decode="exact")
    return {
        "fast": TrainingCrops(photos, Photographs(), batch, SEED),
        "exact": TrainingCrops(photos, exact, batch, SEED),
        "rival": NaiveCrops(photos, exact, batch, SEED),
    }


def difference(ours: TrainingCrops, rival: TrainingCrops) -> dict[str, float]:
    """How far the values of all crops of one epoch lie apart, of 255: on average, and with their signs."""
    apart = signed = values = 0
    for task in range(0, len(ours.photos), ours.batch):
        gap = _made(ours, task) - _made(rival, task)
        apart, signed, values = apart + int(np.abs(gap).sum()), signed + int(gap.sum()), values + gap.size
    return {"mean_absolute": round(apart / values, 4), "bias": round(signed / values, 4)}


def one_batch(work: TrainingCrops) -> Turn:
    """A turn of one batch in this process; each turn takes the next."""
    stream = in_order(work, _tasks(work))
    return once(partial(next, stream), waiting_for(CPU))


def crowds(work: TrainingCrops, workers: int) -> dict[str, Turn]:
    """Turns of one worker, of all workers, and of as many threads."""

    def turn(stream: Callable[[], Generator[Any, None, None]], width: int) -> float:
        with closing(stream()) as batches:
            return steady(batches, width, drain, waiting_for(CPU))

    return {
        **{
            counted(count, "worker"): partial(turn, partial(in_order, work, _tasks(work), count), count)
            for count in (1, workers)
        },
        "threads": partial(turn, partial(threaded, work, _tasks(work), workers), workers),
    }


def whole_pictures(photos: PhotoFolder, batch: int, workers: int) -> dict[str, Turn]:
    """Turns of one core that decodes whole pictures and does nothing else, and of `reslab data verify`'s workers."""
    firsts = range(0, len(photos) - batch + 1, batch) or range(1)
    work, chunks = WholePictures(photos, min(batch, len(photos))), cycle(firsts)

    def decode_only() -> None:
        for number in range(first := next(chunks), first + work.chunk):
            data, header = photos.open(number)
            decode(data, header)

    def turn() -> float:
        with closing(in_order(work, [*firsts] * ROUND, workers)) as checked:
            return steady(checked, workers, drain, waiting_for(CPU))

    whole, share = once(decode_only, waiting_for(CPU)), batch / work.chunk
    return {"whole": lambda: whole() * share, "verify": lambda: turn() * share}


def decoders() -> Record:
    """The versions of what decodes photographs here."""
    return {name: importlib.metadata.version(name) for name in ("pillow", "simplejpeg")}


def _tasks(work: TrainingCrops) -> range:
    return range(0, ENDLESS * work.batch, work.batch)


def _made(work: TrainingCrops, task: int) -> NDArray[np.int16]:
    out = np.empty(work.room, np.uint8)
    work(task, out, lambda _item: None)
    return out.astype(np.int16)


def _place() -> Record:
    return {key: fact for key, fact in (environment(CPU, "fp32") | decoders()).items() if key != "precision"}


def _rows(times: Mapping[str, Sequence[float]], batch: int, workers: int) -> list[Row]:
    many = counted(workers, "worker")
    compared = [
        ("fast path against Pillow full decode and resize, one core", "fast", "rival"),
        ("exact path against Pillow full decode and resize, one core", "exact", "rival"),
        (f"loader with {many} against one", many, counted(1, "worker")),
        (f"loader with {many} against {counted(workers, 'thread')}", many, "threads"),
    ]
    times = {**times, "cores": [seconds / workers for seconds in times["whole"]]}
    compared.append((f"data verify with {many} against decoding alone, times {workers}", "verify", "cores"))
    return [compare(name, None, batch, times[ours], times[rival]) for name, ours, rival in compared]
