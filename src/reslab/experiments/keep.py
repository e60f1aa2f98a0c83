"""What a run keeps beside its checkpoints: which pictures it saw, and the scores of each test."""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from reslab.core.errors import PictureError
from reslab.core.files import sha256_file, write_json
from reslab.core.rundir import RunDirectory
from reslab.data.photographs import PhotoFolder
from reslab.data.source import Dataset
from reslab.evaluation.scores import SCORES
from reslab.evaluation.store import ARRAYS, file_of, store_views
from reslab.experiments.mistakes import MISTAKES, keep_mistakes
from reslab.experiments.scoring import Tested

INDICES: Final = "pictures"  # the folder of a run's indices
FACTS: Final = "protocol.json"  # of a folder of scores; it is there when the others are whole
PICTURES: Final = "pictures.safetensors"  # of photographs, which they were
SCORE_FILES: Final = (FACTS, SCORES, *map(file_of, ARRAYS), PICTURES, MISTAKES)


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
    """How scores came about.

    Args:
        precision: of the forward pass.
        classes: the network's.
        network: its name.
        weights: sha256 of its tensors.
        step: updates that made them.
        preprocessing: the form in which it took pictures.
        forced: in which respects the weights were used as what they are not.
        command: what gives the scores again.
    """

    precision: str
    classes: tuple[str, ...]
    network: str
    weights: str
    step: int
    preprocessing: dict[str, Any]
    forced: tuple[str, ...] = ()
    command: str = ""


def fill_scores(test: Tested, folder: Path, pictures: Dataset, kept: Kept) -> None:
    """Fill ``folder`` with scores and what they are of; for photographs also which they were, and the worst mistakes.

    Raises:
        StorageError: they could not be written.
    """
    store_views(test.views, folder)
    test.scores.store(folder)
    if isinstance(pictures, PhotoFolder):
        pictures.index.save(folder / PICTURES)
        if test.scores.labelled:
            with contextlib.suppress(PictureError):  # damaged since: the scores are worth more than its picture
                keep_mistakes(test.scores, pictures, kept.classes, folder)
    facts = {
        "protocol": test.protocol.name,
        "views": test.protocol.sentence,
        "settings": test.protocol.model_dump(mode="json"),
        **asdict(kept),
        "split": pictures.split,
        "data": {"name": pictures.name, "digest": pictures.digest},
        "n": len(test.scores),
        "hits": test.scores.count().hits if test.scores.labelled else None,
        "sha256": {name: sha256_file(folder / name) for name in (SCORES, *map(file_of, ARRAYS))},
    }
    write_json(folder / FACTS, facts)
