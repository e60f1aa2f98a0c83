"""Packing: equal input gives equal bytes, whoever packs and however often it is stopped; nothing half-written stays."""

import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.picture_bytes import flipped, saved, turned

from reslab.core.errors import DataError, PictureError, RunError, StorageError
from reslab.core.listening import unheard
from reslab.core.rundir import held_alone
from reslab.data import chance, shard_writer
from reslab.data.pack import Packed, pack
from reslab.data.pack_set import BESIDE, BLOCK, SEED, Packing, divide
from reslab.data.picture_file import read_header
from reslab.data.shard_writer import Smaller
from reslab.data.shards import INDEX, PACKING, read_shards
from reslab.data.source import PictureFolder, find_data

pytestmark = pytest.mark.usefixtures("quick_disk")

FolderOf = Callable[..., Path]
SIZE = 13_000
SHARDS = 9


@pytest.fixture
def trees(folder_of: FolderOf, tmp_path: Path) -> Path:
    """12 pictures to train on, six to test on."""
    for half, count in (("train", 4), ("val", 2)):
        folder_of(tmp_path / "trees" / half, pictures=count, seed=count)
    return tmp_path / "trees"


def packed(
    root: Path, out: Path, workers: int = 0, progress: Callable[[int, int], None] = unheard, **how: Any
) -> Packed:
    return pack(PictureFolder(root), out, Packing(**{"size": SIZE, **how}), workers, pytest.fail, progress)


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_equal_pictures_give_equal_bytes_whoever_packs_them(trees: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    first = packed(trees, tmp_path / "a", progress=lambda done, total: heard.append((done, total)))
    copied = Path(shutil.copytree(trees, tmp_path / "copy", copy_function=shutil.copyfile))
    second = packed(copied, tmp_path / "b", workers=2)
    assert first == second
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert sorted(content(tmp_path / "a")) == [
        *("train/index.safetensors", *(f"train/shard-0000{number}.tar" for number in range(6))),
        *("val/index.safetensors", *(f"val/shard-0000{number}.tar" for number in range(3))),
    ]
    assert (first.pictures, first.shards, first.kept, first.resized) == (18, SHARDS, 0, 0)
    assert first.size == sum(path.stat().st_size for path in trees.rglob("*.jpg"))
    assert first.digests == {half: PictureFolder(trees).read(half).digest for half in ("train", "val")}  # type: ignore[arg-type]
    assert heard[-1] == (18, 18)
    assert len(heard) == SHARDS


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=200), st.integers(1, 20_000), st.integers(1, 40))
def test_pictures_are_divided_once_each_in_the_order_of_the_seed(sizes: list[int], size: int, pictures: int) -> None:
    lengths = np.array(sizes, np.int64)
    order = chance.order(SEED, 0, len(sizes))
    parts = divide(lengths, Packing(size))
    assert np.concatenate(parts).tolist() == order.tolist()
    taken = [int(((-(-lengths[part] // BLOCK) + BESIDE) * BLOCK).sum()) for part in parts]
    for part, here, after in zip(parts, taken, [*parts[1:], None], strict=True):
        assert len(part) >= 1
        assert here <= size or len(part) == 1
        if after is not None:
            assert here + (-(-lengths[after[0]] // BLOCK) + BESIDE) * BLOCK > size
    by_count = divide(lengths, Packing(size, pictures))
    assert np.concatenate(by_count).tolist() == order.tolist()
    assert {len(part) for part in by_count[:-1]} <= {pictures}
    assert 1 <= len(by_count[-1]) <= pictures


class StoppedError(Exception):
    pass


def stop_at(count: int) -> Callable[[int, int], None]:
    def heard(done: int, _total: int) -> None:
        if done >= count:
            raise StoppedError

    return heard


def test_what_was_stopped_goes_on_and_finished_shards_are_not_made_again(trees: Path, tmp_path: Path) -> None:
    packed(trees, tmp_path / "whole")
    with pytest.raises(StoppedError):
        packed(trees, tmp_path / "out", progress=stop_at(5))
    assert not list((tmp_path / "out").rglob(INDEX))
    with pytest.raises(DataError, match="the command that began goes on with them"):
        find_data(str(tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "train").glob("*.tar")}
    assert before
    found = packed(trees, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (found.kept, found.shards) == (len(before), SHARDS)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[700] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda file: os.truncate(file, 512)])
def test_a_finished_shard_that_was_damaged_since_is_made_again(
    damage: Callable[[Path], Any], trees: Path, tmp_path: Path
) -> None:
    packed(trees, tmp_path / "whole")
    with pytest.raises(StoppedError):
        packed(trees, tmp_path / "out", progress=stop_at(9))
    damage(tmp_path / "out" / "train" / "shard-00001.tar")
    packed(trees, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_packing_again_finds_that_all_is_done(trees: Path, tmp_path: Path) -> None:
    first = packed(trees, tmp_path / "out")
    before = content(tmp_path / "out")
    again = packed(trees, tmp_path / "out")
    assert (again.kept, again.shards) == (SHARDS, SHARDS)
    assert (again.pictures, again.size, again.digests) == (first.pictures, first.size, first.digests)
    assert content(tmp_path / "out") == before


def times(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}


CURE = "give the command that made these shards once more, and it makes this one again"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("lose", "says"),
    [
        (Path.unlink, "is missing"),
        (lambda file: os.truncate(file, 512), r"has 512 bytes, not the [\d,]+ that its index"),
    ],
)
def test_a_shard_that_was_lost_is_named_with_a_cure_and_the_cure_makes_that_one_again(
    lose: Callable[[Path], Any], says: str, workers: int, trees: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first, before = packed(trees, out), content(out)
    lost = out / "val" / "shard-00001.tar"
    kept = {path: time for path, time in times(out).items() if path != lost}
    lose(lost)
    with pytest.raises(DataError, match=rf"^shard {lost} {says}.*: {CURE}$"):
        find_data(str(out)).read("train")
    heard: list[tuple[int, int]] = []
    again = packed(trees, out, workers, lambda *told: heard.append(told))
    assert (again.kept, again.shards, heard) == (SHARDS - 1, SHARDS, [(18, 18)])
    assert (again.pictures, again.size, again.digests) == (first.pictures, first.size, first.digests)
    assert content(out) == before
    assert times(out).items() >= kept.items()


def test_what_is_made_again_may_be_stopped_and_gone_on_with(trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed(trees, out)
    before = content(out)
    for name in ("train/shard-00001.tar", "train/shard-00003.tar", "val/shard-00002.tar"):
        (out / name).unlink()
    with pytest.raises(StoppedError):
        packed(trees, out, progress=stop_at(1))
    with pytest.raises(DataError, match="the command that began goes on with them"):
        find_data(str(out))
    kept = times(out)
    assert out / "train" / "shard-00001.tar" in kept
    assert packed(trees, out, 2).kept == SHARDS - 2
    assert content(out) == before
    assert times(out).items() >= kept.items()


def test_a_stop_once_all_is_made_is_tidied_up(trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_place: Path) -> None:
        raise StoppedError

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", stopped)
        with pytest.raises(StoppedError):
            packed(trees, out)
    before = times(out)
    for workers in (0, 2):
        (out / PACKING).mkdir(exist_ok=True)
        assert packed(trees, out, workers).kept == SHARDS
        assert not (out / PACKING).exists()
    assert times(out) == before


@pytest.mark.parametrize("halved", [True, False])
def test_a_folder_of_shards_that_was_deleted_is_made_again(halved: bool, trees: Path, tmp_path: Path) -> None:  # noqa: FBT001
    root, out = trees if halved else trees / "train", tmp_path / "out"
    shards = packed(root, out).shards
    before = content(out)
    shutil.rmtree(out / "val" if halved else out)
    assert packed(root, out).kept == (shards - 3 if halved else 0)
    assert content(out) == before


def test_what_is_said_of_a_damaged_index_makes_it_again(trees: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed(trees, out)
    before = content(out)
    (out / "val" / INDEX).write_bytes(b"")
    cure = f"remove {out}/val, and the command that made these shards makes them again"
    with pytest.raises(DataError, match=rf": {cure}$"):
        packed(trees, out)
    shutil.rmtree(out / "val")
    packed(trees, out)
    assert content(out) == before


def test_a_lost_shard_of_pictures_that_have_changed_is_not_made_again(trees: Path, tmp_path: Path) -> None:
    out, changed = tmp_path / "out", trees / "val" / "ash" / "001.jpg"
    packed(trees, out)
    before = content(out)
    flip(changed)
    holding = next(name for name, data in before.items() if name[:3] == "val" and old_bytes(changed) in data)
    (out / holding).unlink()
    for _ in range(2):
        with pytest.raises(DataError) as error:
            packed(trees, out)
        assert str(error.value) == (
            f"{out}/{holding} cannot be made again: pictures have changed since; remove {out}/val, and all of it is"
            " made again"
        )
        assert not (out / holding).exists()
    shutil.rmtree(out / "val")
    packed(trees, out)
    packed(trees, tmp_path / "fresh")
    assert content(out) == content(tmp_path / "fresh")


def old_bytes(file: Path) -> bytes:
    """What the file was before `flip`."""
    data = bytearray(file.read_bytes())
    data[700] ^= 1
    return bytes(data)


@pytest.mark.parametrize("first", ["halves", "one set"])
def test_halves_and_one_set_do_not_share_a_folder(first: str, trees: Path, tmp_path: Path) -> None:
    roots = [trees, trees / "train"] if first == "halves" else [trees / "train", trees]
    packed(roots[0], tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(DataError, match=rf"^cannot pack into {tmp_path}/out: it holds shards of other pictures or"):
        packed(roots[1], tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_shards_without_their_index_are_left_alone(trees: Path, tmp_path: Path) -> None:
    packed(trees, tmp_path / "out")
    (tmp_path / "out" / "val" / INDEX).unlink()
    before = content(tmp_path / "out")
    with pytest.raises(
        DataError, match=rf"^cannot pack into {tmp_path}/out/val: it holds something else \(shard-00000"
    ):
        packed(trees, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_another_pillow_does_not_make_a_resized_shard_again(
    trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(trees, tmp_path / "out", smaller=Smaller(30, 90))
    (tmp_path / "out" / "val" / "shard-00000.tar").unlink()
    monkeypatch.setattr("PIL.__version__", "0.0")
    with pytest.raises(DataError, match=r"it holds shards of other pictures or sizes, or resized by another Pillow$"):
        packed(trees, tmp_path / "out", smaller=Smaller(30, 90))


@pytest.mark.parametrize("how", [{"size": 20_000}, {"pictures": 3}, {"smaller": Smaller(30, 90)}])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_folder_with_other_shards_is_refused(stopped: bool, how: dict[str, Any], trees: Path, tmp_path: Path) -> None:  # noqa: FBT001
    if stopped:
        with pytest.raises(StoppedError):
            packed(trees, tmp_path / "out", progress=stop_at(5))
    else:
        packed(trees, tmp_path / "out")
    before = content(tmp_path / "out")
    says = "was begun there; remove it" if stopped else "it holds shards of other pictures or sizes"
    with pytest.raises(DataError, match=says):
        packed(trees, tmp_path / "out", **how)
    assert content(tmp_path / "out") == before


def test_shards_of_pictures_that_have_changed_are_refused(trees: Path, tmp_path: Path) -> None:
    packed(trees, tmp_path / "out")
    (trees / "val" / "ash" / "001.jpg").unlink()
    with pytest.raises(DataError, match="it holds shards of other pictures or sizes"):
        packed(trees, tmp_path / "out")


def a_note(out: Path) -> str:
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    return r"it holds something else \(notes\.txt\)"


def a_file(out: Path) -> str:
    out.write_text("mine")
    return "Not a directory"


@pytest.mark.parametrize("occupy", [a_note, a_file])
def test_a_place_that_holds_something_else_is_refused_and_left_alone(
    occupy: Callable[[Path], str], trees: Path, tmp_path: Path
) -> None:
    says = occupy(tmp_path / "out")
    with pytest.raises(DataError, match=says):
        packed(trees, tmp_path / "out")
    assert sorted(content(tmp_path / "out")) in ([], ["notes.txt"])


def test_shards_do_not_go_into_the_folder_that_is_packed(trees: Path) -> None:
    with pytest.raises(DataError, match="it is in the folder that is packed"):
        packed(trees, trees / "train" / "shards")
    assert not (trees / "train" / "shards").exists()


def test_two_do_not_pack_into_one_folder(trees: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys\nfrom reslab.core.rundir import held_alone\nfrom pathlib import Path\n"]
    words[2] += "with held_alone(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    place = tmp_path / "out" / PACKING
    with subprocess.Popen([*words, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process is working on"):
            packed(trees, tmp_path / "out")
        other.communicate()
    assert packed(trees, tmp_path / "out").shards == SHARDS
    with held_alone(tmp_path / "free"):
        pass


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "cannot be read: No such file or directory"),
    ],
)
def test_what_can_never_be_packed_is_named_before_anything_is(
    spoil: Callable[[Path], Any], says: str, trees: Path, tmp_path: Path
) -> None:
    spoil(trees / "val" / "cedar" / "001.jpg")
    with pytest.raises(PictureError, match=rf"^{trees}/val/cedar/001\.jpg {says}$"):
        packed(trees, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_changes_while_it_is_packed_stops_it_and_is_named(
    workers: int, trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PictureFolder(trees)
    for half in ("train", "val"):
        source.read(half)  # type: ignore[arg-type]
    grown = trees / "train" / "ash" / "002.jpg"
    grown.write_bytes(grown.read_bytes() + b"more")
    monkeypatch.setattr(PictureFolder, "_scan", lambda _self, parts, _found: source.searched[parts])
    with pytest.raises(PictureError, match=rf"^{grown} has changed: "):
        packed(trees, tmp_path / "out", workers)
    assert not list((tmp_path / "out").rglob("*.partial"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_one_line_and_leaves_whole_shards_only(
    workers: int, trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(trees, tmp_path / "whole")
    add = shard_writer._add

    def full(tar: Any, name: str, data: bytes) -> None:
        if Path(tar.fileobj.name).name.startswith("shard-00002"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(tar, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "_add", full)
        with pytest.raises(StorageError) as error:
            packed(trees, tmp_path / "out", workers)
    assert str(error.value).startswith(f"the disk is full: cannot write {tmp_path}/out/train/shard-00002.tar; ")
    assert len(str(error.value).splitlines()) == 1
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and PACKING not in path.parts]
    assert {path.read_bytes() for path in left} <= set(content(tmp_path / "whole").values())
    assert not list((tmp_path / "out").rglob("*.partial"))
    packed(trees, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_larger_pictures_become_jpeg_of_the_shorter_side_and_smaller_ones_stay(tmp_path: Path) -> None:
    root = tmp_path / "own" / "ash"
    root.mkdir(parents=True)
    small = saved("PNG")  # 40 x 24
    large = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8))
    files = {
        "a.png": small,
        "b.png": saved("PNG", large),
        "c.jpg": saved("JPEG", large, quality=95),
        "d.jpg": turned(6),
        "e.jpg": flipped(),
        "f.jpg": b"no picture",
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    found = packed(tmp_path / "own", tmp_path / "out", smaller=Smaller(30, 80))
    assert (found.resized, found.damaged) == (2, ["ash/f.jpg"])
    photos = find_data(str(tmp_path / "out")).read("all")
    read = {photos.index.path(number)[4:]: photos.store.read(number) for number in range(6)}  # type: ignore[union-attr]
    assert [name for name in files if read[name] != files[name]] == ["b.png", "c.jpg"]
    for name in ("b.png", "c.jpg"):
        assert (read_header(read[name]).kind, read_header(read[name]).upright) == ("JPEG", (40, 30))
    expected = io.BytesIO()
    large.resize((40, 30), Image.Resampling.BILINEAR).save(expected, "JPEG", quality=80)
    assert read["b.png"] == expected.getvalue()
    folder = PictureFolder(tmp_path / "own").read("all")
    assert found.digests["all"] == photos.digest != folder.digest
    facts = read_shards(tmp_path / "out" / INDEX).facts
    assert (facts["shorter_side"], facts["quality"], facts["resized"], facts["damaged"]) == (30, 80, 2, [5])
    assert facts["pictures"] == folder.digest


def test_a_picture_on_its_side_is_resized_upright(tmp_path: Path) -> None:
    (tmp_path / "own" / "ash").mkdir(parents=True)
    (tmp_path / "own" / "ash" / "a.jpg").write_bytes(turned(6))
    packed(tmp_path / "own", tmp_path / "out", smaller=Smaller(12, 90))
    header = find_data(str(tmp_path / "out")).read("all").open(0)[1]  # type: ignore[union-attr]
    assert (header.upright, header.orientation) == ((12, 20), 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_packing_killed_at_random_moments_ends_with_equal_bytes(folder_of: FolderOf, tmp_path: Path) -> None:
    """Really killed, with its workers: what it was writing is not there, what was finished is kept."""
    trees = folder_of(tmp_path / "trees", pictures=400)
    packed(trees, tmp_path / "whole", size=20_000)
    words = [sys.executable, "-m", "reslab", "data", "pack", str(trees), "--out", str(tmp_path / "out")]
    words += ["--shard-size", "20kB", "--workers", "2"]
    for wanted in (3, 40, 90, 140):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            while len(list((tmp_path / "out").glob("*.tar"))) < wanted and process.poll() is None:
                time.sleep(0.001)
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert not (tmp_path / "out" / INDEX).exists()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
