"""``reslab evaluate``."""

from pathlib import Path
from typing import Literal

from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import progress
from reslab.core.rundir import RunDirectory
from reslab.core.text import printable


def evaluate(
    run: Path,
    /,
    *,
    data: str,
    protocol: Literal["single", "center"] | None = None,
    split: Literal["train", "val", "all"] | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    device: str = "auto",
    workers: int | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Test a trained network on every picture, each counted exactly once, and keep the per-image scores.

    Args:
        run: a run directory; its newest whole checkpoint is tested.
        data: embedded, a folder of photographs, or a CIFAR-10 or CIFAR-100 folder in the official binary layout.
        protocol: single, the one view of section 4.2, or center, the central crop of a photograph; by default the one
            that goes with the network's pictures.
        split: val, train or all; by default val, but every picture of a folder that has class folders alone.
        precision: of the forward pass.
        device: auto, cpu or cuda.
        workers: processes that read photographs; by default one a core.
        out: folder for the scores; by default inside the run.
        json: print one JSON document.
    """
    opened = RunDirectory.open(run)
    from reslab.experiments.testing import evaluate_run

    tested = evaluate_run(
        opened,
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
        print_json(tested.as_json())
        return
    low, high = tested.interval
    stdout().print(
        f"{opened.experiment.model.name}, {tested.protocol} view, {tested.precision}: error {tested.error:.2f} %"
        f" (95 % interval {low:.2f} to {high:.2f}, n={tested.n:,}), top-5 error {tested.top5.error:.2f} %\n"
    )
    rows = [
        (printable(name), f"{count.error:.2f}", f"{count.interval[0]:.2f} to {count.interval[1]:.2f}", f"{count.n:,}")
        for name, count in tested.by_class.items()
    ]
    print_table(("class", "error %", "95 % interval", "n"), rows)
