import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from reslab.core.errors import RunError, StorageError
from reslab.core.files import (
    canonical_json,
    refilled,
    sha256_file,
    storing,
    whole_folder,
    write_bytes,
    write_json,
    write_text,
)


def refusing(code: int) -> object:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "Ö")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\xc3\x96"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_can_be_read_by_whom_the_user_lets(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "x", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def test_a_second_write_replaces_the_first_and_never_opens_it(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write_bytes(target, b"old")
    with target.open("rb") as reader:
        write_bytes(target, b"new")
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new"


def test_json_keeps_its_keys_order_and_ends_in_a_line_break(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": [0.5, None]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["b", "a"]
    assert text.endswith("}\n")


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_canonical_json_sorts_keys_at_every_level() -> None:
    assert canonical_json({"b": {"d": 1, "c": 2}, "a": 0.1}) == '{"a":0.1,"b":{"c":2,"d":1}}'


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_a_full_disk_is_told_with_what_is_needed_and_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    write_bytes(target, b"old")
    monkeypatch.setattr(os, "fsync", refusing(errno.ENOSPC))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1536))
    with pytest.raises(StorageError) as failure:
        write_bytes(target, bytes(3 * 2**20))
    assert str(failure.value) == f"the disk is full: cannot write {target}; 3.0 MiB are needed, 1.5 KiB are free"
    assert failure.value.exit_code == 1
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_spent_quota_is_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"^the disk is full: cannot write .*, \S+ \S+ are free$"),
        storing(tmp_path / "not" / "there" / "yet"),
    ):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))


def test_a_file_that_may_not_be_so_large_is_no_full_disk(tmp_path: Path) -> None:
    says = rf"^cannot write {tmp_path}: File too large$"
    with pytest.raises(StorageError, match=says), storing(tmp_path, needed=5):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def test_a_missing_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", refusing(errno.EACCES))
    with pytest.raises(StorageError) as failure:
        write_bytes(tmp_path / "x", b"1")
    assert str(failure.value) == f"cannot write {tmp_path / 'x'}: Permission denied"


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^cannot write .*file/x: (File exists|Not a directory)$"):
        write_bytes(tmp_path / "file" / "x", b"1")


def test_a_failing_rename_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", refusing(errno.EROFS))
    with pytest.raises(StorageError, match=r"cannot write .*x: Read-only file system"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "x"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


NAMES = ("facts", "a", "b")


def fill(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_folder_is_filled_anew_and_what_is_not_of_it_stays(tmp_path: Path) -> None:
    target = tmp_path / "scores"
    with refilled(target, NAMES) as partial:
        fill(partial, facts="1", a="1", b="1")
    (target / "mine").write_text("mine")
    with refilled(target, NAMES) as partial:
        fill(partial, facts="2", a="2")
    assert contents(target) == {"facts": "2", "a": "2", "mine": "mine"}
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_could_not_be_filled_is_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "scores"
    with refilled(target, NAMES) as partial:
        fill(partial, facts="1", a="1")

    def broken_off() -> None:
        with refilled(target, NAMES) as partial:
            fill(partial, facts="2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert contents(target) == {"facts": "1", "a": "1"}
    assert list(tmp_path.iterdir()) == [target]


def test_what_says_that_a_folder_is_whole_goes_first_and_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "scores"
    with refilled(target, NAMES) as partial:
        fill(partial, facts="1", a="1", b="1")
    moved: list[str] = []
    replace = Path.replace

    def failing(self: Path, to: Path) -> Path:
        assert not (target / "facts").exists()
        moved.append(self.name)
        if self.name == "a":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(StorageError, match=r"cannot write .*scores: Input/output error"), refilled(target, NAMES) as p:
        fill(p, facts="2", a="2", b="2")
    assert moved == ["b", "a"]
    assert "facts" not in contents(target)


def write_file(target: Path) -> None:
    write_bytes(target, b"1")


def write_folder(target: Path) -> None:
    with whole_folder(target) as partial:
        fill(partial, facts="1")


def fill_folder(target: Path) -> None:
    with refilled(target, NAMES) as partial:
        fill(partial, facts="1")


@pytest.mark.parametrize("write", [write_file, write_folder, fill_folder])
def test_what_a_process_that_was_killed_left_half_written_is_removed(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom reslab.core import files\n"
        "from tests.core import test_files\n"
        "files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "getattr(test_files, sys.argv[1])(Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", program, write.__name__, str(tmp_path / "scores")], check=False)
    left = [path.name for path in tmp_path.iterdir()]
    begin = f".partial-scores-{platform.node()}-"
    assert len(left) == 1
    assert left[0].startswith(begin)
    others = [f"{begin}{os.getpid()}-cd", left[0].replace(platform.node(), "elsewhere"), left[0].replace("sc", "fl")]
    for name in others:
        (tmp_path / name).mkdir()
    write(tmp_path / "scores")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "scores"])


def test_a_file_and_the_root_are_no_folders_to_fill(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place, why in ((tmp_path / "file", "it is a file"), (Path("/"), "it is the root")):
        with pytest.raises(RunError, match=why), refilled(place, NAMES):
            pass


def test_folders_above_that_were_made_for_nothing_go(tmp_path: Path) -> None:
    def broken_off() -> None:
        with refilled(tmp_path / "made" / "scores", NAMES):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert list(tmp_path.iterdir()) == []
