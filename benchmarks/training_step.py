"""Speed of training on pictures in memory, as ratios in one run.

    python benchmarks/training_step.py [--batch 128] [--rounds 15] [--out FILE]

Two questions, each answered by alternating the sides step by step and taking medians:

- what `reslab.fit` does, data and augmentation included, with the precision that ``--precision auto`` takes here,
  against a bare eager fp32 NCHW loop on a batch that lies ready;
- the same against a bare loop of its own precision and layout: what loop and data cost.

Prints one JSON document: ``rows`` with ``name, model, rate, rival_rate, ratio``, rates in images a second.
"""

import argparse
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
WARM_UP = 2  # rounds that do not count
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


def seconds(step: Step) -> float:
    """One call."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def alternate(pictures: Pictures, batch: int, rounds: int, rivals: dict[str, Step]) -> dict[str, list[float]]:
    """Seconds a step of `reslab.fit` and of each rival, which steps once between two steps of fit; warmed up first."""
    times: dict[str, list[float]] = {name: [] for name in ("fit", *rivals)}
    begun = time.perf_counter()

    def stepped(_step: int) -> None:
        nonlocal begun
        times["fit"].append(time.perf_counter() - begun)
        for name, rival in rivals.items():
            times[name].append(seconds(rival))
        begun = time.perf_counter()

    recipe = reslab.Recipe(steps=rounds + WARM_UP, batch=batch, bn_group=batch)
    reslab.fit(reslab.cifar_resnet(20), pictures, recipe, device="cpu", watch=reslab.Watch(stepped=stepped))
    return {name: series[WARM_UP:] for name, series in times.items()}


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
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    precision = resolve_precision("auto", CPU)
    rivals = {
        "eager": bare_step(options.batch, torch.contiguous_format, "fp32"),
        "bare": bare_step(options.batch, torch.channels_last, precision),
    }
    times = alternate(random_pictures(4 * options.batch), options.batch, options.rounds, rivals)
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
        "environment": environment(CPU, precision),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
