"""``python -m reslab``, the same program as ``reslab``."""

import sys

from reslab.cli.app import run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
