"""A run's own test, from Python."""

from typing import Any

from reslab.core.rundir import RunDirectory
from reslab.evaluation.result import Evaluation
from reslab.experiments.testing import evaluate_weights
from reslab.experiments.weights import read_weights


def evaluate_run(run: RunDirectory, data: str, **how: Any) -> Evaluation:
    return evaluate_weights(read_weights(run.path), data, **how)
