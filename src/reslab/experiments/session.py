"""A network, pictures and a recipe brought together: what `fit`, `evaluate` and a run directory's execution share."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic

import torch
from torch import Tensor, nn

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Augmentation, Recipe
from reslab.core.intervals import Count
from reslab.core.listening import unheard
from reslab.core.protocol import find_protocol
from reslab.core.units import counted
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.pool import check_workers
from reslab.data.source import Dataset
from reslab.evaluation.views import in_memory
from reslab.experiments.feed import Feed, Inputs
from reslab.experiments.fine_tune import Tuning
from reslab.experiments.inputs import inputs_for
from reslab.experiments.notices import Notices
from reslab.experiments.notify import Notify
from reslab.experiments.resident import Engine, choose_engine
from reslab.experiments.scoring import Subject, Tested, score_views, scored
from reslab.experiments.small_inputs import SmallInputs
from reslab.experiments.world import ALONE, World
from reslab.models.network import ResNet, require_size
from reslab.models.sizes import size_of
from reslab.training.average import learning
from reslab.training.graph import Parts, Update, recorded
from reslab.training.loop import B, Watch
from reslab.training.loop import fit as run_loop
from reslab.training.optimizer import make_optimizer
from reslab.training.precision import Resolved, resolve_precision
from reslab.training.step import Training, train_step
from reslab.training.together import Together
from reslab.training.window import Window
from reslab.transforms.mean_image import MeanImage

THINNEST: Final = 8  # channels
THINNEST_STRIDED: Final = 16  # channels, of maps of more than LARGEST_THIN pixels a side
LARGEST_THIN: Final = 48
MOST_WORKERS: Final = 16  # ours: more cores than that are rarely all for one training; --workers says otherwise


@dataclass
class Session:
    """A network in training on one device, with the form in which it takes pictures."""

    training: Training
    inputs: Inputs
    recipe: Recipe
    feed: Feed
    precision: Resolved
    world: World = ALONE
    tested: Callable[[int, int], None] = unheard  # told how many pictures or views of how many have passed

    @property
    def net(self) -> nn.Module:
        """The network."""
        return self.training.net

    def train_error(self) -> Count:
        """Errors over the last 50 training batches, as the curves show them."""
        return self.training.window.read(self.training.step, self.recipe.batch).count

    def engine(self, asked: str, world: World = ALONE) -> Engine:
        """How updates are made in ``world`` where ``asked`` is what ``--engine`` says; see `choose_engine`.

        Of networks that are not reslab's nobody knows whether they can be recorded: ``auto`` does not try.
        """
        foreign = asked == "auto" and not isinstance(self.net, ResNet)
        return choose_engine(
            "eager" if foreign else asked, self.feed.device, resident=self.resident, alone=world.size == 1
        )

    @property
    def resident(self) -> bool:
        """Whether the pictures lie on the device and become batches there."""
        return isinstance(self.inputs, SmallInputs) and not self.feed.workers

    def join(self, world: World) -> None:
        """From here on train and test together with the other processes of ``world``, all in the same state.

        Raises:
            SpecError: a batch cannot be shared by so many.
        """
        if world.size > 1:
            together = Together(self.net, self.recipe.batch, self.recipe.bn_group)
            self.training.together, self.training.forward = together, together.forward
            self.world, self.feed = world, replace(self.feed, part=together.part.pictures)

    @property
    def passes(self) -> int:
        """Pictures of one pass through the network in training."""
        part = self.training.together.part
        return self.recipe.bn_group if part is None else part.passes

    def test(self, pictures: Dataset, precision: Resolved = "fp32", asked: str | None = None) -> Tested | None:
        """Scores of every picture by the protocol that was ``asked`` for, the usual one by default.

        Of several processes each tests its share; all but the first get None.
        """
        protocol, count = find_protocol(asked, self.inputs.native), len(pictures)
        subject, share = Subject(self.net, self.inputs), self.world.share(count)
        own = score_views(subject, pictures, protocol, self.feed, precision, share, heard=self.tested)
        views = self.world.collected(own, count, in_memory)
        return None if views is None else scored(views, pictures, protocol)


def begin(
    net: nn.Module,
    pictures: Dataset,
    recipe: Recipe,
    feed: Feed,
    tuning: Tuning | None = None,
    image: MeanImage | None = None,
) -> Session:
    """Move ``net`` to its device, channels-last, and make ready to train it on ``pictures``.

    Raises:
        DataError: the pictures are too few for one batch, or all of one class; or ``image`` is not the mean image that
            the recipe says.
        SpecError: the network would crash this device's backend, or a setting has no effect on these pictures.
    """
    _refuse_what_crashes(net, feed.device)
    _refuse_what_has_no_effect(pictures, recipe)
    if len(pictures) < recipe.batch:
        found = counted(len(pictures), "picture")
        raise DataError(f"{pictures.name} has {found}, fewer than one batch of {recipe.batch}")
    if len(pictures.classes) < 2:
        raise DataError(f"{pictures.name} has one class, {pictures.classes[0]!r}; there is nothing to tell apart")
    net.to(feed.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    inputs = inputs_for(pictures, recipe, image)
    if isinstance(net, ResNet):
        _refuse_what_is_too_small(net, inputs, recipe.bn_group)
        _refuse_what_crashes_when_large(net, inputs, feed.device)
    chosen = tuning or Tuning()
    if recipe.bn_average and not learning(net.train()):
        raise SpecError("bn_average has no effect: this network has no batch normalisation that learns")
    optimizer = make_optimizer(net, recipe.optim, chosen.head, chosen.body_rate)
    training = Training(net, optimizer, Window(feed.device))
    return Session(training, inputs, recipe, feed, resolve_precision(recipe.precision, feed.device))


@dataclass(frozen=True)
class Course(Generic[B]):
    """How a session's updates are made.

    Args:
        begin: the batches of a seed after so many consumed samples, or what they are made from.
        update: makes one update from one of them.
    """

    begin: Callable[[int, int], Iterator[B]]
    update: Callable[[B], tuple[Tensor, Tensor]]


def course(session: Session, pictures: Dataset, engine: Engine) -> Course[Any]:
    """The course of ``session`` on ``pictures``: of batches, or of draws that a recorded update makes into batches."""
    training, recipe, inputs, feed = session.training, session.recipe, session.inputs, session.feed
    update = partial(
        train_step,
        training,
        group=session.passes,
        precision=session.precision,
        smoothing=recipe.label_smoothing,
    )
    if engine == "eager":
        return Course(lambda seed, consumed: inputs.training(pictures, recipe, seed, consumed, feed), update)
    if not session.resident:
        return Course(
            lambda seed, consumed: inputs.training(pictures, recipe, seed, consumed, feed), _Recording(training, update)
        )
    assert isinstance(inputs, SmallInputs)
    resident = inputs.resident(pictures, feed.device)
    return Course(partial(resident.draws, recipe), _Recording(training, lambda draws: update(resident(draws))))


def advance(session: Session, pictures: Dataset, seed: int, watch: Watch, engine: Engine) -> int | None:
    """Train to the recipe's end or to a signal, which is returned.

    Raises:
        TrainingError: the loss is not finite.
    """
    training, recipe = session.training, session.recipe
    ahead = course(session, pictures, engine)
    return run_loop(training, ahead.begin(seed, training.step * recipe.batch), recipe, ahead.update, watch)


class _Recording(Generic[Parts]):
    """An update that is recorded with the first batch of each shape, when the network is in training mode."""

    def __init__(self, training: Training, update: Update[Parts]) -> None:
        self.training, self.update = training, update
        self.replays: dict[tuple[torch.Size, ...], Update[Parts]] = {}

    def __call__(self, parts: Parts) -> tuple[Tensor, Tensor]:
        shape = tuple(part.shape for part in parts)
        if shape not in self.replays:
            self.replays[shape] = recorded(self.training, self.update, parts)
        return self.replays[shape](parts)


def _refuse_what_is_too_small(net: ResNet, inputs: Inputs, group: int) -> None:
    smallest = inputs.sides[0]
    for side in (inputs.side, smallest):
        require_size(torch.empty(side, side, device="meta"), net.smallest_input)
    if group == 1 and size_of(net, smallest).stages[-2].output == (1, 1):
        raise SpecError(
            f"batch statistics of one picture, whose map of {smallest}x{smallest} pixels ends as 1x1, are none:"
            " take a larger bn_group or crop"
        )


def _refuse_what_has_no_effect(pictures: Dataset, recipe: Recipe) -> None:
    if isinstance(pictures, Pictures) and recipe.photographs is not None:
        raise SpecError(f"recipe.photographs is for photographs, and {pictures.name} has small pictures")
    if isinstance(pictures, PhotoFolder) and recipe.augment != Augmentation():
        raise SpecError(f"recipe.augment is for small pictures, and {pictures.name} has photographs")


def workers_for(pictures: Dataset, asked: int | None, neighbours: int = 1) -> int:
    """Worker processes where none were asked for: one a core for photographs, at most 16; none for small pictures.

    The cores are shared by ``neighbours``, processes of one command on this machine.
    """
    if asked is not None:
        return asked
    return max(1, cores() // neighbours) if isinstance(pictures, PhotoFolder) else 0


def feed_for(
    pictures: Dataset,
    device: torch.device,
    workers: int | None,
    notify: Notify,
    notices: Notices | None = None,
    neighbours: int = 1,
) -> Feed:
    """How batches of ``pictures`` reach ``device``, and who hears what befalls them.

    Raises:
        SpecError: a negative number of workers.
    """
    check_workers(workers)
    told = notices or Notices(notify)
    return Feed(
        device, workers_for(pictures, workers, neighbours), notify.warned, told.note_replaced, told.note_enlarged
    )


def cores() -> int:
    """Processes that decode where nothing is said: one a core that this process may use, within reason."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


def _refuse_what_crashes(net: nn.Module, device: torch.device) -> None:
    """Measured with torch 2.13 on AVX2: backward through such convolutions, channels-last, corrupts the heap."""
    thin = any(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.in_channels < THINNEST for m in net.modules())
    if thin and device.type == "cpu":
        raise SpecError(
            f"1x1 convolutions of fewer than {THINNEST} channels crash torch on a CPU;"
            f" take --width {THINNEST} or more, or shortcut A"
        )


def _refuse_what_crashes_when_large(net: ResNet, inputs: Inputs, device: torch.device) -> None:
    """Measured with torch 2.13 on AVX-512: backward through 1x1 convolutions of stride 2 and 8 to 15 channels, too.

    Maps of 56 to 112 pixels a side crashed, of 54 and fewer never.
    """
    strided = (m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride == (2, 2))
    thin = any(m.in_channels < THINNEST_STRIDED for m in strided)
    largest = max(inputs.sides)
    if thin and device.type == "cpu" and max(size_of(net, largest).stages[1].output) > LARGEST_THIN:
        raise SpecError(
            f"1x1 convolutions of stride 2 and fewer than {THINNEST_STRIDED} channels crash torch on a CPU with crops"
            f" of {largest}; take --width {THINNEST_STRIDED} or more, shortcut A, or smaller crops"
        )
