import ast
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reslab

PACKAGE = Path(reslab.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
STAGES: tuple[tuple[str, ...], ...] = (  # a room may import from the stages below its own
    ("core",),
    ("transforms",),
    ("models", "data", "training", "evaluation", "analysis", "weights"),
    ("experiments",),
    ("report", "serving"),
    ("cli",),
)
RANKS = {room: rank for rank, rooms in enumerate(STAGES) for room in rooms}
BESIDE = {("analysis", "models"), ("weights", "models")}  # the only neighbours on one stage that may meet
ENTRANCES = {"__init__", "__main__"}  # nothing imports them; they may import every room
ALLOWED = {
    "core": (*sys.stdlib_module_names, "pydantic", "pydantic_core", "reslab.core", "reslab._version"),
    "models": (*sys.stdlib_module_names, "torch", "reslab.models", "reslab.core.errors", "reslab.core.experiment.Init"),
}


def module_of(path: Path) -> str:
    parts = ["reslab", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(source: str, module: str, package: str) -> Iterator[str]:
    """Every name that ``source`` imports, with its module in front, wherever in the file."""
    for node in ast.walk(ast.parse(source, module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{home}.{alias.name}" for alias in node.names)


def offence(module: str, imported: str) -> str | None:
    """Why ``module`` may not import ``imported``, or ``None`` where it may."""
    room, other = room_of(module), room_of(imported)
    if room in ALLOWED and not any(f"{imported}.".startswith(f"{prefix}.") for prefix in ALLOWED[room]):
        return f"{module} imports {imported}, which {room} never may"
    if not f"{imported}.".startswith("reslab.") or room in ENTRANCES or other in (room, "_version"):
        return None
    if other not in RANKS:
        return f"{module} imports {imported}, which is in no room"
    if RANKS[other] < RANKS[room] or (room, other) in BESIDE:
        return None
    return f"{module} imports {imported} against the order of the rooms"


def offences(source: str, module: str, package: str) -> list[str]:
    return [found for name in imports(source, module, package) if (found := offence(module, name))]


def package_of(path: Path) -> str:
    module = module_of(path)
    return module.removesuffix(".__init__") if path.name == "__init__.py" else module.rpartition(".")[0]


def loaded_by(statements: str) -> set[str]:
    code = f"import sys\n{statements}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def ids(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_every_import_keeps_the_order_of_the_rooms(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8"), module_of(path), package_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("reslab.core.spec", "import torch"),
        ("reslab.core.spec", "from numpy.typing import NDArray"),
        ("reslab.core.spec", "def f():\n    from reslab.models.blocks import Block"),
        ("reslab.core.spec", "import reslab"),
        ("reslab.models.blocks", "from reslab.core.experiment import Recipe"),
        ("reslab.models.blocks", "from reslab.core import units"),
        ("reslab.models.blocks", "import numpy as np"),
        ("reslab.models.blocks", "from ..data import loader"),
        ("reslab.data.loader", "from reslab.training.loop import fit"),
        ("reslab.data.loader", "from reslab import models"),
        ("reslab.transforms.cifar", "from reslab.data.pictures import Pictures"),
        ("reslab.evaluation.scores", "from reslab.models.resnet import resnet"),
        ("reslab.experiments.api", "from reslab.report.page import write"),
        ("reslab.report.page", "from reslab.serving.app import app"),
        ("reslab.report.page", "import reslab.cli.app"),
        ("reslab.training.loop", "from reslab import ResNet"),
        ("reslab.training.loop", "from reslab.utils import chunk"),
        ("reslab.cli.app", "from reslab.__main__ import main"),
    ],
)
def test_the_wall_reports_an_offending_import(module: str, source: str) -> None:
    found = offences(source, module, module.rpartition(".")[0])
    assert len(found) == 1
    assert found[0].startswith(f"{module} imports ")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("reslab.core.spec", "import json, tomllib\nfrom pydantic_core import ErrorDetails"),
        ("reslab.models.blocks", "from reslab.core.errors import SpecError\nfrom torch.nn import functional as F"),
        ("reslab.models.blocks", "from . import init"),
        ("reslab.analysis.responses", "from reslab.models.blocks import Block"),
        ("reslab.weights.store", "from reslab.models.resnet import ResNet"),
        ("reslab.experiments.api", "from reslab._version import __version__\nfrom reslab.data.source import load"),
        ("reslab.cli.app", "from reslab.core.errors import ReslabError\nimport reslab.report.page"),
        ("reslab.__main__", "from reslab.cli.app import run"),
    ],
)
def test_the_wall_lets_an_honest_import_through(module: str, source: str) -> None:
    assert offences(source, module, module.rpartition(".")[0]) == []


def test_every_folder_of_the_package_is_a_room_of_the_order() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert {"core", "models", "data", "transforms"} <= rooms <= RANKS.keys()


def test_nothing_slips_past_the_wall_by_importing_a_name_made_at_run_time() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if "import_module" in (text := path.read_text(encoding="utf-8")) or "__import__" in text
    }
    assert users - {"__init__.py"} == set()


@pytest.mark.parametrize("room", ["core", "report"])
def test_a_room_that_only_reads_never_loads_torch(room: str) -> None:
    modules = [module_of(path) for path in FILES if path.is_relative_to(PACKAGE / room)]
    loaded = loaded_by("\n".join(f"import {module}" for module in modules))
    assert set(modules) <= loaded
    assert "torch" not in loaded


def test_importing_reslab_loads_nothing_else() -> None:
    loaded = loaded_by("import reslab")
    assert {name for name in loaded if name.split(".")[0] == "reslab"} == {"reslab", "reslab._version"}
    assert not loaded & {"torch", "numpy", "pydantic", "matplotlib"}


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_file_and_no_function_grows_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60] == []


def test_no_module_is_named_for_nothing() -> None:
    names = {part for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert names & {"utils", "util", "helpers", "helper", "common", "misc"} == set()


def test_every_public_name_resolves_to_its_home() -> None:
    assert set(reslab.__all__) == {*reslab._HOMES, "__version__"}
    for name, home in reslab._HOMES.items():
        assert getattr(reslab, name) is getattr(importlib.import_module(f"reslab.{home}"), name)
        defined_in = getattr(reslab, name).__module__
        assert defined_in == f"reslab.{home}"
    assert dir(reslab) == sorted(reslab.__all__)


def test_type_checkers_see_the_homes_that_python_uses() -> None:
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    seen = {name for name in imports(source, "reslab", "reslab") if name.startswith("reslab.")}
    homes = {f"reslab.{home}.{name}" for name, home in reslab._HOMES.items()}
    assert seen == homes | {"reslab._version.__version__"}


def test_a_name_that_reslab_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'reslab' has no attribute 'resnet51'"):
        _ = reslab.resnet51
