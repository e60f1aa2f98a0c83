"""ImageNet's archives become shards at once: the bytes that packing the prepared folders gives, and every check."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.imagenet_archives import (
    ANSWERS,
    CMYK,
    EACH,
    PNG,
    WNIDS,
    Archives,
    class_entries,
    devkit_bytes,
    entry,
    expected,
    packed,
    photograph,
    train_entries,
    tree,
    truth_text,
    val_entries,
    val_name,
)

from reslab.core.errors import DataError, RunError, StorageError
from reslab.core.rundir import held_alone
from reslab.data import halves, prepare, prepare_shards, shard_writer
from reslab.data.halves import Sources
from reslab.data.pack import pack
from reslab.data.pack_set import Packing
from reslab.data.prepare import prepare_imagenet
from reslab.data.prepared import Prepared, read_prepared
from reslab.data.shard_writer import Smaller
from reslab.data.shards import INDEX, PACKING, read_shards
from reslab.data.source import PictureFolder, find_data

BESIDE = {".lock", "prepared.json", "server-classes.txt"}
SMALL = Packing(pictures=9)  # eight shards of 62 pictures, and two of 13
TRAIN = "ILSVRC2012_img_train.tar"

pytestmark = pytest.mark.usefixtures("quick_meta")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def sharded(archives: Archives | Sources, out: Path, how: Packing = SMALL, workers: int = 0, **more: Any) -> Prepared:
    return prepare_shards.prepare_shards(Sources(*archives), out, how, workers, **{"warn": pytest.fail, **more})


def refused(archives: Archives | Sources, out: Path, kind: type[Exception] = DataError, **more: Any) -> str:
    with pytest.raises(kind) as failure:
        sharded(archives, out, **more)
    line = str(failure.value)
    assert line.isprintable()
    return line


def shards_in(out: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(out).items() if path.endswith((".tar", INDEX)) and PACKING not in path}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "how", [Packing(), SMALL, Packing(size=20_000), Packing(pictures=9, smaller=Smaller(22, 80))], ids=str
)
def test_every_file_is_that_of_preparing_folders_and_packing_them(
    how: Packing, workers: int, archives: Archives, out: Path, tmp_path: Path
) -> None:
    archives.train.write_bytes(packed(train_entries(WNIDS[::-1])))
    folders = prepare_imagenet(Sources(*archives), tmp_path / "folders")
    whole = pack(PictureFolder(tmp_path / "folders"), tmp_path / "packed", how, 0)
    prepared = sharded(archives, out, how, workers)
    assert {path: data for path, data in tree(out).items() if path not in BESIDE} == tree(tmp_path / "packed")
    assert (out / "server-classes.txt").read_bytes() == (tmp_path / "folders" / "server-classes.txt").read_bytes()
    assert read_prepared(out) == prepared
    for name in ("train", "val"):
        ours, theirs = getattr(prepared, name), getattr(folders, name)
        assert ours.model_copy(update={"sharded": None}) == theirs
        assert ours.sharded.digest == whole.digests[name]
    both = [half.sharded for half in (prepared.train, prepared.val) if half and half.sharded]
    found = tuple(sum(getattr(one, key) for one in both) for key in ("shards", "bytes", "resized"))
    assert found == (whole.shards, whole.size, whole.resized)
    assert (whole.resized > 0) == (how.smaller is not None)


def test_reslab_reads_the_outcome_as_it_reads_the_folders(archives: Archives, out: Path, tmp_path: Path) -> None:
    prepare_imagenet(Sources(*archives), tmp_path / "folders")
    sharded(archives, out)
    ours, theirs = find_data(str(out)), find_data(str(tmp_path / "folders"))
    for part in ("train", "val", "all"):
        one, other = ours.read(part), theirs.read(part)  # type: ignore[arg-type]
        assert one.digest == other.digest
        assert [one.store.read(number) for number in range(len(one))] == [  # type: ignore[union-attr]
            other.store.read(number)  # type: ignore[union-attr]
            for number in range(len(other))
        ]


def test_one_half_after_the_other_is_both(archives: Archives, out: Path, tmp_path: Path) -> None:
    sharded(Sources(train=archives.train), out)
    assert not (out / "server-classes.txt").exists()
    with pytest.raises(
        DataError, match=rf"^{out} has no val/{INDEX}: add that half; for train alone, name {out}/train$"
    ):
        find_data(str(out))
    assert len(find_data(f"{out}/train").read("all")) == 10 * EACH + 2
    sharded(Sources(val=archives.val, devkit=archives.devkit), out)
    sharded(archives, tmp_path / "at once")
    assert tree(out) == tree(tmp_path / "at once")


def test_progress_is_told_in_pictures(archives: Archives, out: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    sharded(archives, out, moved=lambda *told: heard.append(told))
    assert [told for told in heard if told[0] == "train"] == [
        ("train", min(9 * shard, 62), 62) for shard in range(1, 8)
    ]
    assert heard[-2:] == [("val", 9, 13), ("val", 13, 13)]


def test_the_search_tells_how_far_it_is(archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reslab.data.folder.REPORT_EVERY", 20)
    heard: list[int] = []
    sharded(Sources(train=archives.train), out, found=heard.append)
    assert heard == [20, 40, 60]


def test_a_finished_half_is_not_read_again(archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sharded(archives, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(prepare_shards, "archived", None)
    renamed = archives._replace(train=archives.train.rename(archives.train.with_name("other.tar")))
    assert sharded(renamed, out) == first
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert {path for path in before if before[path] != after[path]} <= {out / ".lock"}


def test_a_half_whose_folder_was_deleted_comes_back(archives: Archives, out: Path) -> None:
    sharded(archives, out)
    before = tree(out)
    shutil.rmtree(out / "val")
    sharded(archives, out)
    assert tree(out) == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_was_lost_is_named_with_a_cure_and_the_cure_makes_that_one_again(
    workers: int, archives: Archives, out: Path
) -> None:
    first, before = sharded(archives, out), tree(out)
    lost = out / "train" / "shard-00002.tar"
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar") if path != lost}
    lost.unlink()
    cure = "give the command that made these shards once more, and it makes this one again"
    with pytest.raises(DataError, match=rf"^shard {lost} is missing: {cure}$"):
        find_data(str(out)).read("val")
    heard: list[tuple[str, int, int]] = []
    assert sharded(archives, out, workers=workers, moved=lambda *told: heard.append(told)) == first
    assert heard == [("train", 62, 62)]
    assert tree(out) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_making_lost_shards_again_may_be_stopped_and_gone_on_with(archives: Archives, out: Path) -> None:
    first, before = sharded(archives, out), tree(out)
    for name in ("train/shard-00000.tar", "train/shard-00002.tar", "val/shard-00001.tar"):
        (out / name).unlink()
    with pytest.raises(StoppedError):
        sharded(archives, out, moved=stop_at("train", 1))
    assert sharded(archives, out) == first
    assert tree(out) == before


def test_without_its_note_a_half_is_made_again_and_what_is_odd_is_known(archives: Archives, out: Path) -> None:
    first, before = sharded(archives, out), tree(out)
    (out / "prepared.json").unlink()
    assert sharded(archives, out) == first
    assert tree(out) == before


@pytest.mark.parametrize("how", [Packing(pictures=8), Packing(pictures=9, smaller=Smaller(22, 90))], ids=str)
def test_other_sizes_into_finished_shards_are_refused(how: Packing, archives: Archives, out: Path) -> None:
    sharded(archives, out)
    before = tree(out)
    says = f"cannot pack into {out}/train: it holds shards of other pictures or sizes"
    assert refused(archives, out, how=how) == says
    (out / "prepared.json").unlink()
    assert refused(archives, out, how=how).startswith(says)
    assert shards_in(out).items() <= before.items()


def test_another_archive_or_kit_into_a_finished_half_is_refused(archives: Archives, out: Path) -> None:
    sharded(archives, out)
    before = tree(out)
    entries = train_entries()
    name, data = entries[4][0].name, bytearray(entries[4][1])
    data[600] ^= 1
    archives.train.write_bytes(packed([*entries[:4], entry(name, bytes(data)), *entries[5:]]))
    assert f"{out}/train was made from {TRAIN} of " in refused(archives, out)
    archives.train.write_bytes(packed(entries))
    archives.devkit.write_bytes(devkit_bytes(truth=truth_text((2, 1, *ANSWERS[2:]))))
    assert refused(archives, out) == f"{out}/val was made with another development kit: choose another --out"
    assert tree(out) == before


def test_class_folders_and_shards_do_not_share_a_folder(archives: Archives, tmp_path: Path) -> None:
    folders, shards = tmp_path / "folders", tmp_path / "shards"
    prepare_imagenet(Sources(train=archives.train), folders)
    sharded(Sources(train=archives.train), shards)
    before = tree(folders), tree(shards)
    for _ in range(2):
        assert refused(archives, folders) == f"{folders} holds class folders: choose another --out for shards"
        with pytest.raises(DataError) as failure:
            prepare_imagenet(Sources(*archives), shards)
        assert str(failure.value) == f"{shards} holds shards: give --shards, or choose another --out for class folders"
        for place in (folders, shards):
            (place / "prepared.json").unlink(missing_ok=True)  # known without it too
    for place, files in zip((folders, shards), before, strict=True):
        assert tree(place) == {path: data for path, data in files.items() if path != "prepared.json"}


class StoppedError(Exception):
    pass


def stop_at(half: str, count: int) -> Callable[[str, int, int], None]:
    def heard(name: str, done: int, _total: int) -> None:
        if name == half and done >= count:
            raise StoppedError

    return heard


@pytest.mark.parametrize(("half", "count"), [("train", 20), ("train", 62), ("val", 9)])
def test_what_was_stopped_goes_on_and_finished_shards_are_kept(
    half: str, count: int, archives: Archives, out: Path, tmp_path: Path
) -> None:
    sharded(archives, tmp_path / "whole")
    with pytest.raises(StoppedError):
        sharded(archives, out, moved=stop_at(half, count))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.tar")}
    assert before
    with pytest.raises(DataError, match="holds shards that are not finished: the command that began goes on"):
        find_data(str(out))
    with pytest.raises(DataError, match="holds shards: give --shards"):
        prepare_imagenet(Sources(*archives), out)
    prepared = sharded(archives, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tree(out) == tree(tmp_path / "whole")
    assert prepared.train is not None
    assert {odd.path: odd.what for odd in prepared.train.odd} == {
        f"train/{WNIDS[2]}/{CMYK}": "CMYK",
        f"train/{WNIDS[5]}/{PNG}": "PNG named .JPEG",
    }


def test_going_on_with_another_archive_of_the_same_names_and_sizes_is_refused(archives: Archives, out: Path) -> None:
    with pytest.raises(StoppedError):
        sharded(archives, out, moved=stop_at("train", 20))
    changed = bytearray(archives.train.read_bytes())
    changed[changed.index(b"\xff\xd9") + 1] ^= 1
    archives.train.write_bytes(changed)
    before = shards_in(out)
    assert "packing of other pictures or into other sizes was begun there" in refused(archives, out)
    assert shards_in(out) == before


@pytest.mark.parametrize("moment", ["after the note", "while the room is removed"])
def test_a_stop_after_everything_was_noted_is_tidied_up(
    moment: str, archives: Archives, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded(archives, tmp_path / "whole")

    def stopped(place: Path) -> None:
        if moment == "while the room is removed":
            (place / "plan.json").unlink()
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", stopped)
        with pytest.raises(StoppedError):
            sharded(Sources(train=archives.train), out)
    monkeypatch.setattr(shard_writer.WriteShards, "_read", None)
    assert (out / PACKING).exists()
    sharded(Sources(train=archives.train), out)
    assert not (out / PACKING).exists()
    assert shards_in(out) == {path: data for path, data in shards_in(tmp_path / "whole").items() if path[0] == "t"}


def test_what_another_half_needs_to_go_on_is_left(archives: Archives, out: Path, tmp_path: Path) -> None:
    sharded(archives, tmp_path / "whole")
    with pytest.raises(StoppedError):
        sharded(archives, out, moved=stop_at("val", 9))
    sharded(Sources(train=archives.train), out)
    assert (out / PACKING / "val").exists()
    sharded(archives, out)
    assert tree(out) == tree(tmp_path / "whole")


def occupy(out: Path, path: str) -> dict[str, bytes]:
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_bytes(b"mine")
    return tree(out)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("train/shard-00000.tar", "cannot pack into {out}/train: it holds something else (shard-00000.tar)"),
        ("train/notes.txt", "cannot pack into {out}/train: it holds something else (notes.txt)"),
        ("train", "cannot pack into {out}/train: it is a file"),
        (f"train/{INDEX}", f"the index of shards {{out}}/train/{INDEX} is damaged ("),
        ("prepared.json", "{out}/prepared.json is damaged: delete it"),
        (f"train/{WNIDS[0]}/x", "{out} holds class folders: choose another --out for shards"),
    ],
)
def test_what_is_somebody_elses_is_left_alone(archives: Archives, out: Path, path: str, says: str) -> None:
    before = occupy(out, path)
    assert refused(archives, out).startswith(says.format(out=out))
    assert {name: data for name, data in tree(out).items() if name not in BESIDE - {"prepared.json"}} == before


@pytest.mark.parametrize("link", ["train", PACKING])
def test_nothing_is_written_through_a_link(archives: Archives, out: Path, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out.mkdir()
    (out / link).symlink_to(elsewhere)
    assert refused(archives, out) == f"{out}/{link} is a link: nothing is written outside {out}"
    assert tree(elsewhere) == {}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"text", "is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture"),
        (photograph(1)[:30], "is damaged: its JPEG header cannot be read"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_picture_is_named_as_it_lies_in_its_archive(
    data: bytes, says: str, workers: int, archives: Archives, out: Path
) -> None:
    entries = train_entries()
    entries[4] = entry(f"{WNIDS[4]}.tar", packed([*class_entries(WNIDS[4]), entry(f"{WNIDS[4]}_9.JPEG", data)]))
    archives.train.write_bytes(packed(entries))
    assert refused(archives, out, workers=workers).startswith(f"{TRAIN}: {WNIDS[4]}.tar: {WNIDS[4]}_9.JPEG {says}")
    assert not list(out.rglob("*.partial"))
    assert not list(out.rglob(INDEX))


def test_a_validation_picture_is_named_as_it_lies_in_its_archive(archives: Archives, out: Path) -> None:
    archives.val.write_bytes(packed([*val_entries()[:12], entry(val_name(13), b"text")]))
    says = f"ILSVRC2012_img_val.tar: {val_name(13)} is not a JPEG"
    assert refused(Sources(None, archives.val, archives.devkit), out).startswith(says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: train_entries(()), f"{TRAIN} holds no classes"),
        (lambda: [entry(f"{WNIDS[0]}.tar", packed([]))], f"{TRAIN}: {WNIDS[0]}.tar holds no pictures"),
        (lambda: [*train_entries(), entry("n00000001.tar", packed([]))], "does not name: n00000001"),
        (
            lambda: [
                *train_entries(WNIDS[:9]),
                entry(
                    f"{WNIDS[9]}.tar",
                    packed([*class_entries(WNIDS[9]), entry(f"{WNIDS[9]}_999.JPEG", kind=tarfile.SYMTYPE, link="/x")]),
                ),
            ],
            f"{WNIDS[9]}.tar: '{WNIDS[9]}_999.JPEG' is a symbolic link",
        ),
    ],
)
def test_hostile_archives_are_refused_before_a_shard_is_written(
    archives: Archives, out: Path, change: Callable[[], Any], says: str
) -> None:
    archives.train.write_bytes(packed(change()))
    assert says in refused(archives, out)
    assert set(tree(out)) <= BESIDE


def test_a_class_has_a_limit_of_its_own(archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "CLASS", replace(halves.CLASS, members=EACH))
    assert f"{WNIDS[2]}.tar holds more than {EACH} members" in refused(archives, out)


def test_an_archive_that_is_cut_while_it_is_packed_is_named(archives: Archives, out: Path) -> None:
    cut = archives.train.stat().st_size // 2
    line = refused(archives, out, moved=lambda *_: os.truncate(archives.train, cut))
    assert line.startswith(f"{TRAIN}: n")
    assert line.endswith(".JPEG is not whole: the archive has changed")


def test_a_disk_that_no_longer_answers_is_named(archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.pread", failing)
    line = refused(archives, out)
    assert line.startswith(f"{TRAIN}: n")
    assert line.endswith(".JPEG cannot be read: Input/output error")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_one_line_and_leaves_whole_shards_only(
    workers: int, archives: Archives, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded(archives, tmp_path / "whole")
    add = shard_writer._add

    def full(tar: Any, name: str, data: bytes) -> None:
        if Path(tar.fileobj.name).name.startswith("shard-00003"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(tar, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "_add", full)
        line = refused(archives, out, StorageError, workers=workers)
    assert line.startswith(f"the disk is full: cannot write {out}/train/shard-00003.tar; ")
    assert shards_in(out).items() <= shards_in(tmp_path / "whole").items()
    assert not list(out.rglob("*.partial"))
    sharded(archives, out)
    assert tree(out) == tree(tmp_path / "whole")


def test_halves_of_different_classes_are_warned_of(archives: Archives, out: Path) -> None:
    archives.train.write_bytes(packed(train_entries(WNIDS[:9])))
    heard: list[str] = []
    sharded(archives, out, warn=heard.append)
    (line,) = heard
    assert line.startswith(
        f"{out}: train/ and val/ have different classes: only in val/: {WNIDS[9]}; reslab reads both"
    )


def test_two_at_once_are_one_too_many(archives: Archives, out: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom reslab.core.rundir import held_alone\n"
        "with held_alone(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert refused(archives, out, RunError) == f"another process is working on {out}"
        other.communicate()
    with held_alone(out):
        pass


@pytest.mark.slow
def test_it_goes_on_however_often_it_is_killed(archives: Archives, out: Path, tmp_path: Path) -> None:
    """The command itself, really killed with its workers, each time a little later."""
    entries = [entry(f"{wnid}.tar", packed(class_entries(wnid, 60))) for wnid in WNIDS]
    archives.train.write_bytes(packed(entries))
    sharded(archives, tmp_path / "whole", Packing(pictures=4), 2)
    words = [sys.executable, "-m", "reslab", "data", "prepare", "imagenet", *archives.words, "--out", str(out)]
    words += ["--shards", "--shard-size", "4", "--workers", "2"]
    for wanted in (1, 30, 80, 120):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            while len(list(out.glob("train/*.tar"))) < wanted and process.poll() is None:
                time.sleep(0.001)
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert not (out / "train" / INDEX).exists()
        assert {path for path in tree(out) if path.endswith(".tar")} <= set(tree(tmp_path / "whole"))
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    assert tree(out) == tree(tmp_path / "whole")
    index = read_shards(out / "train" / INDEX).index
    assert [index.path(number) for number in range(len(index))] == sorted(
        path for wnid in WNIDS for path in (f"train/{wnid}/{info.name}" for info, _ in class_entries(wnid, 60))
    )
    assert prepare.SERVER_CLASSES in tree(out)
    assert expected("val").keys() == {read_shards(out / "val" / INDEX).index.path(number) for number in range(13)}
