import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from reslab.core.errors import TrainingError
from reslab.core.experiment import ModelSpec, Recipe
from reslab.experiments import memory
from reslab.experiments.bench.pictures import random_pictures
from reslab.experiments.feed import Feed
from reslab.experiments.memory import advice, can_recompute, fits, within_memory
from reslab.experiments.networks import build
from reslab.experiments.session import Session, begin

CPU = torch.device("cpu")
LIMITED = """
import re, resource, sys
import torch
from reslab.core.errors import TrainingError
from reslab.experiments.bench.pictures import random_pictures
from reslab.experiments.memory import fits, within_memory
from reslab.experiments.session import advance
from reslab.training.loop import Watch
from tests.experiments.test_memory import session_of

def peak():
    return 1024 * int(re.search(r"VmPeak:\\s+(\\d+)", open("/proc/self/status").read())[1])

torch.set_num_threads(1)
torch.backends.mkldnn.enabled = False  # its compiler of kernels crashes where memory is short
session = session_of("cifar-resnet14", batch=64, group=64, width=8)
session.net.checkpoint_activations(on=sys.argv[2] == "recomputed")
needs = {}
low, high = map(int, sys.argv[1].split("-"))
for group in (low, high):
    assert fits(session, group)
    needs[group] = peak()
limit = (needs[low] + needs[high]) // 2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    with within_memory(session, "cifar-resnet14, width 8"):
        advance(session, random_pictures(64, 32, 10), 0, Watch(), "eager")
except TrainingError as error:
    print(error)
"""


def session_of(name: str = "cifar-resnet8", batch: int = 32, group: int = 32, width: int = 8) -> Session:
    pictures = random_pictures(batch, 32, 10)
    recipe = Recipe(steps=2, batch=batch, bn_group=group, precision="fp32")
    return begin(build(ModelSpec(name=name, width=width)), pictures, recipe, Feed(CPU))


@pytest.fixture
def session() -> Session:
    return session_of()


def trained_under_a_limit(between: str, recomputed: str = "kept") -> str:
    """What is said where the process may take no more than lies between the needs of two groups."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, between, recomputed],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"MALLOC_MMAP_THRESHOLD_": "16384", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ASKED = "cifar-resnet14, width 8 in groups of 64, batch 64, does not fit into the memory of cpu: "


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and limits the address space")
@pytest.mark.parametrize(
    ("between", "recomputed", "says"),
    [
        ("32-64", "kept", "--activation-checkpointing would (it changes no number), or reslab train --bn-group 32"),
        pytest.param("16-32", "recomputed", "reslab train --bn-group 16 would", marks=pytest.mark.slow),
    ],
)
def test_a_real_allocator_that_refuses_is_answered_by_what_really_fits(
    between: str, recomputed: str, says: str
) -> None:
    assert trained_under_a_limit(between, recomputed) == ASKED + says


def needing(monkeypatch: pytest.MonkeyPatch, budget: float) -> list[tuple[int, bool]]:
    """A device on which a picture needs 1, and a quarter of it with recomputation; what was tried on it."""
    tried: list[tuple[int, bool]] = []

    def fitting(_session: Session, group: int, *, recompute: bool = False) -> bool:
        tried.append((group, recompute))
        return group * (0.25 if recompute else 1) <= budget

    monkeypatch.setattr(memory, "fits", fitting)
    return tried


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (20, "--activation-checkpointing would (it changes no number), or reslab train --bn-group 16"),
        (8, "--activation-checkpointing would (it changes no number), or reslab train --bn-group 8"),
        (2, "reslab train --bn-group 2 would"),
        (1.9, "reslab train --activation-checkpointing --bn-group 4 would"),
        (0.4, "nor does any smaller group, down to 2 pictures"),
    ],
)
def test_the_line_names_what_changes_no_number_first(
    monkeypatch: pytest.MonkeyPatch, session: Session, budget: float, says: str
) -> None:
    needing(monkeypatch, budget)
    assert advice(session, "net") == f"net in groups of 32, batch 32, does not fit into the memory of cpu: {says}"


def test_groups_are_halved_and_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = needing(monkeypatch, 0)
    advice(session_of(batch=60, group=30), "net")
    assert tried == [(30, False), (30, True), (15, False), (5, False), (15, True), (5, True)]


def test_what_fits_alone_is_not_held_to_be_too_large(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    needing(monkeypatch, 32)
    line = advice(session, "net")
    assert line.startswith("the memory of cpu ran out, although net in groups of 32, batch 32, fits alone: ")


@pytest.mark.parametrize("recompute", [False, True])
def test_trying_changes_nothing(session: Session, recompute: bool) -> None:  # noqa: FBT001
    before = {name: tensor.clone() for name, tensor in session.net.state_dict().items()}
    generator = torch.get_rng_state()
    assert fits(session, 8, recompute=recompute)
    after = session.net.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in session.net.parameters())
    assert session.training.optimizer.state == {}
    assert torch.equal(torch.get_rng_state(), generator)
    assert can_recompute(session)


class Greedy(nn.Module):
    """Passes so many pictures and refuses more."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error, self.passed = most, error, list[int]()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.passed.append(len(images))
        if len(images) > self.most:
            raise self.error
        return images


@pytest.fixture
def greedy(session: Session) -> Iterator[Greedy]:
    greedy = Greedy(4, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    session.net.conv1.register_forward_pre_hook(lambda _layer, given: greedy(*given))  # type: ignore[operator, union-attr]
    return greedy


def test_two_groups_are_passed_so_that_the_second_meets_the_first_one_s_gradients(
    session: Session, greedy: Greedy
) -> None:
    assert fits(session, 4)
    assert greedy.passed == [4, 4]
    assert not fits(session, 8)
    assert greedy.passed == [4, 4, 8]


@pytest.mark.usefixtures("greedy")
def test_a_device_s_own_error_becomes_one_line(session: Session) -> None:
    message = r"^net in groups of 32, batch 32, does not fit into the memory of cpu: reslab train --bn-group 4 would$"
    with pytest.raises(TrainingError, match=message), within_memory(session, "net"):
        session.net(torch.zeros(32, 3, 32, 32))


def test_other_errors_pass_through(session: Session, greedy: Greedy) -> None:
    with pytest.raises(RuntimeError, match=r"^a mistake$"), within_memory(session, "net"):
        raise RuntimeError("a mistake")
    greedy.error = RuntimeError("another mistake")
    with pytest.raises(RuntimeError, match=r"^another mistake$"):
        fits(session, 8)
    with within_memory(session, "net"):
        pass


def test_activation_checkpointing_is_not_advised_where_it_is_on_or_has_no_effect(session: Session) -> None:
    assert can_recompute(session)
    session.net.checkpoint_activations()  # type: ignore[operator]
    assert not can_recompute(session)
    session.net.checkpoint_activations(on=False)  # type: ignore[operator]
    session.training.forward = lambda images: session.net(images)
    assert not can_recompute(session)
