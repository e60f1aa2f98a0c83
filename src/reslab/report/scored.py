"""The per-image scores that a run on a folder of photographs kept, as a report needs them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from reslab.core.errors import RunError
from reslab.core.imagenet import title_of
from reslab.core.rundir import Record, read_record
from reslab.core.units import counted
from reslab.report.finished import FinishedRun
from reslab.report.labels import shown
from reslab.report.thumbnail import kind_of

KINDS: Final = {"classes": list, "n": int, "hits": int, "data": dict}
ROUNDING: Final = 1e-4  # of a softmax in single precision


@dataclass(frozen=True)
class Mistake:
    """A wrong answer given with great certainty; ``thumbnail`` is a JPEG in base64."""

    picture: str
    label: str
    answer: str
    probability: float
    label_probability: float
    thumbnail: str


@dataclass(frozen=True, eq=False)
class Scored:
    """One test, picture by picture.

    Args:
        classes: their names.
        labels: true classes (N,).
        answers: the most probable classes (N,); the lower of equals.
        certainty: the answers' probabilities (N,).
        mistakes: the most certain ones; None: they were not kept.
        own: whether this is the test that the run's result speaks of; a later one may have taken its place.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    certainty: NDArray[np.float32]
    mistakes: tuple[Mistake, ...] | None
    own: bool

    @property
    def right(self) -> NDArray[np.bool]:
        """Whether each answer is right (N,)."""
        return np.equal(self.labels, self.answers)


def read_scored(run: FinishedRun) -> Scored | None:
    """What ``run`` kept of its test; None where it is not of photographs, or kept too little.

    Raises:
        RunError: a file is damaged.
    """
    folder = Path(run.directory) / "scores" / f"{run.result.get('protocol')}-val"
    protocol, scores, worst = (folder / name for name in ("protocol.json", "scores.safetensors", "mistakes.json"))
    if run.experiment.data != "folder" or not (protocol.exists() and scores.exists()):
        return None
    facts = read_record(protocol)
    if not facts.keys() >= KINDS.keys():
        return None
    if wrong := [key for key, kind in KINDS.items() if not isinstance(facts[key], kind)]:
        raise RunError(f"{protocol} is damaged: {wrong[0]} is {facts[wrong[0]]!r}")
    probabilities, labels = _tensors(scores, facts)
    answers = probabilities.argmax(axis=1)
    if int((answers == labels).sum()) != facts["hits"]:
        raise RunError(f"{scores} is damaged: its hits are not the {facts['hits']} of protocol.json")
    mistakes = _mistakes(worst) if worst.exists() else None
    classes = tuple(shown(title_of(str(name))) for name in facts["classes"])
    certainty = np.clip(probabilities.max(axis=1), 0, 1)
    return Scored(classes, labels, answers, certainty, mistakes, _is_own(facts, run))


def _is_own(facts: Record, run: FinishedRun) -> bool:
    digest, wanted = facts["data"].get("digest"), run.data_noted.get("val")
    same_pictures = digest == wanted or None in (digest, wanted)
    return same_pictures and (facts["n"], facts["hits"]) == (run.result["n"], run.result["hits"])


def _tensors(file: Path, facts: Record) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    try:
        tensors = safetensors.numpy.load_file(file)
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise RunError(f"cannot read {file}: {error}") from None
    if missing := {"probabilities", "labels"} - tensors.keys():
        raise RunError(f"{file} is damaged: it holds no {min(missing)}")
    if wrong := _fault(tensors["probabilities"], tensors["labels"], facts):
        raise RunError(f"{file} is damaged: {wrong}")
    return tensors["probabilities"], tensors["labels"]


def _fault(probabilities: NDArray[Any], labels: NDArray[Any], facts: Record) -> str | None:
    if probabilities.dtype != np.dtype(np.float32) or labels.dtype != np.dtype(np.int64):
        return f"it holds {probabilities.dtype} and {labels.dtype}, not float32 and int64"
    n, classes = facts["n"], len(facts["classes"])
    if not n or probabilities.shape != (n, classes) or labels.shape != (n,):
        wanted = f"{counted(n, 'picture')} and {counted(classes, 'class')}"
        return f"scores {probabilities.shape} and labels {labels.shape} are not of {wanted}"
    if labels.min() < 0 or labels.max() >= classes:
        return f"a label is not among the {counted(classes, 'class')}"
    if not -ROUNDING <= probabilities.min() <= probabilities.max() <= 1 + ROUNDING:
        return "a probability is not between 0 and 1"
    return None


def _mistakes(file: Path) -> tuple[Mistake, ...]:
    try:
        return tuple(_mistake(entry) for entry in read_record(file)["mistakes"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error!r}") from None


def _mistake(entry: dict[str, Any]) -> Mistake:
    if kind_of(entry["thumbnail"], str(entry["picture"])) != "jpeg":
        raise ValueError("a thumbnail is not a JPEG")
    return Mistake(
        picture=shown(str(entry["picture"])),
        label=shown(title_of(str(entry["label"]))),
        answer=shown(title_of(str(entry["answer"]))),
        probability=float(entry["probability"]),
        label_probability=float(entry["label_probability"]),
        thumbnail=entry["thumbnail"],
    )
