"""A network, pictures and a recipe brought together: what `fit`, `evaluate` and a run directory's execution share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Recipe
from reslab.core.intervals import Count
from reslab.data.loader import ordered_batches, training_batches
from reslab.data.pictures import Pictures
from reslab.evaluation.scores import Scores, View, score
from reslab.training.loop import Batch, Training, Watch
from reslab.training.loop import fit as run_loop
from reslab.training.optimizer import make_optimizer
from reslab.training.precision import Resolved, autocast, resolve_precision
from reslab.training.window import Window
from reslab.transforms.cifar import CifarForm, per_pixel_mean

THINNEST = 8  # channels
TEST_BATCH = 500  # pictures; any number gives the same counts


@dataclass
class Session:
    """A network in training on one device, with the form in which it sees pictures."""

    training: Training
    form: CifarForm
    recipe: Recipe
    device: torch.device
    precision: Resolved

    @property
    def net(self) -> nn.Module:
        """The network."""
        return self.training.net

    def train_error(self) -> Count:
        """Errors over the last 50 training batches, as the curves show them."""
        return self.training.window.read(self.training.step, self.recipe.batch).count

    def test(self, pictures: Pictures, precision: Resolved = "fp32") -> Scores:
        """Scores of the single view of every picture."""
        return single_view(self.net, self.form, pictures, self.device, precision)


def begin(net: nn.Module, pictures: Pictures, recipe: Recipe, device: torch.device) -> Session:
    """Move ``net`` to ``device``, channels-last, and make ready to train it on ``pictures``.

    Raises:
        DataError: the pictures are too few for one batch.
        SpecError: the network would crash this device's backend.
    """
    _refuse_what_crashes(net, device)
    if len(pictures) < recipe.batch:
        raise DataError(f"{pictures.name} has {len(pictures)} pictures, fewer than one batch of {recipe.batch}")
    net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    form = CifarForm(per_pixel_mean(pictures.pixels), recipe.augment.pad).to(device)
    training = Training(net, make_optimizer(net, recipe.optim), Window(device))
    return Session(training, form, recipe, device, resolve_precision(recipe.precision, device))


def advance(session: Session, pictures: Pictures, seed: int, workers: int, watch: Watch) -> int | None:
    """Train to the recipe's end or to a signal, which is returned."""
    batches = _inputs(session, pictures, seed, workers)
    return run_loop(session.training, batches, session.recipe, session.precision, watch)


def single_view(
    net: nn.Module, form: CifarForm, pictures: Pictures, device: torch.device, precision: Resolved
) -> Scores:
    """Scores of the single view of every picture.

    Raises:
        DataError: the pictures are not of the shape that the network was trained on.
    """
    shape, known = tuple(pictures.pixels.shape[1:]), tuple(form.mean.shape)
    if shape != known:
        raise DataError(f"{pictures.name} has pictures of {_size(shape)}; the network was trained on {_size(known)}")
    return score(net, _views(form, pictures, device), len(pictures), autocast(device, precision))


def _inputs(session: Session, pictures: Pictures, seed: int, workers: int) -> Iterator[Batch]:
    recipe, device = session.recipe, session.device
    stream = training_batches(
        pictures,
        batch=recipe.batch,
        steps=recipe.steps,
        seed=seed,
        augment=recipe.augment,
        consumed=session.training.step * recipe.batch,
        workers=workers,
    )
    for batch in stream:
        pixels, labels, indices, corners, mirrored = (part.to(device, non_blocking=True) for part in batch)
        yield Batch(session.form.train(pixels, corners, mirrored), labels, indices)


def _views(form: CifarForm, pictures: Pictures, device: torch.device) -> Iterator[View]:
    for batch in ordered_batches(pictures, TEST_BATCH):
        yield View(form.test(batch.pixels.to(device)), batch.labels, batch.indices)


def _refuse_what_crashes(net: nn.Module, device: torch.device) -> None:
    """Measured with torch 2.13 on AVX2: backward through such convolutions, channels-last, corrupts the heap."""
    thin = any(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.in_channels < THINNEST for m in net.modules())
    if thin and device.type == "cpu":
        raise SpecError(
            f"1x1 convolutions of fewer than {THINNEST} channels crash torch on a CPU;"
            f" take --width {THINNEST} or more, or shortcut A"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]} pixels in {shape[0]} channel{'s' if shape[0] > 1 else ''}"
