"""Measure over how many pictures batch normalisation's statistics must be averaged after training, in a finished run.

    python tools/bn_average.py RUN --data FOLDER [--out results/bn-average.json] [--pictures 128 512 ... --parts 5]

From RUN's last checkpoint, with moving averages, the statistics are averaged over the pictures that training would have
taken next: first over the largest number, which is what the others are compared with; then over each number several
times, over parts of the stream after those, one behind the other. Every network is tested on all of val, in fp32.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from reslab.core.errors import RunError
from reslab.core.experiment import Photographs
from reslab.core.files import write_json
from reslab.core.intervals import Count
from reslab.core.rundir import RunDirectory
from reslab.data.source import Reading, find_data
from reslab.evaluation.paired import paired
from reslab.experiments.averaging import FACT
from reslab.experiments.environment import choose_device, environment
from reslab.experiments.notify import Notify
from reslab.experiments.session import Session, begin, feed_for
from reslab.experiments.weights import network_of, read_weights
from reslab.training import checkpoint
from reslab.training.average import average, learning

PICTURES: Final = (128, 512, 1_280, 5_120, 12_800, 51_200)


class Measuring:
    """A run's network, the pictures, and the moving averages that it comes back to."""

    def __init__(self, run: RunDirectory, data: str, device: str) -> None:
        found = checkpoint.newest(run.checkpoints, Notify().warned)
        if found is None or run.result() is None or FACT in found.facts:
            raise RunError(f"{run.path} is no finished run with moving averages and a checkpoint")
        experiment, source = run.experiment, find_data(data)
        self.seed, self.step = experiment.seed, int(found.facts["step"])
        reading = Reading((experiment.recipe.photographs or Photographs()).held_out)
        self.train, self.val = source.read("train", reading), source.read("val", reading)
        place = choose_device(device)
        weights = read_weights(run.path)
        assert weights.inputs is not None
        self.session = begin(
            network_of(weights), self.train, experiment.recipe, feed_for(self.train, place, None, Notify())
        )
        self.session.inputs = weights.inputs
        self.moving = {name: buffer.clone() for name, buffer in self.session.net.named_buffers()}

    def test(self) -> Tensor:
        """Which answers are right with the present statistics, bool (N,)."""
        test = self.session.test(self.val)
        assert test is not None
        return test.scores.hits()

    def averaged(self, skipped: int, pictures: int) -> list[Tensor]:
        """`statistics_of` the network when they are averages over so many pictures after those ``skipped``."""
        recipe = self.session.recipe
        for name, buffer in self.session.net.named_buffers():
            buffer.copy_(self.moving[name])
        first = self.step + skipped // recipe.batch
        longer = recipe.but({"steps": first + pictures // recipe.batch})
        batches = self.session.inputs.training(self.train, longer, self.seed, first * recipe.batch, self.session.feed)
        average(self.session.net, batches, recipe.bn_group, self.session.training.together)
        return statistics_of(self.session)


def statistics_of(session: Session) -> list[Tensor]:
    """Running means and standard deviations of every layer, (2, channels) each."""
    norms = learning(session.net.train())
    return [torch.stack([n.get_buffer("running_mean"), n.get_buffer("running_var").sqrt()]) for n in norms]


def distances(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> dict[str, float]:
    """How far statistics are from those of the most pictures, of all channels of all layers.

    Means: in standard deviations of their channel. Standard deviations: relative.
    """
    pairs = list(zip(found, wanted, strict=True))
    means = torch.cat([((ours[0] - theirs[0]) / theirs[1]).abs() for ours, theirs in pairs])
    stds = torch.cat([(ours[1] / theirs[1] - 1).abs() for ours, theirs in pairs])
    named = {"mean": means, "std": stds}
    return {f"{name}_{how}": float(getattr(values, how)()) for name, values in named.items() for how in ("mean", "max")}


def measured(measuring: Measuring, sizes: Sequence[int], parts: int) -> Iterator[dict[str, Any]]:
    """A row a number of pictures, after that of the moving averages, whose ``pictures`` are 0."""
    moving, kept = measuring.test(), statistics_of(measuring.session)
    wanted = measuring.averaged(0, max(sizes))
    yield {"pictures": 0, **row([moving], [distances(kept, wanted)], moving)}
    for pictures in sorted(sizes):
        tests, far, begun = [], [], time.perf_counter()
        for part in range(parts):
            far.append(distances(measuring.averaged(max(sizes) + part * pictures, pictures), wanted))
            tests.append(measuring.test())
        yield {"pictures": pictures, "seconds": round(time.perf_counter() - begun, 1), **row(tests, far, moving)}


def row(tests: Sequence[Tensor], far: Sequence[dict[str, float]], moving: Tensor) -> dict[str, Any]:
    """Errors in percent, their mean and spread, and the distances' means over the parts (of maxima: the largest)."""
    errors = [Count(len(right) - int(right.sum()), len(right)).error for right in tests]
    together = {name: (max if name.endswith("max") else statistics.mean)([one[name] for one in far]) for name in far[0]}
    pairs = [paired(moving.numpy(), right.numpy()) for right in tests]
    return {
        "errors": errors,
        "error": statistics.mean(errors),
        "std": statistics.stdev(errors) if len(errors) > 1 else None,
        "n": len(tests[0]),
        "changed": [pair.only_first + pair.only_second for pair in pairs],
        "p_values": [pair.p_value for pair in pairs],
        "distances": together,
    }


def shown(found: dict[str, Any]) -> str:
    """A row as a line."""
    spread = "" if found["std"] is None else f" +- {found['std']:.3f} ({len(found['errors'])} parts)"
    far = "  ".join(f"{name} {value:.5f}" for name, value in found["distances"].items())
    name = f"{found['pictures']:,} pictures" if found["pictures"] else "moving averages"
    return f"{name}: error {found['error']:.3f} %{spread}  changed {found['changed']}  {far}"


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pictures", type=int, nargs="+", default=PICTURES, help="whole numbers of batches")
    parser.add_argument("--parts", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    run = RunDirectory.open(asked.run)
    batch = run.experiment.recipe.batch
    if any(pictures < batch or pictures % batch for pictures in asked.pictures):
        parser.error(f"--pictures must be multiples of the batch, {batch}")
    measuring, rows = Measuring(run, asked.data, asked.device), []
    for found in measured(measuring, asked.pictures, asked.parts):
        rows.append(found)
        print(shown(found), flush=True)
    sizes = " ".join(map(str, asked.pictures))
    kept = {
        "command": f"python tools/bn_average.py {asked.run} --data FOLDER --pictures {sizes} --parts {asked.parts}",
        "model": run.experiment.model.name,
        "data": {"name": measuring.train.name, "train": measuring.train.digest, "val": measuring.val.digest},
        "step": measuring.step,
        "bn_group": run.experiment.recipe.bn_group,
        "rows": rows,
        "environment": environment(measuring.session.feed.device, "fp32"),
    }
    if asked.out:
        write_json(asked.out, kept)


if __name__ == "__main__":
    main()
