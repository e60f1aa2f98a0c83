"""Testing in the paper's ways: what ten crops and whole pictures cost, counted in central crops."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import torch

from reslab.core.experiment import ModelSpec, Photographs
from reslab.core.protocol import CENTRE, Protocol, find_protocol
from reslab.core.units import counted
from reslab.data.photographs import PhotoFolder
from reslab.experiments.bench.advice import Advice
from reslab.experiments.bench.asked import Asked, Note, Report
from reslab.experiments.bench.loader import photographs, sample
from reslab.experiments.bench.steps import precisions
from reslab.experiments.bench.timing import Row, Turn, compare, interleave, once, waiting_for
from reslab.experiments.environment import choose_device, environment
from reslab.experiments.feed import Feed
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.networks import build
from reslab.experiments.scoring import Subject, score_views
from reslab.experiments.session import workers_for
from reslab.training.precision import Resolved
from reslab.transforms.photographs import resized_to

CROPS: Final = "ten-crop"
WHOLE: Final = "multi-scale"
MORE: Final = 8  # times the photographs for central crops: in a short test workers that begin and end count for much
Sides = Mapping[tuple[str, Resolved], Sequence[float]]


def bench_test(asked: Asked, note: Note) -> Report:
    """Measure testing by three protocols, reading included, on ``asked.batch`` photographs.

    Raises:
        SpecError: no photographs, or no such network or device.
        DataError: what is there are no photographs.
    """
    device = choose_device(asked.device)
    every = photographs(asked.data, "test")
    photos, more = sample(every, asked.batch), sample(every, MORE * asked.batch)
    workers = min(workers_for(photos, asked.workers), len(photos))
    tried = precisions(asked.precision, device, note)
    net = build(ModelSpec(name=asked.model)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    subject, feed, wait = Subject(net, PhotoInputs(Photographs())), Feed(device, workers, note), waiting_for(device)
    ways = {name: find_protocol(name, subject.inputs.native) for name in (CENTRE, CROPS, WHOLE)}
    many = f"{counted(workers, 'worker')}, {counted(asked.rounds, 'round')}"
    note(f"{asked.model}, {counted(len(photos), 'photograph')}, {', '.join(tried)}, {many}")
    sides: dict[tuple[str, Resolved], Turn] = {
        (name, precision): once(
            partial(score_views, subject, more if name == CENTRE else photos, way, feed, precision), wait
        )
        for name, way in ways.items()
        for precision in tried
    }
    times = interleave(sides, asked.rounds)
    for precision in tried:
        times[CENTRE, precision] = [seconds * len(photos) / len(more) for seconds in times[CENTRE, precision]]
    return Report(
        rows=_rows(asked.model, len(photos), tried, times, central_crops(photos, ways[WHOLE])),
        advice=Advice(limit="step", because=("Rates are pictures a second, each read and decoded once.",)),
        rounds=asked.rounds,
        environment=environment(device, tried[0]),
        settings={
            "kind": "test",
            "model": asked.model,
            "data": photos.name,
            "workers": asked.workers,
            **asked.again(),
        },
    )


def central_crops(photos: PhotoFolder, protocol: Protocol) -> float:
    """How many central crops have as many pixels, and so take as many multiply-adds, as all views of a picture."""
    areas = [
        width * height
        for number in range(len(photos))
        for side in protocol.shorter_sides
        for width, height in [resized_to(photos.open(number)[1].upright, side)]
    ]
    return sum(areas) / len(photos) / protocol.crop**2


def _rows(model: str, batch: int, tried: Sequence[Resolved], times: Sides, crops: float) -> list[Row]:
    rows = []
    for precision in tried:
        centre = times[CENTRE, precision]
        for name, count, what in ((CROPS, 10.0, "ten central crops"), (WHOLE, crops, f"{crops:.1f} central crops")):
            rival = [count * seconds for seconds in centre]
            rows.append(compare(f"{name} in {precision} against {what}", model, batch, times[name, precision], rival))
    for other in tried[1:]:
        name = f"{CENTRE} in {tried[0]} against {CENTRE} in {other}"
        rows.append(compare(name, model, batch, times[CENTRE, tried[0]], times[CENTRE, other]))
    return rows
