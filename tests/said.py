"""What a command said: its answer, or the one line of a mistake; and a terminal to say it to."""

import io
import json
import subprocess
from typing import Any


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON document of a command that did what it was asked."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def one_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """All that a command said that did not: one line on standard error, of letters alone."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("reslab: ")
    assert line.isprintable()
    return line


def bare_line(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The same without the program's name."""
    return one_line(done, code).removeprefix("reslab: ")


class Terminal(io.StringIO):
    """Where a person reads."""

    def isatty(self) -> bool:
        return True
