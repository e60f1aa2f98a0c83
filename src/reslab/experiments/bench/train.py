"""Training: our step and our whole loop with its data here, their rivals in a process of their own, in turn."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from reslab.core.experiment import ModelSpec
from reslab.core.units import counted
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset
from reslab.experiments.bench.advice import Reading, train_advice
from reslab.experiments.bench.apart import APART, Apart
from reslab.experiments.bench.asked import Asked, Note, Report, fewer, group_for
from reslab.experiments.bench.loader import decoders
from reslab.experiments.bench.pictures import pictures_for
from reslab.experiments.bench.recipe import recipe_for
from reslab.experiments.bench.standard import rival_sides, standard_workers
from reslab.experiments.bench.steps import Untimed, batches, measured_step, own_step, precisions
from reslab.experiments.bench.timing import (
    Row,
    Turn,
    compare,
    drain,
    interleave,
    least_for,
    once,
    rate,
    steady,
    waiting_for,
)
from reslab.experiments.environment import choose_device, environment
from reslab.experiments.feed import Feed
from reslab.experiments.networks import build
from reslab.experiments.session import begin, cores, course, workers_for
from reslab.training.loop import Watch, fit
from reslab.training.precision import Resolved
from reslab.training.step import Batch

SEED: Final = 0


def bench_train(asked: Asked, note: Note) -> Report:
    """Measure training of ``asked.model`` on ``asked.data``.

    Raises:
        ReslabError: no such network, recipe, device or data, or a network or recipe for other pictures than those.
    """
    device = choose_device(asked.device)
    pictures = pictures_for(asked, asked.named)
    workers = workers_for(pictures, asked.workers)
    tried = precisions(asked.precision, device, note)
    bench = _Bench(asked, pictures, Feed(device, workers, note), tried[0])
    groups = f"batch {asked.batch} in groups of {bench.recipe.bn_group}"
    note(f"{asked.model}, {groups}, {', '.join(tried)}, {counted(workers, 'worker')}, {counted(asked.rounds, 'round')}")
    with Apart(partial(rival_sides, asked, bench.recipe, bench.session.inputs.sides[0])) as rivals:
        times = interleave({**rivals.sides, **bench.sides(tried)}, asked.rounds)
    sizes = batches(bench.step, tried[0], asked, bench.wait, note)
    reading = bench.reading()
    step = measured_step({name: times[name] for name in tried}, sizes, asked.batch, device)
    return Report(
        rows=_rows(asked, tried, times),
        advice=train_advice(step, reading),
        rounds=asked.rounds,
        environment=environment(device, tried[0]) | ({} if bench.recipe.photographs is None else decoders()),
        settings={
            "kind": "train",
            "model": asked.model,
            "recipe": asked.recipe,
            "bn_group": bench.recipe.bn_group,
            "data": None if asked.data is None else pictures.name,
            "workers": asked.workers,
            **asked.again(),
            "rivals": APART,
        },
    )


class _Bench:
    """Our session, from which all steps and streams are made."""

    def __init__(self, asked: Asked, pictures: Dataset, feed: Feed, precision: Resolved) -> None:
        self.asked, self.pictures, self.feed = asked, pictures, feed
        self.recipe = recipe_for(asked, pictures, precision)
        spec = ModelSpec(name=asked.model)
        self.session = begin(build(spec, len(pictures.classes)), pictures, self.recipe, feed)
        self.session.net.train()
        self.engine = self.session.engine("auto")
        self.course = course(self.session, pictures, self.engine)
        self.wait = waiting_for(feed.device)

    def ready(self, batch: int) -> Batch:
        """The first batch, as the network takes it."""
        with closing(self._stream(0, batch)) as stream:
            return next(stream)

    def step(self, batch: int, precision: Resolved) -> Untimed:
        """Our step on a batch that lies ready."""
        group = group_for(self.asked, batch)
        return own_step(self.session.training, self.ready(batch), group, precision, self.engine)

    def sides(self, tried: tuple[Resolved, ...]) -> dict[str, Turn]:
        """Our step in each precision, and our loop with data in the first."""
        steps: dict[str, Turn] = {name: once(self.step(self.asked.batch, name), self.wait) for name in tried}
        return {**steps, "data": self._whole_loop}

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

    def _whole_loop(self) -> float:
        """The loop with its data as training makes it."""

        def begun() -> Generator[Any, None, None]:
            yield from self.course.begin(SEED, 0)

        def loop(stream: Iterator[Any]) -> None:
            fit(self.session.training, stream, self.recipe, self.course.update, Watch())

        with closing(begun()) as stream:
            return steady(stream, self.feed.workers, loop, self.wait, least_for(self.feed.device))

    def _read(self, workers: int) -> float:
        with closing(self._stream(workers, self.asked.batch)) as stream:
            return steady(stream, workers, drain, self.wait)

    def _stream(self, workers: int, batch: int) -> Generator[Batch, None, None]:
        recipe = self.recipe.but({"batch": batch, "bn_group": batch})
        feed = replace(self.feed, workers=workers)
        yield from self.session.inputs.training(self.pictures, recipe, seed=SEED, consumed=0, feed=feed)


def _rows(asked: Asked, tried: Sequence[Resolved], times: Mapping[str, Sequence[float]]) -> list[Row]:
    own, data, eager = times[tried[0]], times["data"], times["eager"]
    compared = [
        ("step against bare eager fp32 NCHW", own, eager),
        ("step with data against bare eager fp32 NCHW", data, eager),
        ("step with data against step alone", data, own),
        *((f"step in {tried[0]} against step in {other}", own, times[other]) for other in tried[1:]),
    ]
    if "standard" in times:
        loader = f"a standard loader of {counted(standard_workers(asked), 'worker')}"
        compared.append((f"whole loop against eager fp32 with {loader}", data, times["standard"]))
    if "reference" in times:
        loader = f"torch's loader of {counted(standard_workers(asked), 'worker')}"
        name = f"whole loop against a reference script: eager fp32, Pillow, {loader}"
        compared.append((name, data, times["reference"]))
    return [compare(name, asked.model, asked.batch, ours, rival) for name, ours, rival in compared]
