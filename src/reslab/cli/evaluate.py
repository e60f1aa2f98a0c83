"""``reslab evaluate``."""

from pathlib import Path
from typing import Literal

from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import progress
from reslab.core.rundir import RunDirectory


def evaluate(
    run: Path,
    /,
    *,
    data: str,
    protocol: Literal["single"] = "single",
    split: Literal["train", "val"] = "val",
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Test a trained network on every picture, each counted exactly once, and keep the per-image scores.

    Args:
        run: a run directory; its newest whole checkpoint is tested.
        data: embedded, or a CIFAR-10 or CIFAR-100 folder in the official binary layout.
        protocol: single, the one view of section 4.2.
        split: val (the data set's test pictures) or train.
        precision: of the forward pass.
        device: auto, cpu or cuda.
        out: folder for the scores; by default inside the run.
        json: print one JSON document.
    """
    opened = RunDirectory.open(run)
    from reslab.experiments.testing import evaluate_run

    tested = evaluate_run(opened, data, split=split, precision=precision, device=device, out=out, notify=progress())
    if json:
        print_json({"protocol": protocol, **tested.as_json()})
        return
    low, high = tested.interval
    stdout().print(
        f"{opened.experiment.model.name}, {tested.protocol} view, {tested.precision}: error {tested.error:.2f} %"
        f" (95 % interval {low:.2f} to {high:.2f}, n={tested.n:,}), top-5 error {tested.top5.error:.2f} %\n"
    )
    rows = [
        (name, f"{count.error:.2f}", f"{count.interval[0]:.2f} to {count.interval[1]:.2f}", f"{count.n:,}")
        for name, count in tested.by_class.items()
    ]
    print_table(("class", "error %", "95 % interval", "n"), rows)
