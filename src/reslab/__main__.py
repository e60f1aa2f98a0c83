"""``python -m reslab``, the same program as ``reslab``."""

import io
import sys

from reslab.core.heap import keep_freed_memory
from reslab.core.process import end_when_interrupted_in_an_import


def main() -> None:
    """Run the command line and exit with its code; a terminal that lacks a letter shows its number."""
    end_when_interrupted_in_an_import()
    from reslab.cli.app import run

    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
