"""``reslab evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.flags import HeldFlags
from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import progress
from reslab.core.imagenet import title_of
from reslab.core.text import printable

if TYPE_CHECKING:
    from reslab.evaluation.result import Evaluation
    from reslab.experiments.weights import Weights


def evaluate(
    weights: Path,
    /,
    *,
    data: str,
    protocol: Literal["single", "center"] | None = None,
    split: Literal["train", "val", "all"] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "auto",
    workers: int | None = None,
    out: Path | None = None,
    held: HeldFlags | None = None,
    json: bool = False,
) -> None:
    """Test a trained network on every picture, each counted exactly once, and keep the per-image scores.

    Args:
        weights: a run, whose newest whole checkpoint is tested; or weights that `reslab weights import` made.
        data: embedded, a folder of photographs, or a CIFAR-10 or CIFAR-100 folder in the official binary layout.
        protocol: single, the one view of section 4.2, or center, the central crop of a photograph; by default the one
            that goes with the network's pictures.
        split: val, train or all; by default val, but every picture of a folder that has class folders alone.
        precision: of the forward pass.
        device: auto, cpu or cuda.
        workers: processes that read photographs; by default one a core.
        out: folder for the scores; by default inside the run, or beside the weights.
        held: what the weights are held to be.
        json: print one JSON document.
    """
    from reslab.experiments.testing import evaluate_weights
    from reslab.experiments.weights import read_weights

    taken = (held or HeldFlags()).held(read_weights(weights, progress().warned))
    tested = evaluate_weights(
        taken,
        data,
        protocol=protocol,
        split=split,
        precision=precision,
        device=device,
        workers=workers,
        out=out,
        notify=progress(),
    )
    if json:
        print_json({**tested.as_json(), "forced": list(taken.forced)})
        return
    _print(taken, tested)


def _print(taken: "Weights", tested: "Evaluation") -> None:
    for conflict in taken.forced:
        stdout().print(f"forced: {printable(str(taken.place))} has {conflict}", soft_wrap=True)
    low, high = tested.interval
    stdout().print(
        f"{taken.name}, {tested.protocol} view, {tested.precision}: error {tested.error:.2f} %"
        f" (95 % interval {low:.2f} to {high:.2f}, n={tested.n:,}), top-5 error {tested.top5.error:.2f} %\n"
    )
    rows = [
        (
            printable(title_of(name)),
            f"{count.error:.2f}",
            f"{count.interval[0]:.2f} to {count.interval[1]:.2f}",
            f"{count.n:,}",
        )
        for name, count in tested.by_class.items()
    ]
    print_table(("class", "error %", "95 % interval", "n"), rows)
