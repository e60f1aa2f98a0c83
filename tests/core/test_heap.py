import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reslab.core.experiment import Experiment, ModelSpec, Recipe
from reslab.core.heap import CHOSEN
from reslab.experiments.job import Job
from reslab.experiments.queue.task import Task

ROUNDS, BLOCK, PAGE = 10, 40 * 2**20, 4096
FAULTS = f"""
import contextlib, io, json, os, resource, sys
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        bytearray(b"x") * {BLOCK}
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""
KEEP = "from reslab import keep_freed_memory; kept = keep_freed_memory()"
LINE = """
from reslab.__main__ import main
sys.argv = ["reslab", "list", "data"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
"""
CHILD = """
from reslab.experiments.queue.child import main
sys.argv, sys.stdin = ["child", str(os.getppid())], io.StringIO(sys.argv[1])
main()
"""
WORKER = """
from pathlib import Path
from reslab.experiments.queue.on_ray import carry_out_there
from reslab.experiments.queue.shared import mark
carry_out_there(json.loads(sys.argv[1]), 1, mark(Path(sys.argv[2])))
"""
ALL = BLOCK // PAGE * ROUNDS
glibc = pytest.mark.skipif(not hasattr(os, "confstr") or "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="glibc")


def said_by(script: str, *words: str, **environ: str) -> str:
    own = {key: value for key, value in os.environ.items() if key not in CHOSEN}
    command = [sys.executable, "-c", FAULTS + script, *words]
    return subprocess.run(command, env=own | environ, check=True, capture_output=True, text=True).stdout


def faults_after(prelude: str, *words: str, **environ: str) -> int:
    return int(said_by(f"{prelude}\nfaults()\nprint(faults())", *words, **environ))


@glibc
def test_each_page_costs_a_fault_every_time_until_freed_memory_is_kept() -> None:
    assert faults_after("") > 0.9 * ALL
    assert faults_after(KEEP) < 0.01 * ALL


@glibc
@pytest.mark.parametrize("prelude", [LINE, CHILD, WORKER])
def test_every_process_of_reslab_keeps_it(prelude: str, tmp_path: Path) -> None:
    experiment = Experiment(model=ModelSpec(name="cifar-resnet8"), data="embedded", recipe=Recipe(steps=1))
    task = Task(experiment, Job(data=str(tmp_path / "nowhere"), out=tmp_path / "run"))
    assert faults_after(prelude, json.dumps(task.order()), str(tmp_path / "queue")) < 0.01 * ALL


@glibc
@pytest.mark.parametrize("name", CHOSEN)
def test_the_users_own_settings_stand(name: str) -> None:
    value = "glibc.malloc.arena_max=2" if name == "GLIBC_TUNABLES" else str(2**17)
    assert said_by(f"{KEEP}; print(kept)", **{name: value}) == "False\n"


@glibc
def test_what_is_kept_can_be_handed_back() -> None:
    resident = "import re; resident = lambda: int(re.search('VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    script = f"{KEEP}\n{resident}\nfaults(); full = resident()\nfrom reslab.core.heap import hand_back; hand_back()"
    assert int(said_by(f"{script}\nprint(full - resident())")) > 0.9 * BLOCK / 1024


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from reslab.core import heap

    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())
    assert not heap.keep_freed_memory()
    heap.hand_back()
