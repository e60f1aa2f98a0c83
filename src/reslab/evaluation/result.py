"""A test's result as people and programs read it."""

from dataclasses import dataclass
from typing import Any

from reslab.core.intervals import Count
from reslab.core.protocol import Protocol
from reslab.evaluation.scores import Scores


@dataclass(frozen=True)
class Evaluation:
    """An error with everything needed to believe it; errors in percent, intervals 95 % Wilson."""

    protocol: Protocol
    precision: str
    top1: Count
    top5: Count
    by_class: dict[str, Count]

    @property
    def error(self) -> float:
        """The top-1 error in percent."""
        return self.top1.error

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of `error`."""
        return self.top1.interval

    @property
    def n(self) -> int:
        """How many pictures were tested."""
        return self.top1.n

    @property
    def hits(self) -> int:
        """How many answers were right."""
        return self.top1.hits

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "protocol": self.protocol.name,
            "views": self.protocol.sentence,
            "average": self.protocol.average,
            "precision": self.precision,
            "n": self.n,
            "hits": self.hits,
            "error": self.error,
            "top5_error": self.top5.error,
            "interval": list(self.interval),
            "by_class": {
                name: {"n": count.n, "error": count.error, "interval": list(count.interval)}
                for name, count in self.by_class.items()
            },
        }


def summarise(scores: Scores, classes: tuple[str, ...], precision: str, protocol: Protocol) -> Evaluation:
    """Count ``scores`` in every way that a report shows."""
    present = [classes[label] for label in scores.labels.unique().tolist()]
    by_class = dict(zip(present, scores.counts_by_class(), strict=True))
    return Evaluation(protocol, precision, scores.count(), scores.count(top=5), by_class)
