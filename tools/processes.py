"""Time training by two processes of one thread against one process of two threads.

    python tools/processes.py --data FOLDER --recipe NAME [--model resnet18] [--batch N] [--steps 16] [--rounds 3]
                              [--workers 2] [--precision auto] [--out FILE]

Both are `reslab train`, the one begun by torchrun, on the same two cores, the same batches, recipe and steps; they take
turns, and every other round begins with the two processes. A run's rate is the median of images_per_second in the
lines of its metrics.jsonl after the first; nothing is tested or saved between them. ``--workers`` are those of the one
process; two processes share them. Without ``--batch`` it is two groups of the recipe's batch statistics, so that each
process has one. The ratio is two processes over one, higher is better. Prints one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from reslab.core.errors import ReslabError, SpecError
from reslab.core.files import write_json
from reslab.experiments.recipes import named_recipe

CORES: Final = 2
LINES: Final = 8  # of metrics a run, where it has as many steps
SIDES: Final = ("one", "two")
PLACE: Final = (
    "reslab",
    "revision",
    "python",
    "torch",
    "numpy",
    "system",
    "device",
    "processor",
    "capability",
    "cores",
)


def command(side: str, out: Path, asked: argparse.Namespace) -> list[str]:
    """The command line of one run into ``out``."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={CORES}"] if side == "two" else []
    workers = asked.workers // CORES if side == "two" else asked.workers
    flags = {
        "model": asked.model,
        "data": asked.data,
        "recipe": asked.recipe,
        "batch": asked.batch,
        "steps": asked.steps,
        "workers": workers,
        "precision": asked.precision,
        "log-every": max(1, asked.steps // LINES),
        "evaluate-every": asked.steps,
        "checkpoint-every": asked.steps,
        "out": out,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [sys.executable, *launch, "-m", "reslab", "train", *words, "--json"]


def run(side: str, out: Path, asked: argparse.Namespace) -> float:
    """Train once; the images/s of the median line after the first."""
    threads = 1 if side == "two" else CORES
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    words = command(side, out, asked)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("reslab:")] or done.stderr.splitlines()
        raise SpecError((lines or [f"exit code {done.returncode}"])[-1].removeprefix("reslab: "))
    place = json.loads((out / "environment.json").read_text(encoding="utf-8"))
    assert place["threads"] == threads
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return statistics.median(json.loads(line)["images_per_second"] for line in lines[1:])


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Every round's two runs."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(asked.rounds):
        for side in SIDES[:: -1 if number % 2 else 1]:
            rates[side].append(run(side, folder / f"{side}{number}", asked))
            print(f"round {number + 1}, {side}: {rates[side][-1]} images/s", file=sys.stderr)
    ratios = [two / one for one, two in zip(rates["one"], rates["two"], strict=True)]
    place = json.loads((folder / "one0" / "environment.json").read_text(encoding="utf-8"))
    spec = json.loads((folder / "one0" / "spec.json").read_text(encoding="utf-8"))
    return {
        "images_per_second": rates,
        "median": {side: statistics.median(values) for side, values in rates.items()},
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "n": asked.rounds,
        "bn_group": spec["recipe"]["bn_group"],
        "environment": {**{key: place[key] for key in PLACE}, "precision": place["precision"]},
    }


def read_flags(words: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch", type=int)
    for name, value in (("steps", 16), ("rounds", 3), ("workers", CORES)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    if asked.batch is None:
        asked.batch = CORES * named_recipe(asked.recipe).bn_group
    if asked.steps < 2:
        raise SpecError("--steps must be at least 2: the first line of metrics does not count")
    return asked


def main() -> None:
    """Measure on two cores, keep and print."""
    try:
        asked = read_flags(None)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), asked)
    except ReslabError as error:
        sys.exit(f"processes.py: {error}")
    names = ("model", "recipe", "batch", "steps", "rounds", "workers", "precision")
    flags = [f"--{name} {getattr(asked, name)}" for name in names]
    data = Path(asked.data).name
    kept = {"command": " ".join(["python tools/processes.py", f"--data {data}", *flags]), **found}
    if asked.out is not None:
        write_json(asked.out, kept)
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
