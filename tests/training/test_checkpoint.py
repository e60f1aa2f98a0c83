import copy
import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import reslab
from reslab.core import files
from reslab.core.errors import CheckpointError, StorageError
from reslab.core.experiment import Optimizer
from reslab.models.resnet import cifar_resnet
from reslab.training import checkpoint
from reslab.training.checkpoint import Parts, newest, read, remove_orphans, save, steps
from reslab.training.optimizer import make_optimizer
from reslab.training.schedule import Progress
from reslab.training.state import facts_of, parts_of, restore
from reslab.training.step import Batch, Training, train_step
from reslab.training.window import Window

FILES = ("manifest.json", "model.safetensors", "momentum.safetensors", "state.json")


def parts(step: int) -> Parts:
    draw = torch.Generator().manual_seed(step)
    weights = torch.randn(4, 3, 3, 3, generator=draw).contiguous(memory_format=torch.channels_last)
    return {
        "model": {"conv.weight": weights, "seen": torch.tensor(step)},
        "momentum": {"conv.weight": torch.randn(4, 3, 3, 3, generator=draw)},
    }


def facts(step: int) -> dict[str, Any]:
    return {"step": step, "seconds": 0.1 * step, "warm_up_ended": None, "classes": ["cat", "dog"]}


def keep_two(folder: Path) -> None:
    for step in (4, 8):
        save(folder, step, parts(step), facts(step))


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def assert_holds(folder: Path, step: int, warnings: list[str]) -> None:
    found = newest(folder, warnings.append)
    assert found is not None
    assert found.facts == facts(step)
    assert {part: set(tensors) for part, tensors in found.parts.items()} == {
        part: set(tensors) for part, tensors in parts(step).items()
    }
    for part, tensors in parts(step).items():
        for name, tensor in tensors.items():
            assert bits(found.parts[part][name]) == bits(tensor)


def flip(path: Path, place: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= mask
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def test_what_was_saved_is_read_back_bit_for_bit(folder: Path) -> None:
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45, 2**-126])
    saved = {"model": {"special": special, "count": torch.tensor(2**62), "none": torch.empty(0, 3)}}
    path = save(folder, 3, saved, {"step": 3, "seconds": 0.1 + 0.2})
    found = read(path)
    assert path == folder / "step-3"
    assert found.facts == {"step": 3, "seconds": 0.1 + 0.2}
    for name, tensor in saved["model"].items():
        assert found.parts["model"][name].dtype == tensor.dtype
        assert found.parts["model"][name].shape == tensor.shape
        assert bits(found.parts["model"][name]) == bits(tensor)


def test_weights_in_channels_last_order_are_stored_as_the_same_numbers(folder: Path) -> None:
    weights = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    assert not weights.is_contiguous()
    found = read(save(folder, 1, {"model": {"weight": weights}}, {"step": 1}))
    assert torch.equal(found.parts["model"]["weight"], weights)


def trained(steps_: int) -> Training:
    net = cifar_resnet(8, width=4).to(memory_format=torch.channels_last)
    training = Training(net, make_optimizer(net, Optimizer()), Window(torch.device("cpu")))
    for step in range(steps_):
        draw = torch.Generator().manual_seed(step)
        batch = Batch(torch.randn(4, 3, 12, 12, generator=draw), torch.arange(4), torch.arange(4))
        loss, errors = train_step(training, batch, 4, "fp32")
        training.window.put(step, loss, errors)
        training.step += 1
    return training


def test_a_whole_training_goes_to_disk_and_back_into_a_fresh_one(folder: Path) -> None:
    training = trained(3)
    training.warm_up_ended, training.seconds = 2, 12.345678901234567
    training.plateau = Progress(drops=[100, 250], best=12.5, stale=2, errors=7, n=400)
    save(folder, 3, parts_of(training), facts_of(training))
    fresh = trained(0)
    restore(fresh, read(folder / "step-3"))
    plateau = {"drops": [100, 250], "best": 12.5, "stale": 2, "errors": 7, "n": 400}
    known = {"step": 3, "warm_up_ended": 2, "plateau": plateau, "seconds": 12.345678901234567}
    assert facts_of(fresh) == facts_of(training) == known
    assert fresh.plateau == training.plateau
    for part, tensors in parts_of(training).items():
        assert parts_of(fresh)[part].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(parts_of(fresh)[part][name], tensor), (part, name)
    weight = fresh.net.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    momentum = fresh.optimizer.state[weight]["momentum_buffer"]
    assert momentum.is_contiguous(memory_format=torch.channels_last)
    assert momentum.data_ptr() != weight.data_ptr()


def test_a_training_that_has_not_stepped_has_no_momentum_and_can_be_kept(folder: Path) -> None:
    training = trained(0)
    save(folder, 0, parts_of(training), facts_of(training))
    fresh = trained(2)
    found = read(folder / "step-0")
    assert found.parts["momentum"] == {}
    restore(fresh, found)
    assert fresh.step == 0


def test_a_checkpoint_of_a_version_that_heeded_no_plateaus_is_read(folder: Path) -> None:
    training = trained(1)
    facts = facts_of(training)
    del facts["plateau"]
    save(folder, 1, parts_of(training), facts)
    fresh = trained(0)
    restore(fresh, read(folder / "step-1"))
    assert (fresh.step, fresh.plateau) == (1, Progress())


def test_the_checkpoint_of_another_network_is_refused_by_name(folder: Path) -> None:
    training = trained(1)
    save(folder, 1, parts_of(training), facts_of(training))
    net = cifar_resnet(8, width=8)
    other = Training(net, make_optimizer(net, Optimizer()), Window(torch.device("cpu")))
    with pytest.raises(CheckpointError, match=r"step-1 is of another network: size mismatch for fc\.weight"):
        restore(other, read(folder / "step-1"))


def test_equal_tensors_make_equal_files(tmp_path: Path) -> None:
    first, second = (save(tmp_path / place, 8, copy.deepcopy(parts(8)), facts(8)) for place in ("a", "b"))
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir()) == sorted(FILES)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_the_memory_format_leaves_no_trace_in_the_file(tmp_path: Path) -> None:
    weights = torch.randn(4, 3, 3, 3)
    other = weights.contiguous(memory_format=torch.channels_last)
    first, second = (
        save(tmp_path / place, 1, {"model": {"w": tensor}}, {}) for place, tensor in (("a", weights), ("b", other))
    )
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_the_newest_two_are_kept(folder: Path) -> None:
    for step in (1, 2, 9, 10, 100):
        save(folder, step, parts(step), facts(step))
    assert sorted(path.name for path in folder.iterdir()) == ["step-10", "step-100"]
    assert steps(folder) == [100, 10]


@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (3, [5, 4, 3]), (9, [5, 4, 3, 2, 1])])
def test_as_many_are_kept_as_were_asked_for(keep: int, left: list[int], folder: Path) -> None:
    for step in range(1, 6):
        save(folder, step, parts(step), facts(step), keep)
    assert steps(folder) == left


def test_where_there_is_none_there_is_none(folder: Path) -> None:
    assert newest(folder, pytest.fail) is None
    folder.mkdir()
    (folder / "step-x").mkdir()
    assert newest(folder, pytest.fail) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_one_flipped_bit_is_noticed_and_the_checkpoint_before_is_used(name: str, place: float, folder: Path) -> None:
    keep_two(folder)
    file = folder / "step-8" / name
    flip(file, int(place * file.stat().st_size))
    warnings: list[str] = []
    assert_holds(folder, 4, warnings)
    assert len(warnings) == 1
    assert str(folder / "step-8") in warnings[0]
    assert warnings[0].endswith("; using step-4 instead")


@pytest.mark.parametrize("mask", [1, 32, 128])
def test_no_flipped_bit_of_a_manifest_makes_anything_else_of_a_checkpoint(mask: int, folder: Path) -> None:
    path = save(folder, 8, parts(8), facts(8))
    manifest = path / "manifest.json"
    noticed, size = 0, manifest.stat().st_size
    for place in range(size):
        flip(manifest, place, mask)
        try:
            found = read(path)
        except CheckpointError:
            noticed += 1
        else:
            assert found.facts == facts(8)
            assert found.parts.keys() == parts(8).keys()
        flip(manifest, place, mask)
    assert noticed > 0.9 * size
    assert read(path).facts == facts(8)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_truncated_file_is_noticed(name: str, left: float, folder: Path) -> None:
    keep_two(folder)
    file = folder / "step-8" / name
    file.write_bytes(file.read_bytes()[: int(left * file.stat().st_size)])
    warnings: list[str] = []
    assert_holds(folder, 4, warnings)
    assert ["step-8" in warning and "step-4" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(name: str, folder: Path) -> None:
    keep_two(folder)
    (folder / "step-8" / name).unlink()
    warnings: list[str] = []
    assert_holds(folder, 4, warnings)
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"sha256": 3}', '{"sha256": null}', '{"sha256": {"a": 1}}', "\0\xff"]
)
def test_a_manifest_of_rubbish_is_noticed(text: str, folder: Path) -> None:
    keep_two(folder)
    (folder / "step-8" / "manifest.json").write_bytes(text.encode("latin-1"))
    warnings: list[str] = []
    assert_holds(folder, 4, warnings)
    assert len(warnings) == 1


def test_every_damaged_checkpoint_on_the_way_is_named(folder: Path) -> None:
    for step in (4, 8, 12):
        save(folder, step, parts(step), facts(step), keep=3)
    for step in (8, 12):
        flip(folder / f"step-{step}" / "model.safetensors", -1)
    warnings: list[str] = []
    assert_holds(folder, 4, warnings)
    assert [re.findall(r"step-\d+", warning)[0] for warning in warnings] == ["step-12", "step-8"]


def test_where_all_are_damaged_the_error_names_all(folder: Path) -> None:
    keep_two(folder)
    for step in (4, 8):
        flip(folder / f"step-{step}" / "state.json", 5)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole: .*step-8.*differs.*step-4.*differs"):
        newest(folder, pytest.fail)


@pytest.mark.parametrize("keep", [1, 2])
def test_damaged_checkpoints_do_not_take_the_places_of_whole_ones(keep: int, folder: Path) -> None:
    keep_two(folder)
    flip(folder / "step-8" / "model.safetensors", -1)
    save(folder, 6, parts(6), facts(6), keep)
    assert_holds(folder, 6, [])
    assert 6 in steps(folder)
    assert 8 not in steps(folder)
    assert len(steps(folder)) == keep


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(folder: Path) -> None:
    keep_two(folder)
    flip(folder / "step-8" / "model.safetensors", -1)
    save(folder, 8, parts(8), facts(8))
    assert_holds(folder, 8, [])
    assert sorted(path.name for path in folder.iterdir()) == ["step-4", "step-8"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("which", range(4))
def test_a_full_disk_is_said_with_its_bytes_and_harms_nothing(
    which: int, code: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_two(folder)
    written: list[str] = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == which:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(code, "no room")
        written.append(path.name)
        path.write_bytes(data)

    monkeypatch.setattr(checkpoint, "write_synced", write)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10_000, 9_000, 1_000))
    size = sum(file.stat().st_size for file in (folder / "step-8").iterdir() if file.name != "manifest.json")
    needed = rf"the disk is full: cannot write .*step-12; {size / 1024:.1f} KiB are needed, 1000 B are free"
    with pytest.raises(StorageError, match=needed) as caught:
        save(folder, 12, parts(12), facts(12))
    assert caught.value.exit_code == 1
    assert sorted(path.name for path in folder.iterdir()) == ["step-4", "step-8"]
    assert_holds(folder, 8, [])


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write .*step-1"):
        save(tmp_path / "checkpoints", 1, parts(1), facts(1))


class Killed(BaseException):
    """The end of the process: nothing that comes after is carried out, not even what ``finally`` asks for."""


class Machine:
    """Carries out ``left`` operations on files, half of the next one, and none thereafter."""

    def __init__(self, left: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.dead = left, False
        write, rename, mkdir, rmtree = checkpoint.write_synced, Path.rename, Path.mkdir, shutil.rmtree
        monkeypatch.setattr(checkpoint, "write_synced", self.operation(write, self.half_write))
        monkeypatch.setattr(files, "sync_directory", self.operation(lambda _: None))
        monkeypatch.setattr(Path, "rename", self.operation(rename))
        monkeypatch.setattr(Path, "mkdir", self.operation(mkdir))
        monkeypatch.setattr(shutil, "rmtree", self.operation(rmtree, self.half_delete))

    def operation(
        self, whole: Callable[..., Any], half: Callable[..., None] = lambda *_, **__: None
    ) -> Callable[..., Any]:
        def carry_out(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            if self.left == 0:
                self.dead = True
                half(*arguments)
                raise Killed
            self.left -= 1
            return whole(*arguments, **options)

        return carry_out

    @staticmethod
    def half_write(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])

    @staticmethod
    def half_delete(path: Path, *_: Any) -> None:
        for file in sorted(path.glob("*"))[:2]:
            file.unlink()


def first_save(folder: Path) -> None:
    save(folder, 4, parts(4), facts(4))


def third_save(folder: Path) -> None:
    save(folder, 12, parts(12), facts(12))


def save_over_a_damaged_one(folder: Path) -> None:
    save(folder, 8, parts(8), facts(8))


def nothing_there(_folder: Path) -> None:
    """The run has just begun."""


def two_of_which_one_is_damaged(folder: Path) -> None:
    keep_two(folder)
    flip(folder / "step-8" / "model.safetensors", -1)


def outcomes(prepare: Callable[[Path], None], act: Callable[[Path], None], place: Path) -> Iterator[Path]:
    """The folder after a kill at the first, second, ... operation, up to a save that nothing interrupts."""
    for left in range(100):
        folder = place / str(left)
        prepare(folder)
        with pytest.MonkeyPatch.context() as monkeypatch:
            Machine(left, monkeypatch)
            try:
                act(folder)
            except Killed:
                whole = False
            else:
                whole = True
        yield folder
        if whole:
            return
    pytest.fail("a save takes fewer than 100 operations")


@pytest.mark.parametrize(
    ("prepare", "act", "before", "after"),
    [
        (nothing_there, first_save, None, 4),
        (keep_two, third_save, 8, 12),
        (two_of_which_one_is_damaged, save_over_a_damaged_one, 4, 8),
    ],
)
def test_a_kill_at_any_point_of_a_save_leaves_the_one_before_or_the_new_one(
    prepare: Callable[[Path], None], act: Callable[[Path], None], before: int | None, after: int, tmp_path: Path
) -> None:
    found: list[int | None] = []
    for folder in outcomes(prepare, act, tmp_path):
        remove_orphans(folder)
        kept = newest(folder, lambda _: None)
        found.append(kept.facts["step"] if kept else None)
        if kept:
            assert_holds(folder, kept.facts["step"], [])
        assert not [path for path in folder.glob("*") if not path.name.startswith("step-")]
        act(folder)
        assert_holds(folder, after, [])
    turn = found.index(after)
    assert found == [before] * turn + [after] * (len(found) - turn)
    assert turn >= 5
    assert len(found) > turn + 1


def test_what_a_kill_left_behind_is_removed_and_checkpoints_are_not(folder: Path) -> None:
    keep_two(folder)
    for name in (".partial-12", ".partial-step-4"):
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"half")
    remove_orphans(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["step-4", "step-8"]


def test_facts_that_are_no_json_are_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(folder, 1, parts(1), {"loss": float("nan")})
    assert not folder.exists()


def test_state_and_manifest_are_json_for_people(folder: Path) -> None:
    path = save(folder, 4, parts(4), facts(4))
    manifest = json.loads((path / "manifest.json").read_text())
    assert sorted(manifest["sha256"]) == ["model.safetensors", "momentum.safetensors", "state.json"]
    assert json.loads((path / "state.json").read_text()) == facts(4)


def test_nothing_in_the_package_is_pickled() -> None:
    pattern = re.compile(r"torch\.(load|save)\(|\bimport (pickle|dill|joblib|cloudpickle)|\bfrom pickle|weights_only")
    package = Path(reslab.__file__).parent
    for file in {*package.rglob("*.py")} - {package / "weights" / "foreign.py"}:
        lines = [re.sub(r"safetensors\.torch\.(load|save)\(", "", line) for line in file.read_text().splitlines()]
        assert not [line for line in lines if pattern.search(line)], file
