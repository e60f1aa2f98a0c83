"""Inference: ours here and a bare eager forward pass in a process of its own, in turn, on pictures that lie ready."""

from functools import partial

import torch

from reslab.core.experiment import ModelSpec
from reslab.core.units import counted
from reslab.evaluation.answers import classified
from reslab.evaluation.views import View, Wanted, score
from reslab.experiments.bench.advice import infer_advice
from reslab.experiments.bench.apart import APART, Apart
from reslab.experiments.bench.asked import Asked, Note, Report
from reslab.experiments.bench.pictures import noise
from reslab.experiments.bench.steps import Untimed, bare_inference, batches, measured_step, precisions
from reslab.experiments.bench.timing import Turn, compare, interleave, once, waiting_for
from reslab.experiments.environment import choose_device, environment, find_device
from reslab.experiments.names import INPUT_SIZES, parse_name
from reslab.experiments.networks import build
from reslab.training.precision import Resolved, autocast


def bench_infer(asked: Asked, note: Note) -> Report:
    """Measure inference with ``asked.model``: ours is what `reslab evaluate` does with a batch.

    Raises:
        SpecError: no such network or device.
    """
    device = choose_device(asked.device)
    side = INPUT_SIZES[parse_name(asked.model).family]
    spec, wait = ModelSpec(name=asked.model), waiting_for(device)
    ours = build(spec).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    def make(batch: int, precision: Resolved) -> Untimed:
        images = noise(batch, side, device).contiguous(memory_format=torch.channels_last)
        view = View(images, torch.arange(batch))
        return partial(score, ours, classified(ours), [view], Wanted(range(batch)), autocast(device, precision))

    tried = precisions(asked.precision, device, note)
    note(f"{asked.model}, batch {asked.batch}, {', '.join(tried)}, {counted(asked.rounds, 'round')}")
    sides: dict[str, Turn] = {name: once(make(asked.batch, name), wait) for name in tried}
    with Apart(partial(_rival_sides, asked, side)) as rival:
        times = interleave({**rival.sides, **sides}, asked.rounds)
    rates = batches(make, tried[0], asked, wait, note)
    names = {"eager": "inference against bare eager fp32 NCHW"}
    names |= {other: f"inference in {tried[0]} against inference in {other}" for other in tried[1:]}
    return Report(
        rows=[compare(name, asked.model, asked.batch, times[tried[0]], times[rival]) for rival, name in names.items()],
        advice=infer_advice(measured_step({name: times[name] for name in tried}, rates, asked.batch, device)),
        rounds=asked.rounds,
        environment=environment(device, tried[0]),
        settings={"kind": "infer", "model": asked.model, **asked.again(), "rivals": APART},
    )


def _rival_sides(asked: Asked, side: int) -> dict[str, Turn]:
    device = find_device(asked.device)
    bare = bare_inference(build(ModelSpec(name=asked.model)).to(device), noise(asked.batch, side, device))
    return {"eager": once(bare, waiting_for(device))}
