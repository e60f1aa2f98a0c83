"""What a run keeps beside its checkpoints: which pictures it saw, and the scores of each test."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reslab.core.rundir import RunDirectory
from reslab.data.photographs import PhotoFolder
from reslab.data.source import Dataset
from reslab.evaluation.scores import Scores
from reslab.experiments.mistakes import keep_mistakes

INDICES: Final = "pictures"  # the folder of a run's indices


def keep_indices(run: RunDirectory, *sets: Dataset, anew: bool) -> None:
    """Remember which photographs a run trains and tests on, so that they need not be searched again.

    Args:
        run: where.
        sets: those of them that are photographs.
        anew: whether what is kept already is replaced.

    Raises:
        StorageError: it could not be written.
    """
    for pictures in sets:
        file = run.path / INDICES / f"{pictures.split}.safetensors"
        if isinstance(pictures, PhotoFolder) and (anew or not file.exists()):
            pictures.index.save(file)


@dataclass(frozen=True)
class Kept:
    """How scores came about: protocol, precision, the network's classes and steps, and what was forced."""

    protocol: str
    precision: str
    classes: tuple[str, ...]
    step: int
    forced: tuple[str, ...] = ()


def store_scores(scores: Scores, folder: Path, pictures: Dataset, kept: Kept) -> None:
    """Keep per-image scores with what they are of; for photographs also which they were, and the worst mistakes.

    Raises:
        StorageError: they could not be written.
    """
    facts = {
        "protocol": kept.protocol,
        "average": "none: one view",
        "precision": kept.precision,
        "split": pictures.split,
        "data": {"name": pictures.name, "digest": pictures.digest},
        "classes": list(kept.classes),
        "step": kept.step,
        "n": len(scores),
        "hits": len(scores) - scores.count().errors,
        "forced": list(kept.forced),
    }
    scores.store(folder, facts)
    if isinstance(pictures, PhotoFolder):
        pictures.index.save(folder / "pictures.safetensors")
        keep_mistakes(scores, pictures, kept.classes, folder)
