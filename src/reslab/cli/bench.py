"""``reslab bench``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from reslab.cli.output import print_json, print_table, say, stdout
from reslab.core.errors import SpecError
from reslab.core.experiment import Precision
from reslab.core.files import write_json
from reslab.experiments.recipes import named_recipe
from reslab.report.speed import SPEED_HEADINGS, speed_place, speed_rows, speed_sentences

if TYPE_CHECKING:
    from reslab.experiments.bench.asked import Report

Kind = Literal["train", "loader", "infer", "test"]
DEFAULTS: Final[dict[Kind, dict[str, Any]]] = {
    "train": {"model": "resnet18", "batch": 32, "rounds": 9},
    "loader": {"batch": 64, "rounds": 5},
    "infer": {"model": "resnet50", "batch": 16, "rounds": 9},
    "test": {"model": "resnet50", "batch": 32, "rounds": 3},
}
WITHOUT: Final[dict[Kind, tuple[str, ...]]] = {
    "train": (),
    "loader": ("model", "precision", "device", "bn_group", "recipe"),
    "infer": ("data", "workers", "bn_group", "recipe"),
    "test": ("bn_group", "recipe"),
}


def bench(
    kind: Kind,
    /,
    *,
    model: str | None = None,
    batch: int | None = None,
    rounds: int | None = None,
    precision: Precision | None = None,
    data: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    bn_group: int | None = None,
    recipe: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Measure speed here against rivals that take turns with it, and say which settings are best.

    Args:
        kind: train (a step, and the loop with its data), loader (reading photographs), infer, or test (what ten crops
            and whole pictures cost, counted in central crops).
        model: as `reslab list models` has it; by default resnet18 for train, else resnet50.
        batch: pictures a step; by default 32 for train, or with --recipe one of its groups of batch statistics (a
            whole batch of hundreds rarely fits the rival's memory); 64 for loader, 16 for infer; of test the
            photographs, 32.
        rounds: in which each side has its turn; by default 9, 5 for loader and 3 for test.
        precision: of our side: auto, fp32 or bf16; auto tries both where bf16 is native.
        data: a folder of photographs, or what `reslab train` takes; by default random pictures in memory.
        workers: processes that read ahead; by default one a core for photographs, none for small pictures (torch's
            own loader beside it: 2).
        device: auto, cpu or cuda.
        bn_group: of train: pictures that share batch statistics; by default the recipe's, or without one 64 for
            CIFAR's networks, else the batch.
        recipe: of train: a name, as `reslab list recipes` has it; what decides the speed is taken from it: how pictures
            are read and augmented, groups and optimizer.
        out: a file for the JSON document.
        json: print one JSON document.
    """
    asked: dict[str, Any] = {
        "model": model,
        "batch": batch,
        "rounds": rounds,
        "precision": precision,
        "data": data,
        "workers": workers,
        "device": device,
        "bn_group": bn_group,
        "recipe": recipe,
    }
    found = _measure(kind, _settings(kind, asked)).as_json()
    if out is not None:
        write_json(out, found)
    if json:
        print_json(found)
        return
    print_table(SPEED_HEADINGS, speed_rows(found))
    stdout().print(f"\n{speed_place(found)}\n")
    for sentence in speed_sentences(found):
        stdout().print(sentence)


def _settings(kind: Kind, asked: dict[str, Any]) -> dict[str, Any]:
    """Those that were given, and the usual ones; with a recipe and no batch, that is one of its groups."""
    given = {key: value for key, value in asked.items() if value is not None}
    idle = [key for key in WITHOUT[kind] if key in given]
    if idle:
        raise SpecError(f"--{idle[0].replace('_', '-')} has no effect on bench {kind}")
    usual = dict(DEFAULTS[kind])
    if recipe := given.get("recipe"):
        usual["batch"] = given.get("bn_group") or named_recipe(recipe).bn_group
    return {**usual, **given}


def _measure(kind: Kind, settings: dict[str, Any]) -> "Report":
    from reslab.experiments.bench.asked import Asked
    from reslab.experiments.bench.infer import bench_infer
    from reslab.experiments.bench.loader import bench_loader
    from reslab.experiments.bench.testing import bench_test
    from reslab.experiments.bench.train import bench_train

    measure = {"train": bench_train, "loader": bench_loader, "infer": bench_infer, "test": bench_test}[kind]
    return measure(Asked(**settings), lambda text: say(f"reslab bench {kind}: {text}"))
