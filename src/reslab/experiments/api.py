"""The same from Python: `fit` and `evaluate` on any network, without a run directory."""

import warnings
from dataclasses import dataclass

from torch import nn

from reslab.core.experiment import Recipe
from reslab.core.intervals import Count
from reslab.data.source import Dataset
from reslab.evaluation.result import Evaluation, summarise
from reslab.experiments.averaging import recompute
from reslab.experiments.environment import choose_device
from reslab.experiments.notify import Notify
from reslab.experiments.session import Session, advance, begin, feed_for
from reslab.training.loop import Watch
from reslab.training.precision import Resolved


@dataclass(frozen=True)
class Fitted:
    """A trained network: ``net``, and ``train_error`` over its last 50 batches."""

    session: Session
    classes: tuple[str, ...]

    @property
    def net(self) -> nn.Module:
        """The network, on its device, channels-last."""
        return self.session.net

    @property
    def train_error(self) -> Count:
        """Errors over the last 50 training batches."""
        return self.session.train_error()


class _Warnings(Notify):
    """Warns as Python does."""

    def warned(self, text: str) -> None:
        """Raise a ``UserWarning``."""
        warnings.warn(text, stacklevel=2)


def fit(
    net: nn.Module,
    pictures: Dataset,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    engine: str = "auto",
    watch: Watch | None = None,
) -> Fitted:
    """Train ``net`` in place, as section 4.2 does for small pictures and section 3.4 for photographs.

    Args:
        net: takes float32 (B, 3, H, W), returns logits (B, classes); its weights are taken as they are.
        pictures: the training set.
        recipe: steps, batch, rates, augmentation; ``init`` has no effect; None: the paper's 64,000 steps.
        seed: decides the order of pictures, crops and mirror images.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes that read ahead; None: one a core for photographs, none for small pictures.
        engine: how updates are made: ``auto``, ``eager``, or ``graph``, recorded once and replayed, for small pictures
            on a CUDA device; ``auto`` records reslab's own networks there.
        watch: what to record, test or save on the way; where the recipe recomputes batch statistics after the last
            step, that state is saved too.

    Raises:
        SpecError: no such device or engine.
        DataError: fewer pictures than one batch.
        TrainingError: the loss is not finite; the message names step, rate and samples.
    """
    feed = feed_for(pictures, choose_device(device), workers, _Warnings())
    session = begin(net, pictures, recipe or Recipe(), feed)
    told = watch or Watch()
    stopped = advance(session, pictures, seed, told, session.engine(engine))
    if stopped is None and session.recipe.bn_average and recompute(session, pictures, seed, told.stop) is None:
        told.save(session.training)
    return Fitted(session, pictures.classes)


def evaluate(
    fitted: Fitted, pictures: Dataset, *, protocol: str | None = None, precision: Resolved = "fp32"
) -> Evaluation:
    """Test on every picture, each counted exactly once.

    Args:
        fitted: what `fit` returned.
        pictures: those to test on.
        protocol: ``single``, ``center``, ``flip``, ``ten-crop``, ``multi-scale``, ``multi-scale-mirror`` or the path of
            a TOML file; None: the usual one view.
        precision: of the forward pass.

    Raises:
        SpecError: there is no such protocol, or the network cannot be tested by it.
        DataError: the pictures have another shape than those trained on.
        EvaluationError: a picture was not counted exactly once.
    """
    test = fitted.session.test(pictures, precision, protocol)
    assert test is not None
    return summarise(test.scores, pictures.classes, precision, test.protocol)
