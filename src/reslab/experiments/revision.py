"""Which code it is: the git revision of a source tree, and what was changed in it since."""

import hashlib
import subprocess
from pathlib import Path
from typing import Final

DIGITS: Final = 12  # of a digest of the changes: enough to tell two apart
PATIENCE: Final = 10.0  # seconds


def revision_of(source: Path) -> str | None:
    """The revision of ``source``, a folder of Python, with a mark and a digest of its changes where it has any.

    Args:
        source: holds ``__init__.py``.

    Returns:
        None where that file is not tracked by git: the source is installed, or a copy.
    """
    try:
        _git(source, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(source, "rev-parse", "HEAD").decode().strip()
        changes = _git(source, "diff", "--no-ext-diff", "--no-color", "HEAD", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty-{hashlib.sha256(changes).hexdigest()[:DIGITS]}" if changes else commit


def _git(folder: Path, *words: str) -> bytes:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout
