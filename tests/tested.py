"""What several tests test with: a run's own test, Pillow's filters, and a mark for what needs a CUDA device."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from PIL import Image
from torch import nn

from reslab.core.contract import Contract, Resample
from reslab.core.listening import unheard
from reslab.core.protocol import Native, find_protocol
from reslab.core.rundir import RunDirectory
from reslab.data.photographs import PhotoFolder
from reslab.data.views import ViewBatch, photo_views
from reslab.evaluation.result import Evaluation
from reslab.experiments.notify import Notify
from reslab.experiments.stored import mix, read_stored
from reslab.experiments.testing import Testing, evaluate_weights
from reslab.experiments.weights import read_weights
from reslab.models.network import ResNet

on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
PILLOWS: Final[dict[Resample, Image.Resampling]] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def stir(net: ResNet, source: torch.Generator) -> None:
    """Draw scales, shifts and statistics anew: batch normalisation is then far from the identity."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1, generator=source)
            module.bias.data.normal_(0, 0.1, generator=source)
            module.running_mean.normal_(0, 0.1, generator=source)
            module.running_var.uniform_(0.5, 2, generator=source)


def centre_views(
    photos: PhotoFolder, contract: Contract, batch: int, workers: int = 0, warn: Callable[[str], None] = unheard
) -> Iterator[ViewBatch]:
    protocol = find_protocol("center", Native(contract.shorter_side, contract.crop, "center"))
    how = {"resample": contract.resample, "workers": workers, "warn": warn}
    return photo_views(photos, protocol, range(len(photos)), batch=batch, **how)


def evaluate_run(
    run: RunDirectory, data: str, out: Path | None = None, notify: Notify | None = None, **how: Any
) -> Evaluation:
    folder = evaluate_weights(read_weights(run.path), Testing(data, **how), out=out, notify=notify)
    return mix([read_stored(folder)]).evaluation
