"""Calibration, confusion and top-k errors against torchmetrics."""

import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from reslab.evaluation.scores import Scores
from reslab.report.calibration import BINS, calibrate
from reslab.report.confusion import confusion

pytestmark = pytest.mark.oracle


def random_scores(seed: int, pictures: int, classes: int) -> Scores:
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(pictures, classes, generator=draw)
    labels = torch.where(
        torch.rand(pictures, generator=draw) < 0.6,
        logits.argmax(dim=1),
        torch.randint(classes, (pictures,), generator=draw),
    )
    return Scores(logits.softmax(dim=1), labels)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("pictures", "classes"), [(50, 6), (3_000, 10), (500, 100)])
def test_every_measure_is_torchmetrics(seed: int, pictures: int, classes: int) -> None:
    scores = random_scores(seed, pictures, classes)
    certainty, answers = scores.probabilities.max(dim=1)
    ours = calibrate(certainty.numpy(), (answers == scores.labels).numpy())
    theirs = multiclass_calibration_error(scores.probabilities, scores.labels, classes, n_bins=BINS, norm="l1")
    assert ours.ece == pytest.approx(100 * float(theirs), abs=1e-4)
    matrix = multiclass_confusion_matrix(answers, scores.labels, classes)
    assert confusion(scores.labels.numpy(), answers.numpy(), classes).tolist() == matrix.tolist()
    for top in (1, 5):
        right = multiclass_accuracy(scores.probabilities, scores.labels, classes, average="micro", top_k=top)
        assert scores.count(top).error == pytest.approx(100 * (1 - float(right)), abs=1e-4)
