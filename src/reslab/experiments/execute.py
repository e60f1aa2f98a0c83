"""One experiment in one run directory: begun, stopped, resumed, finished; every stage starts from what is on disk."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from reslab.core.errors import CheckpointError, DataError, RunError, SpecError
from reslab.core.experiment import Experiment, Photographs
from reslab.core.files import refilled
from reslab.core.intervals import Count
from reslab.core.listening import unheard
from reslab.core.rundir import Record, RunDirectory
from reslab.data import chance
from reslab.data.official import copy_note
from reslab.data.pictures import Pictures, set_aside
from reslab.data.source import Reading, Source, find_data
from reslab.experiments.environment import CODE, choose_device, differences, environment
from reslab.experiments.examine import Examiner
from reslab.experiments.feed import Inputs
from reslab.experiments.fine_tune import fill, noted_start, require_fitting, tune
from reslab.experiments.job import Job, Outcome
from reslab.experiments.keep import INDICES, SCORE_FILES, Kept, fill_scores, keep_indices
from reslab.experiments.memory import within_memory
from reslab.experiments.names import architecture_of, describe
from reslab.experiments.networks import build
from reslab.experiments.notices import Notices
from reslab.experiments.notify import Notify
from reslab.experiments.session import advance, begin, feed_for
from reslab.experiments.weights import facts_of_weights, fingerprint
from reslab.models.architecture import Architecture
from reslab.training import checkpoint
from reslab.training.checkpoint import Checkpoint
from reslab.training.compiled import compiled
from reslab.training.interrupt import noted_signals
from reslab.training.loop import Watch
from reslab.training.precision import native_bf16
from reslab.training.state import facts_of, parts_of, restore
from reslab.training.step import Training
from reslab.transforms.mean_image import MeanImage


def execute(experiment: Experiment, job: Job, notify: Notify) -> Outcome:
    """Carry ``experiment`` out in ``job.out``.

    Raises:
        ReslabError: a mistake in the settings, the data or the directory; nothing is left behind by it.
        TrainingError: the loss is not finite.
        StorageError: something could not be written.
    """
    device = choose_device(job.device)
    source = source_for(experiment, job.data)
    _check_start(experiment, job)
    if (job.out / "spec.json").exists() and (result := RunDirectory.create(job.out, experiment).result()):
        if not job.resume:
            raise RunError(f"{job.out} holds this run, finished; take another --out, or --resume to see its result")
        return Outcome({**result, "directory": str(job.out)}, None, experiment.recipe.steps)
    execution = _Execution(experiment, job, notify, source, device)
    run = RunDirectory.create(job.out, experiment)
    with run.exclusive():
        return execution.carry_out(run)


def source_for(experiment: Experiment, data: str) -> Source:
    """What ``data`` says, as ``--data`` does.

    Raises:
        DataError: there are no pictures there.
        RunError: they are not those that ``experiment`` is on.
    """
    source = find_data(data)
    if source.name != experiment.data:
        raise RunError(f"the experiment needs {experiment.data}; --data {data} is {source.name}")
    return source


def _check_start(experiment: Experiment, job: Job) -> None:
    """That the weights to begin from are there, and are those that the experiment names."""
    weights, start = job.weights, experiment.start
    if weights is not None:
        require_fitting(weights, experiment)
    if weights is not None and (start is None or start.weights != weights.digest):
        raise RunError(f"the experiment does not begin from the weights in {weights.place}")
    lacking = weights is None or weights.tensors is None
    if start is not None and lacking and not checkpoint.steps(job.out / "checkpoints"):
        raise RunError(f"{job.out} has no checkpoint yet, and the weights that it begins from are not given")


class _Execution:
    """The pictures and the session of one run. Made before its directory: a mistake leaves nothing behind."""

    def __init__(self, experiment: Experiment, job: Job, notify: Notify, source: Source, device: torch.device) -> None:
        self.experiment, self.job, self.notify, self.source = experiment, job, notify, source
        reading = _reading(experiment, job, source, notify)
        self.train, self.val = source.read("train", reading), source.read("val", reading)
        self.copies = [
            note for part in (self.train, self.val) if isinstance(part, Pictures) and (note := copy_note(part))
        ]
        aside: Pictures | None = None
        if isinstance(self.train, Pictures) and experiment.recipe.validation:
            self.train, aside = set_aside(self.train, experiment.recipe.validation)
        self.notices = Notices(notify)
        self.notices.note_passed_over(self.train, self.val)
        feed = feed_for(self.train, device, job.workers, notify, self.notices)
        net = build(experiment.model, len(self.train.classes), weights_generator(experiment.seed))
        net.checkpoint_activations(on=job.activation_checkpointing)
        if job.weights is not None and job.weights.tensors is not None:
            fill(net, job.weights)
        tuning = None if experiment.start is None else tune(net, experiment.start)
        self.session = begin(net, self.train, experiment.recipe, feed, tuning, _mean_image(experiment, job))
        self.engine = self.session.engine(job.engine)
        if job.compiled:
            self.session.training.forward = compiled(net)
        self.examiner = Examiner(self.session, self.val, aside)

    def carry_out(self, run: RunDirectory) -> Outcome:
        checkpoint.remove_orphans(run.checkpoints)
        found = checkpoint.newest(run.checkpoints, self.notify.warned)
        keep_indices(run, self.train, self.val, anew=found is None)
        if found and not self.job.resume:
            at = f"step {found.facts['step']} of {self.experiment.recipe.steps}"
            raise RunError(f"{run.path} holds this run, at {at}; --resume goes on from there")
        changed: list[str] = []
        if found:
            try:
                changed = self._go_on(found)
            except KeyError as error:
                raise CheckpointError(f"{found.path / 'state.json'} does not say {error}") from None
        for note in self.copies:
            self.notify.warned(note)
        self._note_environment(run, changed)
        training = self.session.training
        run.rewind_metrics(training.step)
        if self.session.precision == "bf16" and not native_bf16(self.session.feed.device):
            self.notify.warned("this processor does not compute in bf16 natively: --precision fp32 is faster here")
        self.notify.begun(describe(self.experiment.model), training.step, self.experiment.recipe.steps)
        try:
            with noted_signals() as stop:
                watch = self._watch(run, stop)
                with within_memory(self.session, describe(self.experiment.model)):
                    stopped = advance(self.session, self.train, self.experiment.seed, watch, self.engine)
                result = None if stopped is not None else self._finish(run)
                came = stop()
        finally:
            self.notify.ended()
        return Outcome(result and {**result, "directory": str(run.path)}, came, training.step)

    def _watch(self, run: RunDirectory, stop: Callable[[], int | None]) -> Watch:
        def record(line: Record) -> None:
            whole = line | self.examiner.aside()
            run.append_metrics(whole)
            self.notify.recorded(whole)

        return Watch(
            record=record,
            test=partial(self._test, run),
            save=partial(self._save, run),
            save_every=self.job.checkpoint_every,
            stop=stop,
            stepped=self.notify.stepped,
        )

    def _save(self, run: RunDirectory, training: Training) -> None:
        parts = {**parts_of(training), checkpoint.FORM: self.session.inputs.tensors()}
        if self.notices.replaced:
            run.write("replaced_pictures.json", dict(sorted(self.notices.replaced.items())))
        said = fingerprint(*self._identity())
        checkpoint.save(run.checkpoints, training.step, parts, self._facts(run), self.job.keep, said)

    def _test(self, run: RunDirectory) -> Count:
        try:
            return self.examiner.count()
        except DataError:
            self._save(run, self.session.training)  # a bad picture among the tested costs no training
            raise

    def _go_on(self, found: Checkpoint) -> list[str]:
        known, here = found.facts["data"], self._data()
        if any(known[part] != here[part] for part in ("train", "val")):
            raise RunError(f"{self.job.data} holds other pictures than those that {self.job.out} was begun with")
        if self.experiment.recipe.precision == "auto":
            self.session.precision = found.facts["environment"]["precision"]
        changed = differences(found.facts["environment"], self._environment())
        if changed and self.job.strict:
            raise RunError(f"--strict: results may differ in their last bits, because {'; '.join(changed)}")
        if changed:
            self.notify.warned(f"results may differ in their last bits from an unbroken run: {'; '.join(changed)}")
        restore(self.session.training, found)
        self.notices.replaced.update(found.facts.get("replaced", {}))
        self.notices.samples_replaced = found.facts.get("samples_replaced", 0)
        return changed

    def _identity(self) -> tuple[Architecture, Inputs, tuple[str, ...]]:
        classes = self.train.classes
        return architecture_of(self.experiment.model, len(classes)), self.session.inputs, classes

    def _data(self) -> Record:
        return {"name": self.train.name, "train": self.train.digest, "val": self.val.digest}

    def _environment(self) -> Record:
        engine = f"{self.engine}, compiled" if self.job.compiled else self.engine
        return {**environment(self.session.feed.device, self.session.precision), "engine": engine}

    def _note_environment(self, run: RunDirectory, changed: list[str]) -> None:
        noted = _noted(run)
        here = self._environment()
        if noted is None or not self.session.training.step:
            noted = {**here, "data": {**self._data(), "place": self.source.place}, "resumed": []}
            if self.job.weights is not None:
                noted["weights"] = noted_start(self.job.weights, self.experiment, self.notify.warned)
        if self.copies:
            noted["data"]["warnings"] = self.copies
        if self.session.training.step:
            code = {key: here[key] for key in CODE}
            noted["resumed"].append({"step": self.session.training.step, **code, "changed": changed})
        run.write("environment.json", noted)

    def _facts(self, run: RunDirectory) -> Record:
        training = self.session.training
        return {
            **facts_of(training),
            "samples": training.step * self.experiment.recipe.batch,
            "spec": run.experiment.digest(),
            **facts_of_weights(*self._identity()),
            "data": self._data(),
            "replaced": self.notices.replaced,
            "samples_replaced": self.notices.samples_replaced,
            "environment": self._environment(),
        }

    def _finish(self, run: RunDirectory) -> Record:
        (test, _), training = self.examiner(), self.session.training
        kept = Kept(
            precision="fp32",
            classes=self.train.classes,
            network=describe(self.experiment.model),
            weights=checkpoint.digest_of(run.checkpoints, training.step),
            step=training.step,
            preprocessing=self.session.inputs.contract(),
        )
        with refilled(run.scores / f"{test.protocol.name}-val", SCORE_FILES) as partial:
            fill_scores(test, partial, self.val, kept)
        result = self.examiner.result(self.experiment)
        if self.experiment.recipe.photographs:
            result["replaced"] = self.notices.samples_replaced
        run.write("result.json", result)
        return result


def weights_generator(seed: int) -> torch.Generator:
    """The source of a run's initial weights: a stream of its own, decided by ``seed``."""
    word = chance.words(seed, chance.INITIAL_WEIGHTS, 0, np.zeros(1, np.int64))[0]
    return torch.Generator().manual_seed(int(word >> np.uint64(1)))


def _reading(experiment: Experiment, job: Job, source: Source, notify: Notify) -> Reading:
    """A folder that was searched for this run is not searched again, once there is something to go on from."""
    settings = experiment.recipe.photographs or Photographs()
    before = _noted(RunDirectory.open(job.out)) if (job.out / "spec.json").exists() else None
    begun = bool(checkpoint.steps(job.out / "checkpoints"))
    same = begun and before is not None and before["data"].get("place") == source.place
    return Reading(settings.held_out, job.out / INDICES if same else None, notify.found)


def _mean_image(experiment: Experiment, job: Job) -> MeanImage | None:
    """What the experiment subtracts from crops, where that is an image: the job's, the weights' or the checkpoint's."""
    photographs = experiment.recipe.photographs
    if photographs is None or photographs.contract.mean_image is None:
        return None
    brought = job.mean_image or (None if job.weights is None else job.weights.mean_image)
    if brought is None and job.resume and (found := checkpoint.newest(job.out / "checkpoints", unheard)):
        kept = found.parts.get(checkpoint.FORM, {})
        brought = MeanImage(kept["mean"]) if "mean" in kept else None
    if brought is None:
        raise SpecError("the experiment subtracts a mean image: give it with --mean-image")
    return brought


def _noted(run: RunDirectory) -> Record | None:
    """What the run's environment was, where it has begun."""
    noted = run.environment()
    if noted is not None and not (isinstance(noted.get("data"), dict) and isinstance(noted.get("resumed"), list)):
        raise RunError(f"{run.path / 'environment.json'} is damaged: it does not say what the run is of")
    return noted
