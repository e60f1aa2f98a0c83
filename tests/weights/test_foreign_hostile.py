"""Files that anyone may have written: nothing in them runs, and what is wrong is said in one line."""

import ast
import contextlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.weights.damaged import DAMAGED, Damage, Write, older, packed, plain, safe
from tests.weights.hostile import ATTACKS, IMPORTED, Attack

import reslab
from reslab.core.errors import DataError
from reslab.weights.foreign import read_json, read_tensors

PACKAGE = Path(reslab.__file__).parent
SHUT = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False"}
UNPICKLERS = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that an attack makes when it works; a module can be imported that makes it too."""
    marker = tmp_path / "marker"
    (tmp_path / f"{IMPORTED}.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nanything = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, IMPORTED, raising=False)
    return marker


def trust(file: Path) -> None:
    """What a careless reader does."""
    try:
        torch.load(file, weights_only=False)
    except Exception:  # what is left of the file is no weights
        np.load(file, allow_pickle=True).get("weight")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.filterwarnings("ignore")
def test_each_attack_works_on_a_reader_that_trusts(attack: Attack, tmp_path: Path, marker: Path) -> None:
    attack.write(tmp_path / "weights.pth", marker)
    with contextlib.suppress(Exception):  # the attack has had its turn
        trust(tmp_path / "weights.pth")
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_nothing_in_a_file_is_run(attack: Attack, suffix: str, tmp_path: Path, marker: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    attack.write(file, marker)
    with pytest.raises(DataError, match="cannot read the weights in") as caught:
        read_tensors(file)
    assert not marker.exists()
    assert IMPORTED not in sys.modules
    line = str(caught.value)
    assert line.isprintable()
    assert "weights_only" not in line
    assert "allow_pickle" not in line


def test_what_the_file_would_have_run_is_named(tmp_path: Path, marker: Path) -> None:
    next(attack for attack in ATTACKS if attack.name == "posix-opcodes-zip").write(tmp_path / "x", marker)
    with pytest.raises(DataError, match=r"holds more than tensors: posix\.system, which was not run$"):
        read_tensors(tmp_path / "x")


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: damage.name)
def test_a_damaged_file_is_refused_in_one_line_and_without_warnings(damage: Damage, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    with warnings.catch_warnings(action="ignore"):
        damage.write(file)
    with pytest.raises(DataError) as caught:
        read_tensors(file)
    line = str(caught.value)
    assert line.isprintable()
    assert str(file) in line
    assert damage.says in line
    assert len(line) < 400 + len(str(file))


@pytest.mark.parametrize("write", [plain, older, safe, packed])
def test_whatever_bytes_change_it_is_read_or_refused(write: Write, tmp_path: Path) -> None:
    file, draw = tmp_path / "weights", np.random.default_rng(1)
    write(file)
    data, refused = file.read_bytes(), []
    for _ in range(150):
        changed = bytearray(data)
        for place in draw.integers(0, min(len(data), 300), draw.integers(1, 4)):
            changed[place] = draw.integers(256)
        file.write_bytes(changed)
        try:
            read_tensors(file)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(map(str.isprintable, refused))


@pytest.mark.parametrize(("make", "says"), [(Path.mkdir, "is a folder"), (lambda _path: None, "does not exist")])
def test_what_is_no_file_is_said_to_be_none(make: Callable[[Path], None], says: str, tmp_path: Path) -> None:
    make(tmp_path / "weights")
    with pytest.raises(DataError, match=f"weights {says}; give a file of weights"):
        read_tensors(tmp_path / "weights")


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 200_000, '{"a": ' * 200_000, "\ud800"])
def test_damaged_json_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(DataError) as caught:
        read_json(file)
    assert str(caught.value).isprintable()
    assert str(file) in str(caught.value)


def opened(path: Path) -> set[str]:
    """How pickles could be opened in a file: imports of what opens them, and torch's and NumPy's calls."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found |= {name for name in names if name.split(".")[0] in UNPICKLERS}
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in SHUT:
            found.add(ast.unparse(node))
    return found


def test_pickles_are_opened_in_one_place_only() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): opened(path) for path in PACKAGE.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == {"weights/foreign.py": {"torch.load", "np.load"}}


def test_where_they_are_opened_nothing_is_trusted() -> None:
    tree = ast.parse((PACKAGE / "weights" / "foreign.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in SHUT]
    assert len(calls) == 2
    for call in calls:
        assert SHUT[ast.unparse(call.func)] in map(ast.unparse, call.keywords)
