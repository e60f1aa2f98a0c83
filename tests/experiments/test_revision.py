import shutil
import subprocess
from pathlib import Path

import pytest

from reslab.experiments.revision import revision_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def committed(folder: Path) -> str:
    """A repository with a package in it; its revision."""
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("one = 1\n")
    (folder / "README.md").write_text("readme\n")
    words = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*words, *command], check=True)
    return subprocess.run([*words, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_every_change_of_the_source_is_another_revision_and_nothing_else_is(tmp_path: Path) -> None:
    commit, source = committed(tmp_path), tmp_path / "package"
    (tmp_path / "README.md").write_text("another readme\n")
    assert revision_of(source) == commit
    seen = {commit}
    for number in (2, 3):
        (source / "__init__.py").write_text(f"one = {number}\n")
        seen.add(changed := str(revision_of(source)))
        assert changed.startswith(f"{commit}-dirty-")
        assert changed == revision_of(source)
    assert len(seen) == 3


def test_what_git_does_not_track_has_no_revision(tmp_path: Path) -> None:
    committed(tmp_path)
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "__init__.py").write_text("")
    assert revision_of(tmp_path / "installed") is None
