"""The tests of a run, on the way and at its end, and the result that they make."""

from reslab.core.experiment import Experiment
from reslab.core.intervals import Count
from reslab.core.rundir import Record
from reslab.data.source import Dataset
from reslab.evaluation.result import summarise
from reslab.experiments.scoring import Tested
from reslab.experiments.session import Session
from reslab.models.sizes import size_of


class Examiner:
    """What a run is tested on: ``val``, and the pictures that were set aside for ``validation``, if any."""

    def __init__(self, session: Session, val: Dataset, validation: Dataset | None) -> None:
        self.session, self.val, self.validation = session, val, validation
        self.last: tuple[int, Tested | None, Count | None] | None = None

    def __call__(self) -> tuple[Tested | None, Count | None]:
        """The test on ``val`` and errors on ``validation`` after the present step, computed once.

        Of several processes all but the first get None.
        """
        step = self.session.training.step
        if self.last is None or self.last[0] != step:
            self.last = None  # one test's scores at a time
            aside = None if self.validation is None else self.session.test(self.validation)
            self.last = step, self.session.test(self.val), aside.scores.count() if aside else None
        return self.last[1:]

    def forget(self) -> None:
        """The network is no longer what was tested, although the step is the same."""
        self.last = None

    def count(self) -> Count | None:
        """Errors on ``val``."""
        test, _ = self()
        return test.scores.count() if test else None

    def aside(self) -> Record:
        """What a line of metrics says of the pictures set aside, where there are any and they have been tested."""
        tested = self.last and self.last[0] == self.session.training.step and self.last[2]
        return {"validation_error": tested.error, "validation_n": tested.n} if tested else {}

    def result(self, experiment: Experiment, test: Tested) -> Record:
        """The result of a run that ended with ``test``: the last step's (section 4.2), never the best on the way."""
        inputs, training, train = self.session.inputs, self.session.training, self.session.train_error()
        size = size_of(self.session.net, inputs.side)
        found = summarise(test.scores, self.val.classes, "fp32", test.protocol)
        return {
            "model": experiment.model.name,
            "parameters": size.parameters,
            "multiply_adds": size.multiply_adds,
            "input_size": size.input_size,
            "steps": experiment.recipe.steps,
            "seed": experiment.seed,
            "protocol": test.protocol.name,
            "train_error": train.error,
            "train_interval": list(train.interval),
            "train_n": train.n,
            **({"rate_divided_at": training.plateau.drops} if experiment.recipe.schedule.plateau else {}),
            **self.aside(),
            "test_error": found.error,
            "test_interval": list(found.interval),
            "hits": found.hits,
            "n": found.n,
            "seconds": round(training.seconds, 1),
            "by_class": found.as_json()["by_class"],
        }
