"""A run directory: everything one run was and did, readable without torch."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from reslab.core.errors import RunError
from reslab.core.experiment import Experiment
from reslab.core.files import canonical_json, sha256_text, storing, write_bytes, write_json
from reslab.core.spec import differing
from reslab.core.text import few

Record = dict[str, Any]


@contextlib.contextmanager
def held_alone(folder: Path) -> Iterator[None]:
    """Hold ``folder``, made where it is missing; the system lets go when the process ends, however it ends.

    Raises:
        RunError: another process holds it.
        StorageError: it cannot be written.
    """
    with contextlib.ExitStack() as held:
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((folder / ".lock").open("w"))
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by loader workers, unlike flock
            except (BlockingIOError, PermissionError):
                raise RunError(f"another process is working on {folder}") from None
        yield


class RunDirectory:
    """The files of one run.

    ``spec.json`` (the experiment and its digest), ``environment.json``, ``metrics.jsonl``, ``result.json`` once the run
    is finished, and the folders ``checkpoints`` and ``scores``. Made by `create` or `open`.
    """

    def __init__(self, path: Path, experiment: Experiment) -> None:
        self.path = path
        self.experiment = experiment
        self.checkpoints = path / "checkpoints"
        self.scores = path / "scores"

    @classmethod
    def create(cls, path: Path, experiment: Experiment) -> Self:
        """Make ``path`` the directory of ``experiment``, or open it where it already is.

        Raises:
            RunError: as `find` does.
            StorageError: ``path`` cannot be written.
        """
        if (run := cls.find(path, experiment)) is not None:
            return run
        with storing(path):
            path.mkdir(parents=True, exist_ok=True)
        spec = {"digest": experiment.digest(), "experiment": experiment.model_dump(mode="json")}
        write_json(path / "spec.json", spec)
        return cls(path, experiment)

    @classmethod
    def find(cls, path: Path, experiment: Experiment) -> Self | None:
        """The run of ``experiment`` where ``path`` holds it; None where it may be made there.

        Raises:
            RunError: ``path`` is a file, holds something else, or holds a run of another spec.
        """
        if (path / "spec.json").exists():
            run = cls.open(path)
            if run.experiment != experiment:
                raise RunError(f"{path} holds another run: {_differences(run.experiment, experiment)}")
            return run
        if path.exists() and not path.is_dir():
            raise RunError(f"{path} is a file, not a directory")
        if path.exists() and any(path.iterdir()):
            raise RunError(f"{path} is not empty and is not a run directory: it has no spec.json")
        return None

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run that ``path`` holds.

        Raises:
            RunError: there is none, or its ``spec.json`` is damaged.
        """
        if not path.exists():
            raise RunError(f"there is no run at {path}")
        if not (path / "spec.json").is_file():
            raise RunError(f"{path} is not a run directory: it has no spec.json")
        spec = read_record(path / "spec.json")
        stored = spec.get("experiment", {})
        experiment = Experiment.parse(stored, source=str(path / "spec.json"))
        if spec.get("digest") != sha256_text(canonical_json(stored)):  # as written: later versions add settings
            raise RunError(f"{path / 'spec.json'} is damaged: its digest does not match its experiment")
        return cls(path, experiment)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """`held_alone` for the run."""
        with held_alone(self.path):
            yield

    def append_metrics(self, record: Record) -> None:
        """Add one line to ``metrics.jsonl``, and wait until the disk holds it."""
        with storing(self.path), (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def metrics(self) -> list[Record]:
        """The lines of ``metrics.jsonl``; a last line that a crash cut short is left out.

        Raises:
            RunError: a line is damaged.
        """
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        records: list[Record] = []
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError:
                if number == len(lines):
                    break
                record = None
            if not is_line(record):
                raise RunError(f"{path} is damaged at line {number}")
            records.append(record)
        return records

    def rewind_metrics(self, step: int) -> None:
        """Forget the lines after ``step``: a resumed run writes them again."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        write_bytes(self.path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept).encode())

    def write(self, name: str, value: Record) -> None:
        """Write ``name`` (``environment.json``, ``result.json``) atomically."""
        write_json(self.path / name, value)

    def environment(self) -> Record | None:
        """What ``environment.json`` says, or ``None`` before the first step."""
        return _read_if_there(self.path / "environment.json")

    def result(self) -> Record | None:
        """The finished run's result, or ``None`` while it is not finished."""
        return _read_if_there(self.path / "result.json")


def find_places(paths: Sequence[Path]) -> dict[Path, bool]:
    """Where the runs at ``paths`` lie, and whether each was named or was found in a folder.

    A directory that is no run stands for the runs directly inside it.

    Raises:
        RunError: there is no path.
    """
    if not paths:
        raise RunError("which runs? give run directories, or folders of them")
    places: dict[Path, bool] = {}
    for path in paths:
        inside = sorted(spec.parent for spec in path.glob("*/spec.json"))
        if (path / "spec.json").exists() or not inside:
            places[path] = True
        else:
            places |= {place: places.get(place, False) for place in inside}
    return places


def find_runs(paths: Sequence[Path]) -> list[RunDirectory]:
    """The runs at ``paths``, as `find_places` finds them.

    Raises:
        RunError: a path holds no run, or there is no path.
    """
    return [RunDirectory.open(place) for place in find_places(paths)]


def is_line(value: Any) -> bool:
    """Whether ``value`` can be a line of ``metrics.jsonl``: it says after which step."""
    return isinstance(value, dict) and isinstance(value.get("step"), int)


def _read_if_there(path: Path) -> Record | None:
    return read_record(path) if path.exists() else None


def read_record(path: Path) -> Record:
    """A JSON object from a run's folder.

    Raises:
        RunError: it cannot be read, or is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it is not a JSON object")
    return value


def _differences(there: Experiment, asked: Experiment) -> str:
    found = sorted(differing(there, asked).items())
    return few([f"{key} is {old!r} there and {new!r} here" for key, (old, new) in found])
