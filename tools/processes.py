"""Time training by two processes of one thread against one process of two threads.

    python tools/processes.py --data FOLDER --recipe NAME [--model resnet18] [--batch N] [--steps 16] [--rounds 3]
                              [--precision auto] [--out FILE]

Both are `reslab train` on the same two cores, with the same recipe and batches; torchrun begins the two. Each takes as
many workers as it does by itself: for photographs one process has two, and two have one each. They take turns, and
every other round begins with the two processes. A run's rate is the median of images_per_second in the lines of its
metrics.jsonl after the first; nothing is tested or saved between them. Without ``--batch`` it is two groups of the
recipe's batch statistics, so that each process has one. The ratio is two processes over one, higher is better. Prints
one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from reslab.core.errors import ReslabError, SpecError, TrainingError
from reslab.core.files import write_json
from reslab.core.rundir import RunDirectory
from reslab.experiments.recipes import named_recipe

CORES: Final = 2
LINES: Final = 8  # of metrics a run, where it has as many steps
SIDES: Final = ("one", "two")
ASKED: Final = ("model", "recipe", "batch", "steps", "precision")
OF_A_RUN: Final = ("data", "threads", "processes", "resumed")  # in the record of where it took place


def command(side: str, out: Path, asked: argparse.Namespace) -> list[str]:
    """The command line of one run into ``out``."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={CORES}"] if side == "two" else []
    flags = {name: getattr(asked, name) for name in (*ASKED, "data")}
    flags |= {"log-every": max(1, asked.steps // LINES), "bn-average": 0, "out": out}
    flags |= dict.fromkeys(("evaluate-every", "checkpoint-every"), asked.steps)
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return [sys.executable, *launch, "-m", "reslab", "train", *words, "--json"]


def trained(side: str, out: Path, asked: argparse.Namespace) -> RunDirectory:
    """Train once, into ``out``.

    Raises:
        TrainingError: the command failed; the line is its own.
    """
    threads = 1 if side == "two" else CORES
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    words = command(side, out, asked)
    done = subprocess.run(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.splitlines() or [f"exit code {done.returncode}"]
        own = [line for line in said if line.startswith("reslab: ")]
        raise TrainingError((own or said)[-1].removeprefix("reslab: "))
    run = RunDirectory.open(out)
    place = run.environment() or {}
    assert (place["threads"], place.get("processes", 1)) == (threads, CORES // threads)
    return run


def rate(run: RunDirectory) -> float:
    """Images/s in the median line of metrics after the first."""
    return statistics.median(line["images_per_second"] for line in run.metrics()[1:])


def measured(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Every round's two runs."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(asked.rounds):
        for side in SIDES[:: -1 if number % 2 else 1]:
            run = trained(side, folder / f"{side}-{number}", asked)
            rates[side].append(rate(run))
            print(f"round {number + 1} of {asked.rounds}, {side}: {rates[side][-1]:.1f} images/s", file=sys.stderr)
    ratios = [two / one for one, two in zip(rates["one"], rates["two"], strict=True)]
    place = {key: fact for key, fact in (run.environment() or {}).items() if key not in OF_A_RUN}
    return {
        "bn_group": run.experiment.recipe.bn_group,
        "n": asked.rounds,
        "images_per_second": rates,
        "median": {side: round(statistics.median(values), 1) for side, values in rates.items()},
        "ratio": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
        "environment": place,
    }


def read_flags() -> argparse.Namespace:
    """What was asked for.

    Raises:
        SpecError: there is no such recipe, or too few steps or rounds.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.batch is None:
        asked.batch = CORES * named_recipe(asked.recipe).bn_group
    if asked.steps < 2 or asked.rounds < 1:
        raise SpecError("--steps must be at least 2, for the first line of metrics does not count, and --rounds 1")
    return asked


def main() -> None:
    """Measure on two cores, keep and print."""
    try:
        asked = read_flags()
        cores = sorted(os.sched_getaffinity(0))[:CORES]
        if len(cores) < CORES:
            raise SpecError(f"{CORES} cores are compared, and this process may use {len(cores)}")
        os.sched_setaffinity(0, cores)
        with tempfile.TemporaryDirectory() as folder:
            found = measured(Path(folder), asked)
    except ReslabError as error:
        print(f"processes.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    flags = [f"--{name} {getattr(asked, name)}" for name in (*ASKED, "rounds")]
    kept = {"command": " ".join(["python tools/processes.py", f"--data {Path(asked.data).name}", *flags]), **found}
    if asked.out is not None:
        write_json(asked.out, kept)
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
