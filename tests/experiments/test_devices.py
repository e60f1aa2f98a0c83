import pytest
import torch

from reslab.core.errors import SpecError
from reslab.experiments.environment import choose_device, find_device


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine that seems to have two CUDA devices; which of them was made the present one."""
    present: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", present.append)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    return present


@pytest.mark.parametrize("name", ["tpu", "cpu:0", "cpu:x", "auto:1", "cuda:", "cuda:x", "cuda:-1", ""])
@pytest.mark.usefixtures("cuda")
def test_what_is_no_device_is_one_line(name: str) -> None:
    with pytest.raises(SpecError, match=rf"unknown device '{name}'.*choose from: auto, cpu, cuda"):
        choose_device(name)


def test_a_device_that_is_not_there_is_named(cuda: list[torch.device]) -> None:
    with pytest.raises(SpecError, match="--device cuda:2: torch finds 2 CUDA devices here"):
        choose_device("cuda:2")
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert cuda == [torch.device("cuda", 1)]


@pytest.mark.usefixtures("cuda")
def test_a_rival_finds_its_device_and_torch_stays_as_it_starts() -> None:
    assert find_device("auto") == torch.device("cuda")
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == (False, True)
    choose_device("auto")
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == (True, False)
