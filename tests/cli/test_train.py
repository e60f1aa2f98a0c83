import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.listeners import StopAveraging
from tests.said import answer, bare_line, one_line

Command = Callable[..., subprocess.CompletedProcess[str]]

TINY = ("--model", "cifar-resnet8", "--width", 4, "--data", "embedded", "--steps", 6, "--batch", 32)
RESULT_KEYS = {
    *("model", "parameters", "multiply_adds", "steps", "seed", "train_error", "test_error", "test_interval"),
    *("hits", "n", "seconds", "directory"),
}


def test_a_run_prints_one_json_document_and_leaves_a_directory_that_explains_itself(
    reslab: Command, tmp_path: Path
) -> None:
    done = reslab("train", *TINY, "--evaluate-every", 3, "--log-every", 2, "--json", "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() >= RESULT_KEYS
    assert result["n"] == 2000
    assert result["test_error"] == pytest.approx(100 * (1 - result["hits"] / 2000))
    low, high = result["test_interval"]
    assert low < result["test_error"] < high
    lines = [json.loads(line) for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert [line["step"] for line in lines if "test_error" in line] == [3, 6]
    assert lines[-1].keys() >= {"samples", "lr", "loss", "train_error", "seconds", "images_per_second"}
    assert lines[-1]["test_error"] == result["test_error"]
    environment = json.loads((tmp_path / "r" / "environment.json").read_text())
    assert environment.keys() >= {"torch", "processor", "threads", "precision", "revision"}
    assert "step 6/6" in done.stderr
    assert "images/s" in done.stderr


def test_pictures_set_aside_are_validated_on_and_the_result_says_so(reslab: Command, tmp_path: Path) -> None:
    words = ("train", *TINY, "--validation", 100, "--out", tmp_path / "r")
    done = reslab(*words)
    assert done.returncode == 0, done.stderr
    result = json.loads(reslab(*words, "--resume", "--json").stdout)
    assert (result["validation_n"], result["n"]) == (100, 2000)
    assert f"validation error {result['validation_error']:.2f} % (n=100)" in done.stdout


def test_batch_statistics_are_recomputed_and_the_errors_before_and_after_are_said(
    reslab: Command, tmp_path: Path
) -> None:
    words = ("train", *TINY, "--bn-average", 70, "--out", tmp_path / "r")
    done = reslab(*words)
    assert done.returncode == 0, done.stderr
    result = json.loads(reslab(*words, "--resume", "--json").stdout)
    found = result["bn_average"]
    assert (found["pictures"], found["groups"], found["n"]) == (96, 3, 2000)
    assert found["error_before"] == 100 * (2000 - found["hits_before"]) / 2000 != result["test_error"]
    assert found["paired"]["difference"] == pytest.approx(found["error_before"] - result["test_error"])
    low, high = found["interval_before"]
    said = " ".join(done.stdout.split())
    assert f"test error {result['test_error']:.2f} % (95 % interval" in said
    assert (
        f"before, with moving averages: {found['error_before']:.2f} % (95 % interval {low:.2f} to {high:.2f}," in said
    )
    assert (
        f"statistics over 96 pictures: before - after is {found['paired']['difference']:+.2f} points (95 % interval"
        in said
    )
    assert "McNemar's p" in said
    tested = json.loads(reslab("evaluate", tmp_path / "r", "--data", "embedded", "--json").stdout)
    assert tested["hits"] == result["hits"] != found["hits_before"]
    last = json.loads((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["test_error"] == found["error_before"]


def test_a_number_of_pictures_below_none_is_refused(reslab: Command, tmp_path: Path) -> None:
    done = reslab("train", *TINY, "--bn-average", -1, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert "bn_average is -1: input should be greater than or equal to 0" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_finished_run_is_refused_without_resume_and_shown_with_it(reslab: Command, finished: Path) -> None:
    again = reslab("train", *TINY, "--evaluate-every", 3, "--out", finished)
    assert again.returncode == 2
    assert "finished" in again.stderr
    shown = reslab("train", *TINY, "--evaluate-every", 3, "--out", finished, "--resume", "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["steps"] == 6


def test_a_directory_of_another_spec_is_refused_with_the_difference(reslab: Command, finished: Path) -> None:
    done = reslab("train", *TINY, "--evaluate-every", 3, "--seed", 5, "--out", finished, "--resume")
    assert done.returncode == 2
    assert "seed is 0 there and 5 here" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "cifar-resnet9"), "6n+2"),
        (("--model", "cifar-resnet8", "--batch", 100, "--bn-group", 64), "bn_group 64 does not divide batch 100"),
        (("--model", "cifar-resnet8", "--recipe", "cifr-paper"), "did you mean 'cifar-paper'?"),
        (("--model", "cifar-resnet8", "--device", "tpu"), "unknown device 'tpu'"),
        (("--model", "cifar-resnet8", "--optim.lr", -1), "lr"),
        (("--model", "cifar-resnet8", "--optim.lrr", 1), "--optim.lr"),
        (("--model", "cifar-resnet8", "--steps", 4, "--epochs", 1), "give one"),
        (("--model", "cifar-resnet8", "--workers", -1), "--workers must be 0 or more"),
        (("--model", "cifar-resnet8", "--checkpoint-every", 0), "--checkpoint-every must be at least 1"),
        (("--model", "cifar-resnet8", "--data", "nowhere"), "nowhere does not exist"),
        ((), "which network?"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    reslab: Command, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    data = () if "--data" in words else ("--data", "embedded")
    done = reslab("train", *data, *words, "--out", tmp_path / "r")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "r").exists()


def test_a_spec_file_is_read_and_flags_come_on_top(reslab: Command, tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('seed = 3\n[model]\nname = "cifar-plain14"\n[recipe]\nsteps = 9\n[recipe.optim]\nlr = 0.2\n')
    words = ("train", "--data", "embedded", "--out", tmp_path / "r", "--spec", spec, "--dry-run", "--json")
    resolved = json.loads(reslab(*words, "--steps", 11, "--optim.momentum", 0.8).stdout)
    assert resolved["seed"] == 3
    assert resolved["model"]["name"] == "cifar-plain14"
    assert resolved["recipe"]["steps"] == 11
    assert resolved["recipe"]["optim"] == {"lr": 0.2, "momentum": 0.8, "weight_decay": 1e-4, "decay": "conv_fc_weights"}
    spec.write_text('[model]\nname = "cifar-plain14"\n[recipe.optim]\nlrr = 0.2\n')
    wrong = reslab(*words)
    assert wrong.returncode == 2
    assert "unknown key 'recipe.optim.lrr'; did you mean 'recipe.optim.lr'?" in wrong.stderr


def test_epochs_become_steps(reslab: Command, tmp_path: Path) -> None:
    words = ("--model", "cifar-resnet8", "--epochs", 1.5, "--batch", 100, "--dry-run", "--json")
    resolved = json.loads(reslab("train", "--data", "embedded", "--out", tmp_path / "r", *words).stdout)
    assert resolved["recipe"]["steps"] == 180
    assert resolved["recipe"]["bn_group"] == 100


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_the_line_it_prints_goes_on(
    reslab: Command, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    long = ("--model", "cifar-resnet8", "--width", "4", "--data", "embedded", "--steps", "4000", "--batch", "32")
    words = ["train", *long, "--log-every", "5", "--out", str(tmp_path / "r")]
    with subprocess.Popen([sys.executable, "-m", "reslab", *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "step 5/" in line)
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == code
    said = re.search(r"stopped and saved after step (\d+) of 4,000; go on with: reslab (.*)", rest)
    assert said is not None, rest
    assert said[2].endswith("--resume")
    assert (tmp_path / "r" / "checkpoints" / f"step-{said[1]}" / "manifest.json").exists()
    assert reslab("train", *long, "--log-every", 5, "--out", tmp_path / "r").returncode == 2


def test_one_step_is_no_plural(reslab: Command, tmp_path: Path) -> None:
    one = ("--model", "cifar-resnet8", "--width", 4, "--data", "embedded", "--steps", 1, "--batch", 32)
    done = reslab("train", *one, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("cifar-resnet8, width 4: 1 step\n")
    assert ", 1 step in " in done.stdout


def test_a_stop_of_averaging_says_how_far_it_was_and_the_line_goes_on(
    reslab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", *TINY, "--bn-average", 160, "--out", tmp_path / "r")
    monkeypatch.setattr(sys, "argv", ["reslab", *map(str, words)])
    with monkeypatch.context() as patch:
        patch.setattr("reslab.cli.train.progress", lambda: StopAveraging(64))
        done = reslab(*words)
    told, _, command = one_line(done, 130).partition("; go on with: ")
    assert told == (
        "reslab: SIGINT: stopped while averaging batch statistics, after 64 of 160 pictures;"
        " training is saved, averaging will begin again"
    )
    assert shlex.split(command) == ["reslab", *map(str, words), "--resume"]
    assert answer(reslab(*words, "--resume", "--json"))["bn_average"]["pictures"] == 160


def test_a_damaged_checkpoint_is_passed_over_and_said(reslab: Command, tmp_path: Path) -> None:
    words = ("train", *TINY, "--checkpoint-every", 2, "--evaluate-every", 3, "--out", tmp_path / "r")
    first = json.loads(reslab(*words, "--json").stdout)
    (tmp_path / "r" / "result.json").unlink()
    weights = tmp_path / "r" / "checkpoints" / "step-6" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = reslab(*words, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert "model.safetensors is damaged: its sha256 differs" in done.stderr
    assert "using step-4 instead" in done.stderr
    second = json.loads(done.stdout)
    assert {**second, "seconds": 0} == {**first, "seconds": 0}


def test_a_place_that_cannot_be_written_is_one_line(reslab: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = reslab("train", *TINY, "--out", tmp_path / "file" / "r")
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "file") in done.stderr
    taken = reslab("train", *TINY, "--out", tmp_path / "file")
    assert taken.returncode == 2
    assert "is a file, not a directory" in taken.stderr


DRY = ("train", *TINY, "--evaluate-every", 3, "--dry-run")


def test_a_dry_run_makes_nothing(reslab: Command, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "deep" / "r"):
        assert answer(reslab(*DRY, "--json", "--out", place))["recipe"]["steps"] == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("file", "file is a file, not a directory"),
        ("file/r", "file is a file, not a directory"),
        ("foreign", "foreign is not empty and is not a run directory: it has no spec.json"),
    ],
)
def test_a_dry_run_refuses_a_place_that_a_run_would_and_changes_nothing(
    reslab: Command, tmp_path: Path, place: str, says: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "foreign" / "mine").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    said = bare_line(reslab(*DRY, "--out", tmp_path / place))
    assert said == f"{tmp_path}/{says}"
    assert said == bare_line(reslab("train", *TINY, "--evaluate-every", 3, "--out", tmp_path / place))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_refuses_a_place_that_takes_no_files(reslab: Command) -> None:
    assert bare_line(reslab(*DRY, "--out", "/proc/r"), 1).startswith("cannot write /proc/r: ")


def test_a_dry_run_refuses_a_run_that_is_there(reslab: Command, finished: Path) -> None:
    there = sorted(finished.rglob("*"))
    assert "holds another run: seed is 0 there and 5 here" in one_line(reslab(*DRY, "--seed", 5, "--out", finished))
    assert "holds this run, finished; take another --out" in one_line(reslab(*DRY, "--out", finished))
    assert answer(reslab(*DRY, "--json", "--resume", "--out", finished))["recipe"]["steps"] == 6
    assert sorted(finished.rglob("*")) == there


def test_a_dry_run_refuses_a_run_that_has_saved_something(reslab: Command, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "result.json").unlink()
    said = bare_line(reslab(*DRY, "--out", run))
    assert said == f"{run} holds this run, at step 6 of 6; --resume goes on from there"
    assert answer(reslab(*DRY, "--json", "--resume", "--out", run))["recipe"]["steps"] == 6


def test_a_file_that_may_not_be_so_large_is_one_line_and_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from reslab.cli.app import run\nsys.exit(run(sys.argv[1:]))"
    )
    words = [str(word) for word in ("train", *TINY, "--out", tmp_path / "r")]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"reslab: cannot write {tmp_path}/r/checkpoints/step-6: File too large"
    assert not list((tmp_path / "r" / "checkpoints").iterdir())


def test_two_processes_do_not_share_a_run(reslab: Command, tmp_path: Path) -> None:
    words = ["--model", "cifar-resnet8", "--width", "4", "--data", "embedded", "--steps", "9000", "--batch", "32"]
    out = str(tmp_path / "r")
    process = subprocess.Popen(
        [sys.executable, "-m", "reslab", "train", *words, "--out", out], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "r" / "environment.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        done = reslab("train", *words, "--out", out, "--resume")
        assert done.returncode == 2
        assert "another process is working on" in done.stderr
    finally:
        process.kill()
        process.wait()


def test_evaluate_counts_every_picture_and_keeps_scores(reslab: Command, finished: Path) -> None:
    done = reslab("evaluate", finished, "--data", "embedded", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() >= {"protocol", "precision", "n", "hits", "error", "top5_error", "interval", "by_class"}
    assert (result["protocol"], result["precision"], result["n"]) == ("single", "fp32", 2000)
    assert result["hits"] == json.loads((finished / "result.json").read_text())["hits"]
    assert sum(count["n"] for count in result["by_class"].values()) == 2000
    assert (finished / "scores" / "single-val" / "scores.safetensors").exists()
    train = json.loads(reslab("evaluate", finished, "--data", "embedded", "--split", "train", "--json").stdout)
    assert train["n"] == 12_000
    table = reslab("evaluate", finished, "--data", "embedded").stdout
    assert "Ankle boot" in table


def test_what_is_no_run_is_refused(reslab: Command, tmp_path: Path, finished: Path) -> None:
    (tmp_path / "empty").mkdir()
    for verb in (("evaluate", "--data", "embedded"), ("claims",), ("report", "--out", tmp_path / "page.html")):
        done = reslab(verb[0], tmp_path / "empty", *verb[1:])
        assert done.returncode == 2
        assert "is not a run directory: it has no spec.json" in done.stderr
        assert reslab(verb[0], tmp_path / "missing", *verb[1:]).returncode == 2
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    (broken / "result.json").unlink()
    assert "is not finished: step 6 of 6" in reslab("claims", broken).stderr


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "reslab: memory ran out: this process may have no more\n"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (RuntimeError("std::bad_alloc"), "reslab: memory ran out: std::bad_alloc\n"),
    ],
)
def test_memory_that_runs_out_before_training_is_one_line(
    reslab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str | None
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("reslab.experiments.execute.build", refuse)
    words = ("train", "--model", "cifar-resnet8", "--data", "embedded", "--steps", 2, "--out", tmp_path / "run")
    if says is None:
        with pytest.raises(RuntimeError, match="shapes"):
            reslab(*words)
    else:
        done = reslab(*words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith(says)
    assert not (tmp_path / "run").exists()
