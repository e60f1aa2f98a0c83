import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import reslab
from reslab.core.experiment import Optimizer, Precision
from reslab.models.resnet import cifar_resnet
from reslab.training import precision
from reslab.training.optimizer import make_optimizer
from reslab.training.precision import Resolved, autocast, processor_flags, resolve_precision
from reslab.training.step import Batch, Training, train_step
from reslab.training.window import Window

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"avx2", "avx512_bf16"}, "bf16"),
        ({"amx_bf16"}, "bf16"),
        ({"asimd", "bf16"}, "bf16"),
        ({"avx2", "avx512f"}, "fp32"),
        (set(), "fp32"),
    ],
)
def test_auto_takes_bf16_where_the_processor_has_it(
    flags: set[str], wanted: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset(flags))
    assert resolve_precision("auto", CPU) == wanted


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
@pytest.mark.parametrize("flags", [frozenset(), frozenset({"amx_bf16"})])
def test_what_was_asked_for_is_taken_whatever_the_processor_is(
    asked: Precision, flags: frozenset[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    assert resolve_precision(asked, CPU) == asked


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_asks_a_cuda_device_for_its_capability(
    capability: tuple[int, int], wanted: Resolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert resolve_precision("auto", torch.device("cuda")) == wanted


def test_a_device_that_is_neither_gets_fp32() -> None:
    assert resolve_precision("auto", torch.device("meta")) == "fp32"


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx512_bf16 sse", "Features\t: fpu avx512_bf16 sse"])
def test_the_flags_are_those_of_the_first_line_that_lists_them(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\nprocessor\t: 1\nflags\t: other\n")
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "cpuinfo")
    assert processor_flags() == {"fpu", "avx512_bf16", "sse"}


def test_without_a_cpuinfo_there_are_no_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "Path", lambda _: tmp_path / "none")
    assert processor_flags() == frozenset()


def stepped(how: Resolved) -> tuple[Training, Tensor, set[torch.dtype]]:
    net = cifar_resnet(8, width=4)
    training = Training(net, make_optimizer(net, Optimizer()), Window(CPU))
    draw = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(8, 3, 12, 12, generator=draw), torch.arange(8), torch.arange(8))
    seen: set[torch.dtype] = set()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    for _ in range(2):
        loss, _ = train_step(training, batch, 4, how)
    return training, loss, seen


def test_bf16_computes_in_bf16_and_keeps_everything_else_in_fp32() -> None:
    training, loss, seen = stepped("bf16")
    assert seen == {torch.bfloat16}
    momentum = [training.optimizer.state[parameter]["momentum_buffer"] for parameter in training.net.parameters()]
    statistics = [buffer for buffer in training.net.buffers() if buffer.is_floating_point()]
    assert {tensor.dtype for tensor in [*training.net.parameters(), *momentum, *statistics, loss]} == {torch.float32}


def test_both_precisions_train_alike_but_not_the_same() -> None:
    fp32, in_fp32, seen = stepped("fp32")
    bf16, in_bf16, _ = stepped("bf16")
    assert seen == {torch.float32}
    assert not torch.equal(in_fp32, in_bf16)
    torch.testing.assert_close(in_fp32, in_bf16, rtol=0.1, atol=0.1)
    assert any(not torch.equal(a, b) for a, b in zip(fp32.net.parameters(), bf16.net.parameters(), strict=True))


def test_autocast_is_off_in_fp32() -> None:
    with autocast(CPU, "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("call", [r"\.backward\(", r"\.step\("])
def test_one_line_of_the_package_goes_backward_and_one_updates(call: str) -> None:
    package = Path(reslab.__file__).parent
    files = set(package.rglob("*.py")) - set(package.glob("experiments/bench/*.py"))  # bare rivals have their own
    lines = [line for file in files for line in file.read_text().splitlines() if re.search(call, line)]
    assert len(lines) == 1, lines
