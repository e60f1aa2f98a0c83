"""Per-image scores of one test: computed once, stored, and counted in integers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from reslab.core.errors import EvaluationError
from reslab.core.files import write_bytes, write_json
from reslab.core.intervals import Count


class View(NamedTuple):
    """Pictures as the network takes them: ``images`` float32 (B, 3, H, W); ``labels``, ``indices`` int64 (B,)."""

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """``probabilities`` float32 (N, classes), the softmax outputs in the data set's order; ``labels`` int64 (N,)."""

    probabilities: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

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

    def store(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write ``scores.safetensors`` and, from ``facts``, ``protocol.json`` into ``folder``."""
        tensors = {"probabilities": self.probabilities.contiguous(), "labels": self.labels.contiguous()}
        write_bytes(folder / "scores.safetensors", safetensors.torch.save(tensors))
        write_json(folder / "protocol.json", facts)


def read_scores(folder: Path) -> Scores:
    """The scores that `Scores.store` wrote into ``folder``.

    Raises:
        EvaluationError: there are none, or they are damaged.
    """
    try:
        tensors = safetensors.torch.load_file(folder / "scores.safetensors")
        return Scores(tensors["probabilities"], tensors["labels"])
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise EvaluationError(f"cannot read the scores in {folder}: {error}") from None


def score(net: nn.Module, views: Iterable[View], pictures: int, context: torch.autocast) -> Scores:
    """Test ``net``, in evaluation mode, on a single view of every picture.

    Args:
        net: returns logits (B, classes).
        views: together every picture exactly once, in any order.
        pictures: how many there are.
        context: the precision of the forward pass.

    Raises:
        EvaluationError: a picture came twice or never, or a score is not finite.
    """
    net.eval()
    outputs, labels, indices = [], [], []
    with torch.inference_mode(), context:
        for view in views:
            outputs.append(net(view.images).float().softmax(dim=1).cpu())
            labels.append(view.labels.cpu())
            indices.append(view.indices.cpu())
    seen = torch.cat(indices) if indices else torch.empty(0, dtype=torch.int64)
    if len(seen) != pictures or not torch.equal(seen.sort().values, torch.arange(pictures)):
        distinct = len(seen.unique())
        raise EvaluationError(f"{len(seen)} views of {distinct} different pictures; the data set has {pictures}")
    order = seen.argsort()
    scores = Scores(torch.cat(outputs)[order].clone(), torch.cat(labels)[order])
    if not scores.probabilities.isfinite().all():
        raise EvaluationError("the network's scores are not finite")
    return scores
