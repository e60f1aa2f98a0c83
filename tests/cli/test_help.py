import ast
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reslab.cli.app import GROUPS, VERBS

Command = Callable[..., subprocess.CompletedProcess[str]]

FLAGS = {
    "list": {"--json"},
    "show": {"--shortcut", "--stride-on", "--pool", "--width", "--input-size", "--scale", "--figure", "--json"},
    "train": {
        *("--data", "--out", "--model", "--shortcut", "--stride-on", "--pool", "--width", "--recipe", "--spec"),
        *("--optim.lr", "--optim.momentum", "--optim.weight-decay", "--optim.decay", "--steps", "--epochs", "--batch"),
        *(
            "--bn-group",
            "--bn-average",
            "--longer",
            "--log-every",
            "--evaluate-every",
            "--precision",
            "--seed",
            "--resume",
            "--strict",
        ),
        *("--device", "--workers", "--checkpoint-every", "--dry-run", "--json", "--from", "--freeze", "--body-rate"),
        *("--force", "--activation-checkpointing", "--engine", "--compile", "--validation", "--timeout"),
        *("--scale", "--crop", "--shorter-side", "--held-out", "--decode", "--on-bad-picture", "--preprocessing"),
        *("--mean-image", "--colour", "--colour-scale", "--area", "--progressive", "--resample"),
    },
    "evaluate": {
        *("--data", "--protocol", "--split", "--precision", "--device", "--workers", "--out", "--json"),
        *("--shortcut", "--stride-on", "--pool", "--preprocessing", "--force"),
        *("--from-scores", "--average", "--scales", "--member-weights"),
        *("--ensemble", "--pairs", "--greedy", "--server-file", "--server-classes"),
    },
    "compare": {
        *("--data", "--protocol", "--split", "--precision", "--device", "--workers", "--out", "--json", "--page"),
        *("--shortcut", "--stride-on", "--pool", "--preprocessing", "--force"),
        *("--from-scores", "--average", "--scales"),
    },
    "reproduce": {
        *(
            "--scale",
            "--data",
            "--seed",
            "--seeds",
            "--only",
            "--steps",
            "--validation",
            "--out",
            "--device",
            "--workers",
        ),
        *("--checkpoint-every", "--activation-checkpointing", "--dry-run", "--json", "--jobs", "--on"),
        "--paper-points",
    },
    "predict": {
        *("--top", "--figure", "--precision", "--device", "--workers", "--json"),
        *("--shortcut", "--stride-on", "--pool", "--preprocessing", "--force"),
    },
    "claims": {"--json"},
    "report": {"--out", "--paper-points", "--json"},
    "bench": {
        *(
            "--model",
            "--batch",
            "--rounds",
            "--precision",
            "--data",
            "--workers",
            "--device",
            "--out",
            "--json",
            "--bn-group",
            "--recipe",
        ),
    },
}
GROUP_FLAGS = {
    "data prepare": {
        *("--train-archive", "--val-archive", "--devkit", "--out", "--json"),
        *("--shards", "--shorter-side", "--quality", "--shard-size", "--workers"),
    },
    "data pack": {"--out", "--shorter-side", "--quality", "--shard-size", "--workers", "--json"},
    "data verify": {"--workers", "--json"},
    "data stats": {"--split", "--out", "--shorter-side", "--crop", "--resample", "--workers", "--json"},
    "recipes show": {"--json"},
    "recipes diff": {"--json"},
    "weights import": {"--out", "--preprocessing", "--shorter-side", "--crop", "--resample", "--classes", "--json"},
    "weights inspect": {"--json"},
    "weights export": {"--to", "--out", "--json"},
}


def test_every_verb_is_known() -> None:
    assert set(VERBS) == set(FLAGS)
    assert {f"{group} {verb}" for group, (_, verbs) in GROUPS.items() for verb in verbs} == set(GROUP_FLAGS)


@pytest.mark.parametrize("verb", [*FLAGS, *GROUP_FLAGS])
def test_the_flags_of_a_verb_are_these_and_no_torch_is_needed_to_say_so(verb: str) -> None:
    program = (
        "import sys\nfrom reslab.cli.app import run\n"
        f"code = run([*{verb.split()!r}, '--help'])\n"
        "print(code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["0", "False"]
    words = {word for line in done.stdout.splitlines() for word in line.split() if word.startswith("--")}
    shown = {word for word in words if not word.startswith("--no-") and word not in ("--help", "--version")}
    mentioned = {"--optim.lr"} if verb == "train" else set()
    assert shown | mentioned == {**FLAGS, **GROUP_FLAGS}[verb] | mentioned


def test_a_group_says_which_verbs_it_has(reslab: Command) -> None:
    for words in (("data",), ("data", "--help")):
        done = reslab(*words)
        assert done.returncode == 0
        assert all(verb in done.stdout for verb in GROUPS["data"][1])
    wrong = reslab("data", "verfy")
    assert wrong.returncode == 2
    assert len(wrong.stderr.strip().splitlines()) == 1


def test_help_and_version_need_neither_torch_nor_matplotlib() -> None:
    program = (
        "import sys\nfrom reslab.cli.app import run\nrun(['--help'])\nrun(['--version'])\n"
        "print(sorted({'torch', 'matplotlib', 'numpy', 'pydantic'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stderr) == []
    assert all(verb in done.stdout for verb in VERBS)


def test_the_package_says_its_version() -> None:
    import reslab

    done = subprocess.run([sys.executable, "-m", "reslab", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == reslab.__version__
    assert (Path(reslab.__file__).parent / "py.typed").exists()


def test_help_costs_less_than_0_4_seconds_of_processor_time() -> None:
    """Processor time of the best of five: what else the machine does must not decide."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "reslab", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.4


def test_a_letter_that_the_terminal_lacks_is_shown_by_its_number() -> None:
    program = (
        "import reslab.__main__ as m, reslab.cli.app as a\na.run = lambda _: print('\\u2713 caf\\xe9') or 0\nm.main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, r"\u2713 caf\xe9")


@pytest.mark.parametrize(
    ("words", "flag", "url"),
    [
        (("data", "pack", "photos", "--out", "s3://b/x"), "--out", "s3://b/x"),
        (("train", "--model", "cifar-resnet8", "--data", "s3://b/x", "--out=gs://b/y"), "--out", "gs://b/y"),
        (("data", "prepare", "imagenet", "--out", "x", "--devkit", "https://x/y"), "--devkit", "https://x/y"),
    ],
)
def test_a_url_is_no_path_to_write_to(
    words: tuple[str, ...], flag: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-m", "reslab", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"reslab: {flag} takes a path of this machine, and {url} is a URL\n"
    assert list(tmp_path.iterdir()) == []
