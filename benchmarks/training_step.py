"""Speed of training on pictures in memory, as ratios in one run.

    python benchmarks/training_step.py [--batch 128] [--rounds 5] [--steps 6] [--out FILE]

Two questions, each answered by alternating the two sides and taking medians:

- what `reslab.fit` does, data and augmentation included, with the precision that ``--precision auto`` takes here,
  against a bare eager fp32 NCHW loop on a batch that lies ready;
- the same against a bare loop of its own precision and layout: what loop and data cost.

Prints one JSON document: ``rows`` with ``name, model, rate, rival_rate, ratio``, rates in images a second.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import reslab
from reslab.data.pictures import Pictures
from reslab.experiments.environment import environment
from reslab.training.precision import Resolved, autocast, resolve_precision

MODEL = "cifar-resnet20"
CPU = torch.device("cpu")
Step = Callable[[], None]


def random_pictures(count: int) -> Pictures:
    """Pictures of CIFAR's size; what is on them does not change the speed."""
    source = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=source)
    labels = torch.randint(0, 10, (count,), generator=source)
    return Pictures("random", "train", pixels, labels, tuple("0123456789"))


def bare_step(batch: int, layout: torch.memory_format, precision: Resolved) -> Step:
    """Forward, backward and update on one batch, and nothing else."""
    net = reslab.cifar_resnet(20).to(memory_format=layout)
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=layout)
    labels = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(CPU, precision):
            loss = loss_of(net, images, labels)
        loss.backward()
        optimizer.step()

    return step


def loss_of(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(net(images), labels)


def seconds_a_step(step: Step, steps: int) -> float:
    """Median over ``steps`` calls."""
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def seconds_a_step_of_fit(pictures: Pictures, batch: int, steps: int) -> float:
    """The whole loop: `reslab.fit` for one step more than ``steps``, the first left out; median."""
    times: list[float] = []
    recipe = reslab.Recipe(steps=steps + 1, batch=batch, bn_group=batch)
    watch = reslab.Watch(stepped=lambda _step: times.append(time.perf_counter()))
    reslab.fit(reslab.cifar_resnet(20), pictures, recipe, device="cpu", watch=watch)
    return statistics.median(after - before for before, after in itertools.pairwise(times))


def compare(name: str, batch: int, ours: list[float], rival: list[float]) -> dict[str, Any]:
    """A row: medians as rates, and the median of the ratios of neighbouring rounds."""
    ratios = [theirs / own for own, theirs in zip(ours, rival, strict=True)]
    return {
        "name": name,
        "model": MODEL,
        "rate": round(batch / statistics.median(ours), 1),
        "rival_rate": round(batch / statistics.median(rival), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def main() -> None:
    """Alternate the sides and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    precision = resolve_precision("auto", CPU)
    eager = bare_step(options.batch, torch.contiguous_format, "fp32")
    bare = bare_step(options.batch, torch.channels_last, precision)
    pictures = random_pictures(4 * options.batch)
    times: dict[str, list[float]] = {"eager": [], "bare": [], "fit": []}
    seconds_a_step(eager, 1), seconds_a_step(bare, 1)
    for _ in range(options.rounds):
        times["eager"].append(seconds_a_step(eager, options.steps))
        times["bare"].append(seconds_a_step(bare, options.steps))
        times["fit"].append(seconds_a_step_of_fit(pictures, options.batch, options.steps))
    rows = [
        compare(f"reslab.fit ({precision}) against bare eager fp32 NCHW", options.batch, times["fit"], times["eager"]),
        compare(
            f"reslab.fit ({precision}) against bare channels-last {precision}",
            options.batch,
            times["fit"],
            times["bare"],
        ),
    ]
    report = {
        "rows": rows,
        "rounds": options.rounds,
        "steps": options.steps,
        "environment": environment(CPU, precision),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
