"""A finished run as a report reads it: files only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from reslab.core.errors import RunError
from reslab.core.experiment import LOOKS, Experiment, Recipe
from reslab.core.files import canonical_json
from reslab.core.intervals import Count
from reslab.core.paper import cifar10_test_error
from reslab.core.rundir import Record, RunDirectory
from reslab.core.spec import flat
from reslab.core.units import counted
from reslab.experiments.catalog import as_published
from reslab.experiments.names import Name, architecture_of, describe, parse_name, spec_of
from reslab.report.apart import told_apart
from reslab.report.labels import shown
from reslab.report.responses import Responses, read_responses
from reslab.report.sound import require_sound

DATA_TITLES = {"embedded": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
UNNAMED = "photographs"


@dataclass(frozen=True)
class FinishedRun:
    """What a run was (``experiment``), what came out (``result``) and how it went (``metrics``).

    A default of its network is None in ``experiment``, spelled out in its command or not.

    Of several: what tells it apart from runs of its setting that have its title (``title_apart``), and its setting from
    others that read the same (``setting_apart``); see `reslab.report.apart`.
    """

    directory: str
    experiment: Experiment
    result: Record
    metrics: list[Record]
    environment: Record
    measured: Responses | None = None
    title_apart: str = ""
    setting_apart: str = ""

    @cached_property
    def name(self) -> Name:
        """Family, depth, plain or residual."""
        return parse_name(self.experiment.model.name)

    @property
    def residual(self) -> bool:
        """Whether the network has shortcuts."""
        return self.name.shortcut(self.experiment.model.shortcut) != "none"

    @property
    def title(self) -> str:
        """The network's name as people write it: ``plain-20``, ``ResNet-56``."""
        return f"{'ResNet' if self.residual else 'plain'}-{self.name.depth}"

    @property
    def called(self) -> str:
        """Its title with what tells it apart; equal for runs that differ in the seed alone."""
        return f"{self.title} ({self.title_apart})" if self.title_apart else self.title

    @property
    def test(self) -> Count:
        """Errors on the test pictures."""
        return Count(self.result["n"] - self.result["hits"], self.result["n"])

    @property
    def averaged(self) -> Record | None:
        """What the result says of batch statistics that were recomputed after the last step; None: they were not."""
        found: Record | None = self.result.get("bn_average")
        return found

    @property
    def divisions(self) -> tuple[int, ...]:
        """The steps before which the rate was divided, on schedule or on plateaus."""
        return (*self.experiment.recipe.drop_steps(), *self.result.get("rate_divided_at", ()))

    @property
    def train(self) -> Count:
        """Errors over the last 50 training batches."""
        return train_count(self.metrics[-1])

    @property
    def responses(self) -> tuple[float, ...] | None:
        """The standard deviation of every 3x3 layer's output, in order; None where they were not measured."""
        return None if self.measured is None else self.measured.stds

    @property
    def basic_cifar(self) -> bool:
        """Whether the network is of section 4.2's form: pairs of 3x3 layers on small pictures."""
        return self.name.family == "cifar" and not self.name.bottleneck

    @property
    def paper_test_error(self) -> float | None:
        """Table 6's number, where this is its network on its data set; in percent."""
        usual = describe(self.experiment.model) == self.experiment.model.name
        known = self.experiment.data == "cifar10" and usual
        return cifar10_test_error(self.experiment.model.name) if known else None

    @property
    def data_title(self) -> str:
        """The data set's name as people write it; a folder of photographs has its own."""
        own = shown(str(self.data_noted.get("name", UNNAMED)))
        return own if self.experiment.data == "folder" else DATA_TITLES[self.experiment.data]

    @property
    def data_noted(self) -> Record:
        """What the environment says of the pictures: ``name`` and the digests ``train`` and ``val``."""
        noted = self.environment.get("data")
        return noted if isinstance(noted, dict) else {}

    @property
    def pictures(self) -> tuple[str, ...]:
        """Which ones, where the experiment does not say it: name and digests of a folder's."""
        folder = self.experiment.data == "folder"
        return tuple(str(self.data_noted.get(part)) for part in ("name", "train", "val")) if folder else ()

    @property
    def setting(self) -> str:
        """Everything but network, its warm-up and seed, in a few words; equal for comparable runs alone."""
        recipe, width = self.experiment.recipe, self.experiment.model.width
        narrow = f", first stage {counted(width, 'filter')} wide" if width else ""
        tuned = ", from trained weights" if self.experiment.start else ""
        aside = f", {counted(recipe.validation, 'training picture')} set aside" if recipe.validation else ""
        again = ", batch statistics recomputed" if recipe.bn_average else ""
        apart = f", {self.setting_apart}" if self.setting_apart else ""
        steps = f"{counted(recipe.steps, 'step')} of {recipe.batch}"
        return f"{self.data_title}, {steps}{narrow}{tuned}{aside}{again}{apart}"

    @cached_property
    def comparable(self) -> str:
        """Equal for runs that differ in network depth, shortcuts, warm-up and seed alone.

        Section 4.2 warms up ResNet-110 and ResNet-1202 alone, and compares them with the others.
        """
        return "-".join([self._neutral.digest(), *self.pictures])

    @property
    def settings(self) -> Record:
        """All that decides its numbers but the seed, by dotted key."""
        shortcut = self.name.shortcut(self.experiment.model.shortcut)
        return self._flat(self.experiment.but({"model": {"shortcut": shortcut}, "seed": 0}))

    @cached_property
    def rank(self) -> tuple[bool, bool, str]:
        """What of runs of one network and seed comes first: as published, with its own shortcut, then by settings."""
        another = self.experiment.model.shortcut is not None
        return not as_published(self.experiment), another, canonical_json(self.settings)

    @property
    def comparable_settings(self) -> Record:
        """Those that comparable runs share."""
        return self._flat(self._neutral)

    @property
    def _neutral(self) -> Experiment:
        """The same for all comparable runs."""
        small_bottlenecks = self.name.family == "cifar" and self.name.bottleneck
        name = "cifar-bottleneck29" if small_bottlenecks else "cifar-plain20"
        return self.experiment.but(
            {
                "model": {"name": name, "shortcut": None},
                "recipe": {"schedule": {"warm_up": None}},
                "seed": 0,
            }
        )

    def _flat(self, experiment: Experiment) -> Record:
        pictures = dict(zip(("name", "training pictures", "test pictures"), self.pictures, strict=False))
        return {**flat(experiment.model_dump(mode="json")), **pictures}


def train_count(line: Record) -> Count:
    """The training errors that a line of metrics speaks of."""
    return Count(round(line["train_error"] * line["train_n"] / 100), line["train_n"])


def tested_count(line: Record) -> Count:
    """The test errors that a line of metrics speaks of; it must have some."""
    return Count(round(line["test_error"] * line["test_n"] / 100), line["test_n"])


def finished(runs: Sequence[RunDirectory]) -> list[FinishedRun]:
    """Read runs, each once, `in_order`.

    Raises:
        RunError, SpecError: as `read_finished` and `in_order` do.
    """
    return in_order([read_finished(run) for run in {run.path.resolve(): run for run in runs}.values()])


def in_order(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Plain before residual, shallow before deep, then by seed and rank; those of one name are told apart.

    Raises:
        RunError: two are of the same experiment and pictures: such runs are no two seeds.
    """
    _refuse_copies(runs)
    ordered = sorted(runs, key=lambda r: (r.comparable, r.residual, r.name.depth, r.experiment.seed, r.rank))
    titles = told_apart([f"{run.comparable} {run.title}" for run in ordered], [run.settings for run in ordered])
    settings = told_apart([run.setting for run in ordered], [run.comparable_settings for run in ordered])
    return [
        replace(run, title_apart=title, setting_apart=setting)
        for run, title, setting in zip(ordered, titles, settings, strict=True)
    ]


def _refuse_copies(runs: Sequence[FinishedRun]) -> None:
    met: dict[tuple[str, tuple[str, ...]], FinishedRun] = {}
    for run in runs:
        other = met.setdefault((run.experiment.but({"recipe": dict.fromkeys(LOOKS, 1)}).digest(), run.pictures), run)
        if other is not run:
            raise RunError(f"{other.directory} and {run.directory} are one experiment, of one seed: take one of them")


def _so_far(recipe: Recipe, metrics: Sequence[Record]) -> str:
    done = metrics[-1]["step"] if metrics else 0
    if done == recipe.steps and recipe.bn_average:
        return "its batch statistics are still to be averaged, which train --resume does"
    return f"step {done} of {recipe.steps}"


def read_finished(run: RunDirectory) -> FinishedRun:
    """Read a run.

    Raises:
        RunError: it is not finished, or a file of it is damaged.
        SpecError: there is no such network.
    """
    result, metrics = run.result(), run.metrics()
    if result is None or not metrics:
        raise RunError(f"{run.path} is not finished: {_so_far(run.experiment.recipe, metrics)}")
    require_sound(run, result, metrics)
    model = spec_of(architecture_of(run.experiment.model)).model_dump(mode="json")
    read = FinishedRun(str(run.path), run.experiment.but({"model": model}), result, metrics, run.environment() or {})
    layers = read.name.depth - 1 if read.basic_cifar else None  # all weighted layers but the classifier
    return replace(read, measured=read_responses(run.path, layers, run.experiment.recipe.steps))
