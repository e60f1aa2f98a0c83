"""The command line as a user runs it: in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]


@pytest.fixture(scope="session")
def reslab() -> Command:
    def run(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Result:
        arguments: Sequence[str] = [sys.executable, "-m", "reslab", *(str(word) for word in words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.run(arguments, capture_output=True, text=True, cwd=cwd, env=environment, check=False)

    return run


@pytest.fixture(scope="session")
def finished(reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny network."""
    out = tmp_path_factory.mktemp("cli") / "run"
    words = ("--model", "cifar-resnet8", "--width", 4, "--data", "embedded", "--steps", 6, "--batch", 32)
    done = reslab("train", *words, "--evaluate-every", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    return out
