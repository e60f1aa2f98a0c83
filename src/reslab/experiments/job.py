"""How a run is carried out, and what came of it."""

from dataclasses import dataclass
from pathlib import Path

from reslab.core.errors import SpecError
from reslab.core.rundir import Record
from reslab.data.pool import check_workers
from reslab.experiments.weights import Weights
from reslab.transforms.mean_image import MeanImage


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a run is carried out. None of it changes a number, but another device or engine changes the last bits.

    Args:
        data: what ``--data`` says.
        out: the run directory.
        resume: go on where the run stopped; afresh where there is nothing yet.
        strict: refuse to resume where threads, processor or versions differ, instead of warning.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes that read ahead; None: as many as there are cores for photographs, none for small pictures.
        weights: what to begin from, where the experiment begins from trained weights; a run that has a checkpoint goes
            on without.
        mean_image: what is subtracted from crops, where the experiment says one; weights to begin from and a checkpoint
            bring their own.
        engine: how updates are made: ``auto``, ``eager``, or ``graph``, recorded once and replayed on a CUDA device.
        compiled: pass through the network as torch.compile makes it; another device, another gain, and not always one.
        activation_checkpointing: keep one tensor a block for the backward pass and compute the others again.
        timeout: of several processes, seconds without a step after which each says where it is, and ends.
        checkpoint_every: steps between checkpoints.
        keep: checkpoints to retain.
    """

    data: str
    out: Path
    resume: bool = False
    strict: bool = False
    device: str = "auto"
    workers: int | None = None
    weights: Weights | None = None
    mean_image: MeanImage | None = None
    engine: str = "auto"
    compiled: bool = False
    activation_checkpointing: bool = False
    timeout: float = 600  # ours: ten minutes, more than any step, save or batch of a test took
    checkpoint_every: int = 500  # ours: minutes of work on a CPU, seconds on a GPU; a save takes well under one
    keep: int = 2

    def __post_init__(self) -> None:
        check_workers(self.workers)
        if self.checkpoint_every < 1:
            raise SpecError(f"--checkpoint-every must be at least 1, not {self.checkpoint_every}")
        if self.timeout <= 0:
            raise SpecError(f"--timeout must be positive, not {self.timeout:g}")
        if self.compiled and self.activation_checkpointing:
            raise SpecError(
                "--compile chooses itself what is kept for the backward pass: no --activation-checkpointing"
            )


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Args:
        result: of a finished run, in its first process.
        signal: the one that came, if any.
        step: the last that was done.
        stopped: whether the signal stopped it.
        averaging: where it was stopped after the last step, while batch statistics were averaged: how many pictures of
            how many had passed. They are not kept: a resumed run averages from the start.
    """

    result: Record | None
    signal: int | None
    step: int
    stopped: bool = False
    averaging: tuple[int, int] | None = None
