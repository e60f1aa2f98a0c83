"""A trained network's answers about any pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from reslab.core.errors import DataError, EvaluationError, PictureError, SpecError
from reslab.core.text import printable
from reslab.data.folder import pictures_in
from reslab.data.photographs import SingleViews
from reslab.data.picture_file import read_header, read_picture
from reslab.data.pool import check_workers, in_order
from reslab.experiments.environment import choose_device
from reslab.experiments.mistakes import thumbnail
from reslab.experiments.notify import Notify
from reslab.experiments.session import cores
from reslab.experiments.testing import trained
from reslab.experiments.weights import Weights
from reslab.training.precision import Resolved, autocast

BATCH: Final = 32  # pictures; any number gives the same answers but for last bits


@dataclass(frozen=True)
class Prediction:
    """One picture's answers, most probable first, or why it could not be used."""

    path: Path
    answers: tuple[tuple[str, float], ...]
    error: str | None

    @property
    def picture(self) -> str:
        """The path, fit to be printed."""
        return printable(str(self.path))


def find_pictures(places: Sequence[Path]) -> list[Path]:
    """The files at ``places``: files as they are, whatever their names; of folders, the pictures in them, by path.

    Raises:
        DataError: a place does not exist, or a folder holds no pictures.
    """
    found: list[Path] = []
    for place in places:
        if not _is_folder(place):
            found.append(place)
            continue
        inside = sorted(path for path, _ in pictures_in(place, ".", lambda _other: None))
        if not inside:
            raise DataError(f"{printable(str(place))} holds no pictures")
        found += [place / path for path in inside]
    return found


def _is_folder(place: Path) -> bool:
    try:
        if not (place.exists() or place.is_symlink()):
            raise DataError(f"{printable(str(place))} does not exist")
        return place.is_dir()
    except OSError:
        return False  # what is wrong with it is said when it is read


def predict(
    weights: Weights,
    pictures: Sequence[Path],
    *,
    top: int = 5,
    precision: Resolved = "fp32",
    device: str = "auto",
    workers: int | None = None,
    notify: Notify | None = None,
) -> Iterator[Prediction]:
    """Answers for each picture, in order, a batch at a time; a picture that cannot be used does not stop the others.

    Args:
        weights: a run's, or any that say what they are of.
        pictures: files, as `find_pictures` gives them.
        top: answers a picture; fewer where there are fewer classes.
        precision: of the forward pass.
        device: where.
        workers: processes that decode; None: one a core, at most one a batch.
        notify: hears warnings.

    Raises:
        SpecError: ``top`` or ``workers`` make no sense, or there is no such device.
        DataError: the weights do not say what they are of.
        WorkerError: a picture killed or hung three workers.
        EvaluationError: the network's scores are not finite.
    """
    if top < 1:
        raise SpecError(f"--top must be at least 1, not {top}")
    check_workers(workers)
    place, heard = choose_device(device), notify or Notify()
    network = trained(weights, place)
    views = SingleViews(pictures, network.inputs.shape, network.inputs.view, BATCH)
    hands = workers if workers is not None else min(cores(), len(views.tasks))
    for task, (wrong, buffer) in zip(views.tasks, in_order(views, views.tasks, hands, heard.warned), strict=True):
        pixels = torch.from_numpy(buffer.reshape(BATCH, *views.shape)[: len(wrong)].copy()).to(place)
        with torch.inference_mode(), autocast(place, precision):
            scores = network.net(network.inputs.input(pixels)).float().softmax(dim=1).cpu()
        if not scores.isfinite().all():
            raise EvaluationError("the network's scores are not finite")
        best = scores.topk(min(top, len(network.classes)))
        for row, error in enumerate(wrong):
            pairs = zip(best.indices[row].tolist(), best.values[row].tolist(), strict=True)
            answers = () if error else tuple((network.classes[label], probability) for label, probability in pairs)
            yield Prediction(pictures[task + row], answers, error)


def picture_thumbnail(path: Path) -> bytes | None:
    """A small JPEG of a picture's file, or None where it cannot be used."""
    try:
        data = read_picture(path)
        return thumbnail(data, read_header(data))
    except PictureError:
        return None
