"""One experiment in one run directory: begun, stopped, resumed, finished; every stage starts from what is on disk."""

import contextlib
from collections.abc import Callable
from functools import partial

import torch

from reslab.core.errors import CheckpointError, DataError, RunError, SpecError
from reslab.core.experiment import Experiment
from reslab.core.files import refilled
from reslab.core.intervals import Count
from reslab.core.listening import heard_by, unheard
from reslab.core.rundir import Record, RunDirectory
from reslab.data.official import copy_note
from reslab.data.pictures import Pictures, set_aside
from reslab.data.source import Source
from reslab.experiments.averaging import Averaging
from reslab.experiments.company import Other, agreed_stop, losses_told, watched
from reslab.experiments.environment import CODE, choose_device, differences, environment
from reslab.experiments.examine import Examiner
from reslab.experiments.feed import Inputs
from reslab.experiments.fine_tune import fill, noted_start, tune
from reslab.experiments.job import Job, Outcome
from reslab.experiments.keep import SCORE_FILES, Kept, fill_scores, keep_indices
from reslab.experiments.memory import within_memory
from reslab.experiments.names import architecture_of, describe
from reslab.experiments.networks import build, weights_generator
from reslab.experiments.notices import Notices
from reslab.experiments.notify import Notify
from reslab.experiments.place import check_place, require_unbegun
from reslab.experiments.ready import cautions, check_start, mean_image_for, noted_before, reading_for, source_for
from reslab.experiments.session import advance, begin, feed_for
from reslab.experiments.weights import facts_of_weights, fingerprint
from reslab.experiments.world import ALONE, World
from reslab.models.architecture import Architecture
from reslab.training import checkpoint
from reslab.training.checkpoint import Checkpoint
from reslab.training.compiled import compiled
from reslab.training.interrupt import noted_signals
from reslab.training.loop import Watch
from reslab.training.precision import native_bf16
from reslab.training.split import split
from reslab.training.state import facts_of, parts_of, restore
from reslab.training.step import Training


def execute(experiment: Experiment, job: Job, notify: Notify, world: World = ALONE) -> Outcome:
    """Carry ``experiment`` out in ``job.out``, together with the other processes of ``world``.

    Raises:
        ReslabError: a mistake in the settings, the data or the directory; nothing is left behind by it.
        TrainingError: the loss is not finite.
        StorageError: something could not be written, or storage of pictures does not answer or has gone.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(heard_by(notify.warned))
        execution = world.agreed(lambda: _prepared(experiment, job, notify, world))
        if isinstance(execution, Outcome):
            return execution
        world.agreed(lambda: held.enter_context(_taken(experiment, job)) if world.first else None)
        return execution.carry_out(RunDirectory(job.out, experiment))


def _prepared(experiment: Experiment, job: Job, notify: Notify, world: World) -> "_Execution | Outcome":
    """Everything that must be there before the run's directory is made; of a finished run, its result."""
    split(experiment.recipe.batch, experiment.recipe.bn_group, world.rank, world.size)  # refused now, or never
    if job.compiled and world.size > 1:
        raise SpecError("--compile is for one process: several pass through DistributedDataParallel")
    device, source = choose_device(world.device(job.device)), source_for(experiment, job.data)
    check_start(experiment, job)
    if result := check_place(experiment, job, world):
        return Outcome({**result, "directory": str(job.out)}, None, experiment.recipe.steps)
    return _Execution(experiment, job, notify, source, device, world)


def _taken(experiment: Experiment, job: Job) -> contextlib.AbstractContextManager[None]:
    return RunDirectory.create(job.out, experiment).exclusive()


class _Execution:
    """The pictures and the session of one run. Made before its directory: a mistake leaves nothing behind."""

    def __init__(
        self,
        experiment: Experiment,
        job: Job,
        notify: Notify,
        source: Source,
        device: torch.device,
        world: World,
    ) -> None:
        self.experiment, self.job, self.source, self.world = experiment, job, source, world
        self.notify = notify if world.first else Notify()
        told = notify if world.first else Other(notify, world.rank)
        reading = reading_for(experiment, job, source, self.notify)
        self.train, self.val = source.read("train", reading), source.read("val", reading)
        self.copies = [
            note for part in (self.train, self.val) if isinstance(part, Pictures) and (note := copy_note(part))
        ]
        aside: Pictures | None = None
        if isinstance(self.train, Pictures) and experiment.recipe.validation:
            self.train, aside = set_aside(self.train, experiment.recipe.validation)
        self.notices = Notices(told)
        if world.first:
            self.notices.note_passed_over(self.train, self.val)
        feed = feed_for(self.train, device, job.workers, told, self.notices, world.neighbours)
        source_of_weights, init = weights_generator(experiment.seed), experiment.recipe.init
        net = build(experiment.model, len(self.train.classes), source_of_weights, init)
        net.checkpoint_activations(on=job.activation_checkpointing)
        if job.weights is not None and job.weights.tensors is not None:
            fill(net, job.weights)
        tuning = None if experiment.start is None else tune(net, experiment.start)
        self.session = begin(net, self.train, experiment.recipe, feed, tuning, mean_image_for(experiment, job))
        self.engine = self.session.engine(job.engine, world)
        if job.compiled:
            self.session.training.forward = compiled(net)
        self.examiner = Examiner(self.session, self.val, aside)
        self.averaging = Averaging(self.session, self.train, experiment.seed)

    def carry_out(self, run: RunDirectory) -> Outcome:
        training, world = self.session.training, self.world
        world.agreed(lambda: self._begin(run))
        world.require_same("checkpoints", (training.step, self.averaging.done))
        self.session.join(world)
        self.notify.begun(describe(self.experiment.model), training.step, self.experiment.recipe.steps)
        try:
            with noted_signals() as stop, agreed_stop(world, stop) as heard, losses_told(world):
                with watched(world, self.job.timeout) as alive:
                    stopped = self._advance(run, heard, alive)
                    if stopped is None and self.averaging.due:
                        stopped = self._average(run, heard)
                    result = None if stopped is not None else self._finish(run)
                came = heard() if stopped is None else stopped
        finally:
            self.notify.ended()
        told = result and {**result, "directory": str(run.path)}
        return Outcome(told, came, training.step, stopped is not None, self.averaging.passed)

    def _begin(self, run: RunDirectory) -> None:
        """Take up what there is; the first process also makes the directory ready."""
        if self.world.first:
            checkpoint.remove_orphans(run.checkpoints)
        if not self.job.resume:
            require_unbegun(run)
        found = checkpoint.newest(run.checkpoints, self.notify.warned)
        changed: list[str] = []
        if found:
            try:
                changed = self._go_on(found)
            except KeyError as error:
                raise CheckpointError(f"{found.path / 'state.json'} does not say {error}") from None
        for note in (*self.copies, *cautions(self.experiment.recipe)):
            self.notify.warned(note)
        if self.world.first:
            keep_indices(run, self.train, self.val, anew=found is None)
            self._note_environment(run, changed)
            run.rewind_metrics(self.session.training.step)
        if self.session.precision == "bf16" and not native_bf16(self.session.feed.device):
            self.notify.warned("this processor does not compute in bf16 natively: --precision fp32 is faster here")

    def _advance(self, run: RunDirectory, stop: Callable[[], int | None], alive: Callable[..., None]) -> int | None:
        self.session.tested = alive
        with within_memory(self.session, describe(self.experiment.model)):
            watch = self._watch(run, stop, alive)
            return advance(self.session, self.train, self.experiment.seed, watch, self.engine)

    def _watch(self, run: RunDirectory, stop: Callable[[], int | None], alive: Callable[..., None]) -> Watch:
        def stepped(step: int) -> None:
            alive()
            self.notify.stepped(step)

        def record(line: Record) -> None:
            whole = line | self.examiner.aside()
            run.append_metrics(whole)
            self.notify.recorded(whole)

        return Watch(
            record=record if self.world.first else unheard,
            test=partial(self._test, run),
            save=partial(self._save, run),
            save_every=self.job.checkpoint_every,
            stop=stop,
            stepped=stepped,
        )

    def _save(self, run: RunDirectory, training: Training) -> None:
        notices = self.notices.of_all(self.world)
        if not self.world.first:
            return
        parts = {**parts_of(training), checkpoint.FORM: self.session.inputs.tensors(), **self.averaging.parts()}
        if notices["replaced"]:
            run.write("replaced_pictures.json", dict(sorted(notices["replaced"].items())))
        said = fingerprint(*self._identity())
        checkpoint.save(run.checkpoints, training.step, parts, {**self._facts(run), **notices}, self.job.keep, said)

    def _test(self, run: RunDirectory) -> Count | None:
        try:
            return self.examiner.count()
        except DataError:
            if self.world.size == 1:
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
        self.averaging.take_up(found)
        if self.world.first:
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
        here = environment(self.session.feed.device, self.session.precision)
        return {**here, "engine": engine, "processes": self.world.size}

    def _note_environment(self, run: RunDirectory, changed: list[str]) -> None:
        noted = noted_before(run)
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
            "environment": self._environment(),
            **self.averaging.facts(),
        }

    def _average(self, run: RunDirectory, stop: Callable[[], int | None]) -> int | None:
        """True averages of batch statistics take the place of the moving ones, in the last checkpoint too."""
        before, _ = self.examiner()
        stopped = self.averaging(before, stop, self.notify.averaged)
        if stopped is None:
            self.examiner.forget()
            self._save(run, self.session.training)
        return stopped

    def _finish(self, run: RunDirectory) -> Record | None:
        (test, _), training = self.examiner(), self.session.training
        notices = self.notices.of_all(self.world)
        if test is None:
            return None
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
        result = {**self.examiner.result(self.experiment, test), **self.averaging.result(test)}
        if self.experiment.recipe.photographs:
            result["replaced"] = notices["samples_replaced"]
        run.write("result.json", result)
        return result
