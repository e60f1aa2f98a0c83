"""The command line, run inside the test's process: torch is imported once, not once a command."""

import contextlib
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.weights.files import bring_in, write_files

from reslab.cli.app import run

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def reslab() -> Command:
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        arguments = [str(word) for word in words]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def finished(reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny network."""
    out = tmp_path_factory.mktemp("cli") / "run"
    words = ("--model", "cifar-resnet8", "--width", 4, "--data", "embedded", "--steps", 6, "--batch", 32)
    done = reslab("train", *words, "--evaluate-every", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of other libraries, narrow, and names of classes."""
    place = tmp_path_factory.mktemp("files")
    write_files(place)
    return place


@pytest.fixture(scope="module")
def brought(reslab: Command, files: Path) -> Path:
    """The torchvision file, brought in; nobody may change it."""
    return bring_in(reslab, files)
