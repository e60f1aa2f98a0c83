"""Where a number on a page comes from: what a reader is told who asks."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.core.experiment import TRAIN_WINDOW
from reslab.core.units import counted
from reslab.report.finished import FinishedRun
from reslab.report.how_trained import DIGITS
from reslab.report.labels import shown


@dataclass(frozen=True)
class Source:
    """A number's ``title`` and the ``facts`` behind it, in the order in which they are told."""

    title: str
    facts: Mapping[str, str]

    @property
    def hint(self) -> str:
        """The same in plain text, a fact a line."""
        return "\n".join([self.title, *(f"{name}: {value}" for name, value in self.facts.items())])


def of_test(run: FinishedRun) -> Source:
    """Where a run's test error comes from."""
    tested = {
        **_begun(run),
        "protocol": run.result.get("protocol"),
        "precision": "fp32",  # every run is tested so, however it was trained
        "batch statistics": run.averaged
        and f"averaged over {counted(run.averaged['pictures'], 'training picture')} at the end",
        "pictures": _pictures(run, "val"),
        "n": f"{run.test.n:,}",
        **_again(run),
    }
    return _source("test error", run, tested)


def of_training(run: FinishedRun) -> Source:
    """Where a run's training error comes from."""
    trained = {
        **_begun(run),
        "protocol": f"mean over the last {TRAIN_WINDOW} training batches",
        "precision": run.environment.get("precision"),
        "pictures": _pictures(run, "train"),
        "n": f"{run.train.n:,}",
        "read from": "metrics.jsonl, its last line",
    }
    return _source("training error", run, trained)


def of_mean(what: str, runs: Sequence[FinishedRun]) -> Source:
    """Where the mean of several seeds comes from, and the standard deviation after it."""
    facts = {
        "computed from": f"{len(runs)} runs",
        "run directories": ", ".join(run.directory for run in runs),
        "seeds": ", ".join(str(run.experiment.seed) for run in runs),
        "command": shlex.join(["reslab", "report", *(run.directory for run in runs)]),
    }
    title = f"{runs[0].called}: mean {what} ± standard deviation"
    return Source(title, {name: shown(text) for name, text in facts.items()})


def _source(what: str, run: FinishedRun, facts: Mapping[str, Any]) -> Source:
    known = {name: shown(str(value)) for name, value in facts.items() if value is not None}
    return Source(f"{run.called}, seed {run.experiment.seed}: {what}", known)


def _begun(run: FinishedRun) -> dict[str, Any]:
    return {"run directory": run.directory, "step": f"{run.metrics[-1]['step']:,}", "seed": run.experiment.seed}


def _pictures(run: FinishedRun, part: str) -> str:
    digest = run.data_noted.get(part)
    return f"{run.data_title} {part}" + (f", sha256 {str(digest)[:DIGITS]}" if digest else "")


def _again(run: FinishedRun) -> dict[str, str]:
    """The command that gives the number again; it needs a checkpoint."""
    if not any(Path(run.directory, "checkpoints").glob("step-*/manifest.json")):
        return {"weights": "not kept"}
    data = "embedded" if run.experiment.data == "embedded" else "FOLDER"
    return {"command": f"{shlex.join(['reslab', 'evaluate', run.directory])} --data {data}"}
