"""What several tests test with: a run's own test from Python, and a mark for what needs a CUDA device."""

from typing import Any

import pytest
import torch

from reslab.core.rundir import RunDirectory
from reslab.evaluation.result import Evaluation
from reslab.experiments.testing import evaluate_weights
from reslab.experiments.weights import read_weights

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


def evaluate_run(run: RunDirectory, data: str, **how: Any) -> Evaluation:
    return evaluate_weights(read_weights(run.path), data, **how)
