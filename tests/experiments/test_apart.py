import operator
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from reslab.core.errors import SpecError, TrainingError
from reslab.core.experiment import Recipe
from reslab.core.heap import keep_freed_memory
from reslab.experiments.bench.apart import Apart
from reslab.experiments.bench.asked import Asked
from reslab.experiments.bench.standard import rival_sides

FAULTS = "__import__('resource').getrusage(0).ru_minflt"
FILLED = "[len(b'x' * 2**26) for _ in range(4)]"  # above glibc's greatest threshold for blocks that are handed back
PAGES = 4 * 2**26 / 4096


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    sides = {
        "process": os.getpid,
        "threads": torch.get_num_threads,
        "faults": partial(eval, f"-{FAULTS} + 0 * sum({FILLED}) + {FAULTS}"),
    }
    with Apart(partial(dict, sides)) as process:
        yield process


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_turns_are_had_in_one_other_process_with_as_many_threads(apart: Apart) -> None:
    assert list(apart.sides) == ["process", "threads", "faults"]
    first, second = (apart.sides["process"]() for _ in range(2))
    assert first == second != os.getpid()
    assert apart.sides["threads"]() == torch.get_num_threads()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_there_freed_memory_is_handed_back_whatever_this_process_does(apart: Apart) -> None:
    if not keep_freed_memory():
        pytest.skip("this process cannot keep freed memory either")
    own = partial(eval, f"-{FAULTS} + 0 * sum({FILLED}) + {FAULTS}")
    own()
    assert own() < 0.5 * PAGES < apart.sides["faults"]()


def test_its_process_ends_with_it() -> None:
    with Apart(partial(dict, process=os.getpid)) as process:
        number = int(process.sides["process"]())
        assert alive(number)
    assert not alive(number)


def test_an_error_of_a_side_is_raised_here() -> None:
    with Apart(partial(dict, wrong=partial(operator.truediv, 1, 0))) as process, pytest.raises(ZeroDivisionError):
        process.sides["wrong"]()


def test_a_mistake_in_making_them_is_raised_here() -> None:
    with pytest.raises(SpecError, match="unknown model 'resnet51'"):
        Apart(partial(rival_sides, Asked(model="resnet51", batch=2, rounds=1), Recipe(), 32))


def test_a_process_that_is_gone_is_named() -> None:
    kill = partial(signal.raise_signal, signal.SIGKILL)
    with Apart(partial(dict, kill=kill)) as process:
        for _ in range(2):
            with pytest.raises(TrainingError, match=r"^the rival's process ended: SIGKILL$"):
                process.sides["kill"]()
