"""Per-image scores of one test: computed once, stored, and counted in integers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from reslab.core.errors import EvaluationError
from reslab.core.files import write_bytes
from reslab.core.intervals import Count

SCORES: Final = "scores.safetensors"


@dataclass(frozen=True, eq=False)
class Scores:
    """``probabilities`` float32 (N, classes) in the data set's order; ``labels`` int64 (N,), all -1 if unknown."""

    probabilities: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether the labels are known, so that answers can be counted."""
        return is_labelled(self.labels)

    def hits(self, top: int = 1) -> Tensor:
        """Whether each label is among the ``top`` most probable classes, bool (N,); ties go to the lower class."""
        of_label = self.probabilities.gather(1, self.labels[:, None])
        lower = torch.arange(self.probabilities.shape[1]) < self.labels[:, None]
        ahead = (self.probabilities > of_label) | ((self.probabilities == of_label) & lower)
        return ahead.sum(dim=1) < top

    def count(self, top: int = 1) -> Count:
        """Errors among all pictures, exact."""
        return Count(len(self) - int(self.hits(top).sum()), len(self))

    def counts_by_class(self) -> list[Count]:
        """Errors among the pictures of each class that has any, in the order of the labels."""
        hits, classes = self.hits(), self.probabilities.shape[1]
        total = torch.bincount(self.labels, minlength=classes).tolist()
        right = torch.bincount(self.labels[hits], minlength=classes).tolist()
        return [Count(n - r, n) for n, r in zip(total, right, strict=True) if n]

    def store(self, folder: Path) -> None:
        """Write ``scores.safetensors`` into ``folder``."""
        tensors = {"probabilities": self.probabilities.contiguous(), "labels": self.labels.contiguous()}
        write_bytes(folder / SCORES, safetensors.torch.save(tensors))


def is_labelled(labels: Tensor) -> bool:
    """Whether ``labels``, int64 (N,), are places among classes and not all -1."""
    return not len(labels) or bool((labels != -1).any())


def read_scores(folder: Path) -> Scores:
    """The scores that `Scores.store` wrote into ``folder``.

    Raises:
        EvaluationError: there are none, or they are damaged.
    """
    try:
        tensors = safetensors.torch.load_file(folder / SCORES)
        scores = Scores(tensors["probabilities"], tensors["labels"])
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise EvaluationError(f"cannot read the scores in {folder}: {error}") from None
    found = (scores.probabilities.dtype, scores.probabilities.dim(), scores.labels.dtype, scores.labels.dim())
    if found != (torch.float32, 2, torch.int64, 1) or len(scores.probabilities) != len(scores.labels):
        raise EvaluationError(f"the scores in {folder} are damaged: their arrays have other shapes or types")
    return scores
