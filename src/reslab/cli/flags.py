"""The flags of ``reslab train`` in groups, each group one part of the experiment."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cyclopts import Parameter

from reslab.core.experiment import Pool, Precision, ShortcutKind, StrideOn


@Parameter(name="*")
@dataclass(kw_only=True)
class NetworkFlags:
    """Which network.

    Args:
        model: as `reslab list models` has it; cifar- networks in any depth 6n+2.
        shortcut: A, B or C (none makes the plain network).
        stride_on: the bottleneck's convolution that strides.
        pool: pad1, or caffe as in the authors' released networks.
        width: filters of the first stage.
    """

    model: str | None = None
    shortcut: ShortcutKind | None = None
    stride_on: StrideOn | None = None
    pool: Pool | None = None
    width: int | None = None

    def given(self) -> dict[str, Any]:
        """The settings that were given, by their names in the spec."""
        named = {"name" if key == "model" else key: value for key, value in given(self).items()}
        return {"model": named}


@Parameter(name="*")
@dataclass(kw_only=True)
class RecipeFlags:
    """How it is trained.

    Args:
        steps: updates.
        batch: pictures an update.
        bn_group: pictures that share batch statistics; divides the batch.
        log_every: steps between lines of metrics.
        evaluate_every: steps between tests on the way.
        precision: auto takes bf16 where the processor computes in it natively.
    """

    steps: int | None = None
    batch: int | None = None
    bn_group: int | None = None
    log_every: int | None = None
    evaluate_every: int | None = None
    precision: Precision | None = None

    def given(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """The settings that were given; a batch below the recipe's group is a group of its own."""
        settings = given(self)
        if self.batch is not None and self.bn_group is None:
            settings["bn_group"] = min(self.batch, recipe["bn_group"])
        return {"recipe": settings}


@Parameter(name="*")
@dataclass(kw_only=True)
class JobFlags:
    """How the run is carried out; none of it changes a number.

    Args:
        out: the run directory.
        resume: go on where the run stopped; afresh where there is nothing yet.
        strict: refuse to resume on other threads, processor or versions.
        device: auto, cpu or cuda.
        workers: processes that gather batches.
        checkpoint_every: steps between checkpoints.
    """

    out: Path
    resume: bool = False
    strict: bool = False
    device: str = "auto"
    workers: int = 0
    checkpoint_every: int = 500


def given(flags: Any) -> dict[str, Any]:
    """A group's settings that are not None."""
    settings = {field.name: getattr(flags, field.name) for field in fields(flags)}
    return {key: value for key, value in settings.items() if value is not None}
