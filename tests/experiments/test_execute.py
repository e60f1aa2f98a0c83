import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tested import evaluate_run

from reslab.core.errors import CheckpointError, DataError, ReslabError, RunError, SpecError
from reslab.core.experiment import Experiment
from reslab.core.files import sha256_file
from reslab.core.protocol import Native, find_protocol
from reslab.core.rundir import RunDirectory
from reslab.data.parts import Split
from reslab.data.pictures import Pictures
from reslab.data.source import SmallPictures
from reslab.evaluation.scores import read_scores
from reslab.experiments import environment, execute
from reslab.experiments.job import Outcome
from reslab.experiments.names import describe
from reslab.experiments.notify import Notify
from reslab.experiments.stored import mix, read_stored
from reslab.training import checkpoint

Session = Callable[..., Outcome]
Splits = dict[Split, Pictures]


class Hearing(Notify):
    """Remembers what it was told, and stops after a step."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.told: list[tuple[Any, ...]] = []
        self.warnings: list[str] = []

    def begun(self, title: str, step: int, steps: int) -> None:
        self.told.append(("begun", title, step, steps))

    def stepped(self, step: int) -> None:
        if step == self.stop:
            signal.raise_signal(signal.SIGTERM)

    def recorded(self, line: dict[str, Any]) -> None:
        self.told.append(("recorded", line["step"]))

    def ended(self) -> None:
        self.told.append(("ended",))

    def warned(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def finished(carry_out: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    carry_out(run)
    return run


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def without_clock(result: dict[str, Any] | None) -> dict[str, Any]:
    assert result is not None
    return {key: value for key, value in result.items() if key not in ("seconds", "directory")}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_result_says_everything_about_the_run(finished: Path) -> None:
    result = read_json(finished / "result.json")
    assert list(result) == [
        "model",
        "parameters",
        "multiply_adds",
        "input_size",
        "steps",
        "seed",
        "protocol",
        "train_error",
        "train_interval",
        "train_n",
        "test_error",
        "test_interval",
        "hits",
        "n",
        "seconds",
        "by_class",
    ]
    assert (result["model"], result["steps"], result["seed"], result["n"]) == ("cifar-resnet8", 8, 0, 40)
    assert result["train_n"] == 8 * 32
    assert result["test_error"] == pytest.approx(100 * (40 - result["hits"]) / 40)
    assert sum(count["n"] for count in result["by_class"].values()) == 40


def test_the_result_can_be_counted_again_from_the_stored_scores(
    finished: Path, splits: Splits, tiny: Experiment
) -> None:
    result, scores = read_json(finished / "result.json"), read_scores(finished / "scores" / "single-val")
    assert torch.equal(scores.labels, splits["val"].labels)
    assert result["hits"] == int((scores.probabilities.argmax(dim=1) == splits["val"].labels).sum())
    stored = read_stored(finished / "scores" / "single-val")
    assert mix([stored]).evaluation.hits == result["hits"]
    facts = read_json(finished / "scores" / "single-val" / "protocol.json")
    (newest,) = (finished / "checkpoints").glob("step-8")
    settings, preprocessing = facts.pop("settings"), facts.pop("preprocessing")
    assert settings == find_protocol("single", Native(14, 12, "single")).model_dump(mode="json")
    assert preprocessing["form"] == "cifar"
    folder = finished / "scores" / "single-val"
    assert facts.pop("sha256") == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("scores.safetensors", "logits.npy", "probabilities.npy")
    }
    assert facts == {
        "protocol": "single",
        "views": "the centre, crops of 12 at shorter side 12",
        "precision": "fp32",
        "classes": list(splits["val"].classes),
        "network": describe(tiny.model),
        "weights": sha256_file(newest / "model.safetensors"),
        "step": 8,
        "forced": [],
        "command": "",
        "split": "val",
        "data": {"name": "noise", "digest": splits["val"].digest},
        "n": 40,
        "hits": result["hits"],
    }


def test_the_result_is_the_last_line_of_the_metrics(finished: Path) -> None:
    last = RunDirectory.open(finished).metrics()[-1]
    result = read_json(finished / "result.json")
    assert (last["step"], last["test_error"]) == (8, result["test_error"])
    assert last["train_error"] == result["train_error"]


def test_a_checkpoint_says_how_pictures_must_be_fed(finished: Path, splits: Splits, tiny: Experiment) -> None:
    found = checkpoint.newest(finished / "checkpoints", pytest.fail)
    assert found is not None
    assert found.facts["classes"] == list(splits["train"].classes)
    digests = {split: pictures.digest for split, pictures in splits.items()}
    assert found.facts["data"] == {"name": "noise", **digests}
    assert found.facts["samples"] == 8 * 32
    assert found.facts["spec"] == tiny.digest()
    assert found.facts["model"]["name"] == "cifar-resnet8"
    assert found.facts["preprocessing"]["train"]["pad"] == 4
    torch.testing.assert_close(found.parts["form"]["mean"], splits["train"].pixels.double().mean(dim=0).float())


def test_a_finished_run_gives_its_result_again_where_it_may_resume(carry_out: Session, finished: Path) -> None:
    before = tree(finished)
    outcome = carry_out(finished, resume=True)
    assert outcome.result == {**read_json(finished / "result.json"), "directory": str(finished)}
    assert (outcome.signal, outcome.step) == (None, 8)
    assert tree(finished) == before


def test_a_finished_run_is_not_begun_again(carry_out: Session, finished: Path) -> None:
    before = tree(finished)
    with pytest.raises(RunError, match="holds this run, finished; take another --out, or --resume"):
        carry_out(finished)
    assert tree(finished) == before


def test_an_unfinished_run_is_not_begun_again(carry_out: Session, tmp_path: Path) -> None:
    outcome = carry_out(tmp_path / "run", notify=Hearing(stop=3))
    assert (outcome.result, outcome.signal, outcome.step) == (None, signal.SIGTERM, 3)
    with pytest.raises(RunError, match="holds this run, at step 3 of 8; --resume goes on from there"):
        carry_out(tmp_path / "run")
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [3]
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_directory_of_another_experiment_is_refused(carry_out: Session, finished: Path, tiny: Experiment) -> None:
    with pytest.raises(RunError, match="holds another run: seed is 0 there and 1 here"):
        carry_out(finished, experiment=tiny.but({"seed": 1}), resume=True)


def test_other_pictures_are_refused(carry_out: Session, splits: Splits, tmp_path: Path) -> None:
    carry_out(tmp_path / "run", notify=Hearing(stop=3))
    pixels = splits["train"].pixels.clone()
    pixels[99, 0, 11, 11] ^= 1
    others: Splits = {**splits, "train": replace(splits["train"], pixels=pixels)}
    with pytest.raises(RunError, match=r"holds other pictures than those that .*run was begun with"):
        carry_out(tmp_path / "run", pictures=others, resume=True)
    assert carry_out(tmp_path / "run", resume=True).step == 8


@pytest.fixture
def other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    real = environment.environment
    monkeypatch.setattr(execute, "environment", lambda *place: {**real(*place), "threads": 96})


@pytest.fixture
def stopped(carry_out: Session, tmp_path: Path) -> Path:
    carry_out(tmp_path / "run", notify=Hearing(stop=3))
    return tmp_path / "run"


@pytest.mark.usefixtures("stopped", "other_threads")
def test_other_threads_are_warned_of(carry_out: Session, stopped: Path) -> None:
    hearing = Hearing()
    assert carry_out(stopped, notify=hearing, resume=True).step == 8
    assert hearing.warnings == [
        "results may differ in their last bits from an unbroken run: threads was 1 and is 96",
    ]
    (resumed,) = read_json(stopped / "environment.json")["resumed"]
    assert (resumed["step"], resumed["changed"]) == (3, ["threads was 1 and is 96"])


@pytest.mark.usefixtures("stopped", "other_threads")
def test_other_threads_are_refused_where_strictness_was_asked_for(carry_out: Session, stopped: Path) -> None:
    with pytest.raises(RunError, match=r"--strict: results may differ .*because threads was 1 and is 96"):
        carry_out(stopped, resume=True, strict=True)
    assert checkpoint.steps(stopped / "checkpoints") == [3]


def test_strictness_does_not_mind_the_same_machine(carry_out: Session, stopped: Path) -> None:
    hearing = Hearing()
    assert carry_out(stopped, notify=hearing, resume=True, strict=True).step == 8
    assert hearing.warnings == []
    noted = read_json(stopped / "environment.json")
    code = {key: noted[key] for key in ("reslab", "revision")}
    assert noted["resumed"] == [{"step": 3, **code, "changed": []}]


def test_a_run_that_goes_on_with_other_code_says_so_and_names_it(
    carry_out: Session, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = environment.environment
    monkeypatch.setattr(execute, "environment", lambda *place: {**real(*place), "revision": "newer"})
    before = read_json(stopped / "environment.json")["revision"]
    carry_out(stopped, notify=(hearing := Hearing()), resume=True)
    change = f"revision was {before} and is newer"
    assert hearing.warnings == [f"results may differ in their last bits from an unbroken run: {change}"]
    (resumed,) = read_json(stopped / "environment.json")["resumed"]
    assert (resumed["revision"], resumed["changed"]) == ("newer", [change])


def test_a_near_copy_is_noted_also_where_a_run_that_knew_nothing_of_it_goes_on(
    carry_out: Session, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "warnings" not in read_json(stopped / "environment.json")["data"]
    monkeypatch.setattr(execute, "copy_note", lambda pictures: f"{pictures.split}: 2 are lossy")
    carry_out(stopped, resume=True)
    noted = read_json(stopped / "environment.json")["data"]["warnings"]
    assert noted == ["train: 2 are lossy", "val: 2 are lossy"]


def test_every_resumption_is_noted_even_before_the_first_line_of_metrics(
    carry_out: Session, tiny: Experiment, tmp_path: Path
) -> None:
    quiet = tiny.but({"recipe": {"log_every": 50, "evaluate_every": 50}})
    for stop in (2, 5):
        carry_out(tmp_path / "run", experiment=quiet, notify=Hearing(stop=stop), resume=True)
    carry_out(tmp_path / "run", experiment=quiet, resume=True)
    resumed = read_json(tmp_path / "run" / "environment.json")["resumed"]
    assert [entry["step"] for entry in resumed] == [2, 5]


def test_a_run_that_begins_afresh_notes_where_it_begins(
    carry_out: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        """The end of the process."""

    class Crashing(Notify):
        def recorded(self, line: dict[str, Any]) -> None:
            if line["step"] == 2:
                raise Crash

    with pytest.raises(Crash):
        carry_out(tmp_path / "run", notify=Crashing())
    real = environment.environment
    monkeypatch.setattr(execute, "environment", lambda *place: {**real(*place), "threads": 96})
    carry_out(tmp_path / "run", resume=True)
    noted = read_json(tmp_path / "run" / "environment.json")
    assert (noted["threads"], noted["resumed"]) == (96, [])


def test_the_environment_names_what_decides_bits_and_no_place_but_the_datas(finished: Path, splits: Splits) -> None:
    noted = read_json(finished / "environment.json")
    assert set(environment.DECIDES_BITS) <= set(noted)
    digests = {split: pictures.digest for split, pictures in splits.items()}
    assert noted["data"] == {"name": "noise", "place": "embedded", **digests}
    assert str(finished) not in json.dumps(noted)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": {"name": "resnet21"}}, SpecError, "unknown model 'resnet21'"),
        ({"model": {"name": "cifar-resnet9"}}, SpecError, "6n"),
        ({"model": {"name": "cifar-plain8", "shortcut": "A"}}, SpecError, "a plain network has no shortcuts"),
        ({"data": "cifar10"}, RunError, "the experiment needs cifar10; --data embedded is embedded"),
        ({"recipe": {"batch": 128}}, DataError, "100 .*fewer than one batch of 128"),
    ],
)
def test_a_mistake_leaves_no_directory_behind(
    changes: dict[str, Any],
    error: type[ReslabError],
    message: str,
    carry_out: Session,
    tiny: Experiment,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        carry_out(tmp_path / "new" / "run", experiment=tiny.but(changes))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_device_leaves_no_directory_behind(carry_out: Session, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown device 'tpu'"):
        carry_out(tmp_path / "run", device="tpu")
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_directory_is_left_alone(carry_out: Session, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("chapter one")
    with pytest.raises(RunError, match="is not empty and is not a run directory"):
        carry_out(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_run_that_another_process_works_on_is_not_joined(
    carry_out: Session, tiny: Experiment, tmp_path: Path
) -> None:
    run = RunDirectory.create(tmp_path / "run", tiny)
    command = [sys.executable, "-c", HOLD, str(run.path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=r"another process is working on .*run"):
            carry_out(run.path, resume=True)
        other.communicate()
    assert carry_out(run.path, resume=True).step == 8


def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    carry_out: Session, finished: Path, tiny: Experiment, tmp_path: Path
) -> None:
    again = carry_out(tmp_path / "again").result
    assert without_clock(again) == without_clock(read_json(finished / "result.json"))
    kept = [checkpoint.read(run / "checkpoints" / "step-8") for run in (finished, tmp_path / "again")]
    for name, tensor in kept[0].parts["model"].items():
        assert torch.equal(tensor, kept[1].parts["model"][name]), name
    carry_out(tmp_path / "other", experiment=tiny.but({"seed": 1}))
    other = checkpoint.read(tmp_path / "other" / "checkpoints" / "step-8")
    assert not torch.equal(other.parts["model"]["conv1.weight"], kept[0].parts["model"]["conv1.weight"])


def test_a_run_leaves_the_global_generator_alone(carry_out: Session, tmp_path: Path) -> None:
    states: list[torch.Tensor] = []

    class Listening(Notify):
        def begun(self, title: str, step: int, steps: int) -> None:
            del title, step, steps
            states.append(torch.get_rng_state())

        def ended(self) -> None:
            states.append(torch.get_rng_state())

    carry_out(tmp_path / "run", notify=Listening(), workers=1)
    assert len(states) == 2
    assert torch.equal(states[0], states[1])


def test_what_happens_is_told_in_order(carry_out: Session, stopped: Path) -> None:
    hearing = Hearing()
    carry_out(stopped, notify=hearing, resume=True)
    lines = [("recorded", step) for step in range(4, 9)]
    assert hearing.told == [("begun", "cifar-resnet8, width 4", 3, 8), *lines, ("ended",)]


def test_a_session_in_trouble_is_told_to_have_ended(carry_out: Session, tiny: Experiment, tmp_path: Path) -> None:
    hearing = Hearing()
    with pytest.raises(ReslabError, match="the loss is nan at step"):
        carry_out(tmp_path / "run", experiment=tiny.but({"recipe": {"optim": {"lr": 1e30}}}), notify=hearing)
    assert hearing.told[-1] == ("ended",)
    assert not (tmp_path / "run" / "result.json").exists()


def test_only_two_checkpoints_are_kept(carry_out: Session, tmp_path: Path) -> None:
    carry_out(tmp_path / "run", checkpoint_every=1)
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [8, 7]


def test_orphans_of_a_crash_are_removed(carry_out: Session, stopped: Path) -> None:
    (stopped / "checkpoints" / ".partial-4").mkdir()
    carry_out(stopped, resume=True)
    assert sorted(path.name for path in (stopped / "checkpoints").iterdir()) == ["step-3", "step-8"]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, splits: Splits) -> str:
    source = SmallPictures("embedded", "embedded", splits.__getitem__)
    monkeypatch.setattr("reslab.experiments.testing.find_data", lambda _: source)
    return "embedded"


def test_testing_a_finished_run_gives_its_own_error(finished: Path, data: str, tmp_path: Path) -> None:
    result = read_json(finished / "result.json")
    found = evaluate_run(RunDirectory.open(finished), data, out=tmp_path / "scores")
    assert (found.error, found.n, found.precision) == (result["test_error"], 40, "fp32")
    assert list(found.interval) == result["test_interval"]
    again, stored = read_scores(tmp_path / "scores"), read_scores(finished / "scores" / "single-val")
    assert torch.equal(again.probabilities, stored.probabilities)


def test_the_training_pictures_can_be_tested_on_too(finished: Path, data: str) -> None:
    assert evaluate_run(RunDirectory.open(finished), data, split="train").n == 100
    protocol = read_json(finished / "scores" / "single-train" / "protocol.json")
    assert (protocol["split"], protocol["n"], protocol["step"]) == ("train", 100, 8)


def test_a_run_without_a_checkpoint_cannot_be_tested(tiny: Experiment, data: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", tiny)
    with pytest.raises(DataError, match="run has no checkpoint yet"):
        evaluate_run(run, data)


def test_an_empty_directory_cannot_be_tested(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run directory: it has no spec.json"):
        RunDirectory.open(tmp_path)


def test_a_run_whose_checkpoints_are_all_damaged_cannot_be_tested(stopped: Path, data: str) -> None:
    (stopped / "checkpoints" / "step-3" / "form.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole"):
        evaluate_run(RunDirectory.open(stopped), data)


def test_a_finished_run_whose_last_checkpoint_is_damaged_is_not_tested_at_another_step_and_can_be_mended(
    carry_out: Session, data: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    carry_out(run, checkpoint_every=3)
    last = run / "checkpoints" / "step-8"
    whole = (last / "model.safetensors").read_bytes()
    (last / "model.safetensors").write_bytes(whole[:-1])
    cure = f"delete {run}/result.json, and train --resume makes it again from step 6"
    with pytest.raises(CheckpointError, match=rf"^{run} is finished, and its last checkpoint is .* damaged: {cure}$"):
        evaluate_run(RunDirectory.open(run), data)
    (run / "result.json").unlink()
    carry_out(run, checkpoint_every=3, resume=True)
    assert (last / "model.safetensors").read_bytes() == whole
    assert evaluate_run(RunDirectory.open(run), data).n == 40


def test_pictures_of_other_classes_cannot_be_tested_on(
    finished: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = replace(splits["val"], classes=tuple("abcdefghiz"))
    source = SmallPictures("embedded", "embedded", lambda _: others)
    monkeypatch.setattr("reslab.experiments.testing.find_data", lambda _: source)
    with pytest.raises(
        DataError, match=r"noise has classes that the network does not know \(1 of 10\): z; it knows 10 classes: a, b"
    ):
        evaluate_run(RunDirectory.open(finished), "embedded")


def test_other_test_pictures_are_refused_too(carry_out: Session, splits: Splits, tmp_path: Path) -> None:
    carry_out(tmp_path / "run", notify=Hearing(stop=3))
    others: Splits = {**splits, "val": replace(splits["val"], labels=splits["val"].labels.flip(0))}
    with pytest.raises(RunError, match="holds other pictures"):
        carry_out(tmp_path / "run", resume=True, pictures=others)


@pytest.mark.parametrize("shortcut", ["B", "C"])
def test_a_network_that_would_crash_torch_is_refused(
    carry_out: Session, tiny: Experiment, tmp_path: Path, shortcut: str
) -> None:
    narrow = tiny.but({"model": {"shortcut": shortcut, "width": 4}})
    with pytest.raises(SpecError, match="take --width 8 or more, or shortcut A"):
        carry_out(tmp_path / "run", experiment=narrow)
    assert not (tmp_path / "run").exists()


class Late(Hearing):
    """Hears of a signal when training itself is over: while the last line of metrics is recorded."""

    def recorded(self, line: dict[str, Any]) -> None:
        if line["step"] == 8:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("notify", "number"), [(Hearing(stop=8), signal.SIGTERM), (Late(), signal.SIGINT)])
def test_a_signal_at_the_end_leaves_a_finished_run_and_is_told(
    notify: Notify, number: signal.Signals, carry_out: Session, finished: Path, tmp_path: Path
) -> None:
    outcome = carry_out(tmp_path / "run", notify=notify)
    assert outcome.signal == number
    assert without_clock(outcome.result) == without_clock(read_json(finished / "result.json"))


@pytest.mark.parametrize("text", ["{}", '{"data": {}}', '{"data": 5, "resumed": []}'])
def test_a_damaged_environment_stops_a_run_that_would_go_on(text: str, carry_out: Session, stopped: Path) -> None:
    (stopped / "environment.json").write_text(text)
    with pytest.raises(RunError, match=r"environment\.json is damaged: it does not say what the run is of"):
        carry_out(stopped, resume=True)


@pytest.mark.parametrize("lacking", ["data", "environment", "step"])
def test_a_checkpoint_that_does_not_say_all_is_refused(lacking: str, carry_out: Session, stopped: Path) -> None:
    for step in checkpoint.steps(stopped / "checkpoints"):
        found = checkpoint.read(stopped / "checkpoints" / f"step-{step}")
        facts = {key: value for key, value in found.facts.items() if key != lacking}
        checkpoint.write(found.path, found.parts, facts, replace=True)
    with pytest.raises(CheckpointError, match=rf"state\.json does not say '{lacking}'"):
        carry_out(stopped, resume=True)


def test_what_compiling_would_ignore_is_refused(carry_out: Session, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no --activation-checkpointing"):
        carry_out(tmp_path / "run", compiled=True, activation_checkpointing=True)
