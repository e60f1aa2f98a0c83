"""Training: a bare eager step, our step, and our whole loop with its data, in turn."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final

import torch

from reslab.core.errors import SpecError
from reslab.core.experiment import ModelSpec, Optimizer, Photographs, Recipe
from reslab.core.text import printable
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset, find_data
from reslab.experiments.bench.advice import Reading, train_advice
from reslab.experiments.bench.asked import Asked, Note, Report, fewer
from reslab.experiments.bench.steps import RATE, Untimed, bare_training, batches, measured_step, precisions
from reslab.experiments.bench.timing import Row, Turn, compare, drain, interleave, once, rate, steady, waiting_for
from reslab.experiments.environment import choose_device, environment
from reslab.experiments.inputs import Feed
from reslab.experiments.names import CLASSES, INPUT_SIZES, parse_name
from reslab.experiments.networks import build
from reslab.experiments.session import begin, cores, workers_for
from reslab.training.loop import Batch, Watch, fit, train_step
from reslab.training.precision import Resolved

ENDLESS: Final = 10**9  # steps


def bench_train(asked: Asked, note: Note) -> Report:
    """Measure training of ``asked.model`` on ``asked.data``.

    Raises:
        ReslabError: no such network, device or data, or a network for other pictures than those.
    """
    device = choose_device(asked.device)
    pictures = pictures_for(asked)
    workers = workers_for(pictures, asked.workers)
    tried = precisions(asked.precision, device, note)
    bench = _Bench(asked, pictures, Feed(device, workers, note), tried[0])
    note(f"{asked.model}, batch {asked.batch}, {', '.join(tried)}, {workers} workers, {asked.rounds} rounds")
    times = interleave(bench.sides(tried), asked.rounds)
    sizes = batches(bench.step, tried[0], asked, bench.wait, note)
    reading = bench.reading()
    step = measured_step({name: times[name] for name in tried}, sizes, asked.batch, device)
    return Report(
        rows=_rows(asked, tried, times),
        advice=train_advice(step, reading),
        rounds=asked.rounds,
        environment=environment(device, tried[0]),
        settings={
            "kind": "train",
            "model": asked.model,
            "batch": asked.batch,
            "data": None if asked.data is None else pictures.name,
            "workers": workers,
        },
    )


def pictures_for(asked: Asked) -> Dataset:
    """The training pictures at ``asked.data``, or random ones of the size that the network was made for.

    Raises:
        SpecError: there is no such network, or it is for small pictures and these are photographs.
        DataError: there are no pictures.
    """
    family = parse_name(asked.model).family
    if asked.data is None:
        return random_pictures(2 * asked.batch, INPUT_SIZES[family], CLASSES[family])
    pictures = find_data(asked.data).read("train")
    if family == "cifar" and isinstance(pictures, PhotoFolder):
        raise SpecError(
            f"{asked.model} is for small pictures and {printable(asked.data)} holds photographs;"
            " take resnet18 or another network of Table 1"
        )
    return pictures


def random_pictures(count: int, side: int, classes: int) -> Pictures:
    """Pictures of ``side`` pixels squared; what is on them does not change the speed."""
    source = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=source)
    labels = torch.randint(classes, (count,), generator=source)
    return Pictures("random pictures", "train", pixels, labels, tuple(map(str, range(classes))))


class _Bench:
    """Our session, from which all steps and streams are made, and the rival beside it."""

    def __init__(self, asked: Asked, pictures: Dataset, feed: Feed, precision: Resolved) -> None:
        self.asked, self.pictures, self.feed = asked, pictures, feed
        photographs = Photographs() if isinstance(pictures, PhotoFolder) else None
        self.recipe = Recipe(
            steps=ENDLESS,
            batch=asked.batch,
            bn_group=asked.batch,
            optim=Optimizer(lr=RATE),
            photographs=photographs,
            precision=precision,
        )
        spec = ModelSpec(name=asked.model)
        self.session = begin(build(spec, len(pictures.classes)), pictures, self.recipe, feed)
        self.session.net.train()
        self.wait = waiting_for(feed.device)
        ready = self.ready(asked.batch)
        rival = build(spec, len(pictures.classes)).to(feed.device)
        self.bare = bare_training(rival, ready.images, ready.labels)

    def ready(self, batch: int) -> Batch:
        """The first batch, as the network takes it."""
        with closing(self._stream(0, batch)) as stream:
            return next(stream)

    def step(self, batch: int, precision: Resolved) -> Untimed:
        """Our step on a batch that lies ready."""
        return partial(train_step, self.session.training, self.ready(batch), batch, precision)

    def sides(self, tried: tuple[Resolved, ...]) -> dict[str, Turn]:
        """The rival, our step in each precision, and our loop with data in the first."""
        steps: dict[str, Turn] = {name: once(self.step(self.asked.batch, name), self.wait) for name in tried}
        return {"eager": once(self.bare, self.wait), **steps, "data": self._with_data}

    def reading(self) -> Reading:
        """The loader alone, in one process and with all workers."""
        sides = {name: partial(self._read, workers) for name, workers in (("one", 0), ("all", self.feed.workers))}
        times = interleave(sides, fewer(self.asked.rounds))
        return Reading(
            rate=rate(self.asked.batch, times["all"]),
            core=rate(self.asked.batch, times["one"]),
            workers=self.feed.workers,
            cores=cores(),
            in_memory=isinstance(self.pictures, Pictures),
        )

    def _with_data(self) -> float:
        with closing(self._stream(self.feed.workers, self.asked.batch)) as stream:
            return steady(stream, self.feed.workers, self._loop, self.wait)

    def _loop(self, stream: Iterator[Batch]) -> None:
        fit(self.session.training, stream, self.recipe, self.session.precision, Watch())

    def _read(self, workers: int) -> float:
        with closing(self._stream(workers, self.asked.batch)) as stream:
            return steady(stream, workers, drain, self.wait)

    def _stream(self, workers: int, batch: int) -> Generator[Batch, None, None]:
        recipe = self.recipe.but({"batch": batch, "bn_group": batch})
        feed = replace(self.feed, workers=workers)
        yield from self.session.inputs.training(self.pictures, recipe, seed=0, consumed=0, feed=feed)


def _rows(asked: Asked, tried: Sequence[Resolved], times: Mapping[str, Sequence[float]]) -> list[Row]:
    own, data, eager = times[tried[0]], times["data"], times["eager"]
    compared = [
        ("step against bare eager fp32 NCHW", own, eager),
        ("step with data against bare eager fp32 NCHW", data, eager),
        ("step with data against step alone", data, own),
        *((f"step in {tried[0]} against step in {other}", own, times[other]) for other in tried[1:]),
    ]
    return [compare(name, asked.model, asked.batch, ours, rival) for name, ours, rival in compared]
