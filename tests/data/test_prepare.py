"""ImageNet's archives become folders: what is written, what is noted, what is refused."""

import errno
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.imagenet_archives import (
    ANSWERS,
    CMYK,
    EACH,
    ORDER,
    PNG,
    WNIDS,
    Archives,
    class_entries,
    devkit_bytes,
    entry,
    expected,
    meta_mat,
    packed,
    photograph,
    pictures_in,
    synsets,
    train_entries,
    tree,
    truth_text,
    val_entries,
    val_name,
)

from reslab.core.errors import DataError, RunError, StorageError
from reslab.data import halves, prepare
from reslab.data.archive import Tar
from reslab.data.halves import Sources
from reslab.data.prepare import prepare_imagenet
from reslab.data.prepared import origin_of, read_prepared
from reslab.data.source import find_data

ODD = [(f"train/{WNIDS[2]}/{CMYK}", "CMYK"), (f"train/{WNIDS[5]}/{PNG}", "PNG named .JPEG")]
FIRST = f"train/{WNIDS[0]}/{WNIDS[0]}_3.JPEG"

pytestmark = pytest.mark.usefixtures("quick_meta")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def refused(archives: Archives | Sources, out: Path, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as failure:
        prepare_imagenet(Sources(*archives), out)
    line = str(failure.value)
    assert line.isprintable()
    return line


def test_every_picture_lies_in_its_class_byte_for_byte(archives: Archives, out: Path) -> None:
    prepared = prepare_imagenet(Sources(*archives), out)
    assert pictures_in(out) == expected()
    assert set(tree(out)) - set(expected()) == {".lock", "prepared.json", "server-classes.txt"}
    assert prepared.train is not None
    assert prepared.val is not None
    assert (prepared.train.classes, prepared.train.pictures) == (10, 10 * EACH + 2)
    assert (prepared.val.classes, prepared.val.pictures) == (10, len(ANSWERS))
    for name, half in (("train", prepared.train), ("val", prepared.val)):
        assert half.bytes == sum(map(len, expected(name).values()))
    assert [(odd.path, odd.what) for odd in prepared.train.odd] == ODD
    assert prepared.val.odd == ()
    assert read_prepared(out) == prepared


def test_reslab_reads_the_outcome_with_the_right_labels(archives: Archives, out: Path) -> None:
    prepare_imagenet(Sources(*archives), out)
    source = find_data(str(out))
    index = source.read("val").index  # type: ignore[union-attr]
    assert index.classes == WNIDS
    truth = {val_name(place): ORDER[number - 1] for place, number in enumerate(ANSWERS, start=1)}
    labels = {Path(index.path(number)).name: WNIDS[index.labels[number]] for number in range(len(index))}
    assert labels == truth
    train = source.read("train")
    assert len(train) == 10 * EACH + 2
    assert np.bincount(train.index.labels).tolist() == [  # type: ignore[union-attr]
        EACH + (place in (2, 5)) for place in range(10)
    ]


def test_the_servers_order_of_classes_is_that_of_the_numbers(archives: Archives, out: Path) -> None:
    prepare_imagenet(Sources(*archives), out)
    assert (out / "server-classes.txt").read_text().splitlines() == list(ORDER)


def test_one_half_after_the_other_is_both(archives: Archives, out: Path, tmp_path: Path) -> None:
    prepare_imagenet(Sources(train=archives.train), out)
    assert pictures_in(out) == expected("train")
    assert not (out / "server-classes.txt").exists()
    prepare_imagenet(Sources(val=archives.val, devkit=archives.devkit), out)
    prepare_imagenet(Sources(*archives), tmp_path / "at once")
    assert tree(out) == tree(tmp_path / "at once")


def test_progress_is_told_in_bytes_of_the_archive(archives: Archives, out: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    prepare_imagenet(Sources(*archives), out, moved=lambda *told: heard.append(told))
    for half, path in (("train", archives.train), ("val", archives.val)):
        places = [done for name, done, _ in heard if name == half]
        assert {total for name, _, total in heard if name == half} == {path.stat().st_size}
        assert len(places) == len([name for name in expected() if name.startswith(half)])
        assert places == sorted(places)
        assert places[-1] <= path.stat().st_size


def test_a_finished_half_is_not_read_again(archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare_imagenet(Sources(*archives), out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(prepare, "Unpacking", None)
    renamed = archives._replace(train=archives.train.rename(archives.train.with_name("other.tar")))
    assert prepare_imagenet(Sources(*renamed), out) == first
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert {path for path in before if before[path] != after[path]} <= {out / ".lock"}


@pytest.mark.parametrize("gone", [FIRST, f"train/{WNIDS[2]}/{CMYK}", f"val/{ORDER[0]}/{val_name(1)}"])
def test_what_went_missing_from_a_finished_half_comes_back(archives: Archives, out: Path, gone: str) -> None:
    prepare_imagenet(Sources(*archives), out)
    before = tree(out)
    (out / gone).unlink()
    prepare_imagenet(Sources(*archives), out)
    assert tree(out) == before


def test_pictures_that_somebody_else_unpacked_are_kept_and_the_odd_ones_known(archives: Archives, out: Path) -> None:
    for path, data in expected().items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    os.utime(out / FIRST, (5, 5))
    prepared = prepare_imagenet(Sources(*archives), out)
    assert prepared.train is not None
    assert [(odd.path, odd.what) for odd in prepared.train.odd] == ODD
    assert pictures_in(out) == expected()
    assert (out / FIRST).stat().st_mtime == 5


@pytest.mark.parametrize("path", [FIRST, f"val/{ORDER[0]}/{val_name(1)}"])
def test_a_picture_from_elsewhere_with_other_bytes_is_refused(archives: Archives, out: Path, path: str) -> None:
    (out / path).parent.mkdir(parents=True)
    (out / path).write_bytes(expected()[path][:-1] + b"x")
    line = refused(archives, out)
    assert line == f"{out / path} has other bytes than in this archive: delete it, or choose another --out"


def journal(archives: Archives, out: Path, text: str = "") -> None:
    """``out`` as a preparation of the training pictures leaves it that was killed early."""
    (out / "train").mkdir(parents=True)
    name = f".prepare-train-{origin_of(archives.train).ends[:16]}.jsonl"
    (out / name).write_text(text)


def test_a_journal_cut_short_by_a_kill_is_read_up_to_there(archives: Archives, out: Path, tmp_path: Path) -> None:
    prepare_imagenet(Sources(train=archives.train), tmp_path / "unbroken")
    lines = [json.dumps({"path": path, "what": what}) for path, what in ODD]
    journal(archives, out, f"{lines[0]}\n{lines[1][:20]}")
    (out / ODD[0][0]).parent.mkdir(parents=True)
    (out / ODD[0][0]).write_bytes(expected()[ODD[0][0]])
    prepare_imagenet(Sources(train=archives.train), out)
    assert tree(out) == tree(tmp_path / "unbroken")


def test_what_the_journal_names_and_is_not_there_adds_nothing(archives: Archives, out: Path) -> None:
    journal(archives, out, json.dumps({"path": "train/n1/x.JPEG", "what": "CMYK"}) + "\n")
    prepared = prepare_imagenet(Sources(train=archives.train), out)
    assert prepared.train is not None
    assert [(odd.path, odd.what) for odd in prepared.train.odd] == ODD


def test_with_its_journal_a_half_is_not_read_again(
    archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, data in expected("train").items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    (out / FIRST).unlink()
    journal(archives, out.with_name("journal"))
    for file in out.with_name("journal").glob(".prepare*"):
        file.rename(out / file.name)
    read, names = Tar.read, []
    monkeypatch.setattr(Tar, "read", lambda tar, member: names.append(member.name) or read(tar, member))  # type: ignore[func-returns-value]
    prepare_imagenet(Sources(train=archives.train), out)
    assert names == [Path(FIRST).name]
    assert pictures_in(out) == expected("train")


def test_going_on_with_another_archive_compares_and_refuses(archives: Archives, out: Path) -> None:
    """Of the same size, with the same names and sizes; the first was stopped after its first class."""
    entries = train_entries()
    stopped = [entries[0], entry(entries[1][0].name, packed([entry(f"{WNIDS[1]}_1.JPEG", b"x")])), *entries[2:]]
    archives.train.write_bytes(packed(stopped))
    refused(Sources(train=archives.train), out)
    kept = pictures_in(out)
    assert len(kept) == EACH
    assert len(list(out.glob(".prepare-train-*"))) == 1
    changed = bytearray(entries[0][1])
    place = changed.index(b"\xff\xd9")
    changed[place + 1] ^= 1
    archives.train.write_bytes(packed([entry(entries[0][0].name, bytes(changed)), *entries[1:]]))
    assert "has other bytes than in this archive" in refused(Sources(train=archives.train), out)
    assert pictures_in(out) == kept
    archives.train.write_bytes(packed(entries))
    prepare_imagenet(Sources(train=archives.train), out)
    assert pictures_in(out) == expected("train")
    assert not list(out.glob(".prepare-*"))


def test_another_archive_into_a_finished_half_is_refused(archives: Archives, out: Path) -> None:
    """Of the same size, and with the same names."""
    prepare_imagenet(Sources(*archives), out)
    before = tree(out)
    size = archives.train.stat().st_size
    entries = train_entries()
    name, data = entries[4][0].name, bytearray(entries[4][1])
    data[600] ^= 1
    archives.train.write_bytes(packed([*entries[:4], entry(name, bytes(data)), *entries[5:]]))
    assert archives.train.stat().st_size == size
    assert refused(archives, out) == (
        f"{out}/train was made from ILSVRC2012_img_train.tar of {size:,} bytes, not from this"
        f" ILSVRC2012_img_train.tar of {size:,}: choose another --out"
    )
    assert tree(out) == before


def test_another_development_kit_into_a_finished_half_is_refused(archives: Archives, out: Path) -> None:
    prepare_imagenet(Sources(*archives), out)
    before = tree(out)
    archives.devkit.write_bytes(devkit_bytes(truth=truth_text((2, 1, *ANSWERS[2:]))))
    assert refused(archives, out) == f"{out}/val was made with another development kit: choose another --out"
    archives.devkit.write_bytes(devkit_bytes(meta_mat(synsets(ORDER[::-1]))))
    assert "server-classes.txt has another order of classes than ILSVRC2012" in refused(
        Sources(archives.train, None, archives.devkit), out
    )
    assert tree(out) == before


def begun(out: Path, path: str, data: bytes) -> dict[str, bytes]:
    """``out`` with one picture in it, as a stopped preparation leaves it."""
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_bytes(data)
    return pictures_in(out)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (FIRST, f"{FIRST} has 3 bytes, and "),
        (f"train/{WNIDS[0]}/{WNIDS[0]}_4.JPEG", f"{WNIDS[0]}_4.JPEG is not from this archive: choose another --out"),
        ("train/n00000001/n00000001_1.JPEG", "train/n00000001 is not from this archive: choose another --out"),
        ("train/cat.JPEG", "train/cat.JPEG is not from this archive: choose another --out"),
        (f"train/{WNIDS[0]}", f"train/{WNIDS[0]} is not a folder"),
        ("train", "out/train is not a folder"),
        (f"{FIRST}/x", f"{FIRST} is not a regular file"),
    ],
)
def test_what_another_archive_left_is_refused_before_anything_is_written(
    archives: Archives, out: Path, path: str, says: str
) -> None:
    begun(out, path, b"abc")
    before = {name: data for name, data in tree(out).items() if not name.startswith(".")}
    assert says in refused(archives, out)
    assert {name: data for name, data in tree(out).items() if name[0] != "." and name != "server-classes.txt"} == before


def test_hidden_files_of_the_system_are_no_ones_business(archives: Archives, out: Path) -> None:
    prepare_imagenet(Sources(*archives), out)
    (out / "train" / ".DS_Store").write_bytes(b"x")
    (out / "train" / WNIDS[0] / "._x.JPEG").write_bytes(b"x")
    (out / FIRST).unlink()
    prepare_imagenet(Sources(*archives), out)
    assert (out / FIRST).read_bytes() == expected()[FIRST]


@pytest.mark.parametrize("link", ["train", f"train/{WNIDS[3]}", FIRST])
def test_nothing_is_written_through_a_link(archives: Archives, out: Path, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(elsewhere)
    line = refused(archives, out)
    assert line == f"{out / link} is a link: nothing is written outside {out}"
    assert tree(elsewhere) == {}


def test_a_leftover_that_is_a_link_is_not_followed(archives: Archives, out: Path, tmp_path: Path) -> None:
    out.mkdir()
    (out / ".partial-train").symlink_to(tmp_path / "elsewhere")
    prepare_imagenet(Sources(*archives), out)
    assert not (tmp_path / "elsewhere").exists()
    assert pictures_in(out) == expected()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: train_entries(()), "ILSVRC2012_img_train.tar holds no classes"),
        (lambda: [entry(f"{WNIDS[0]}.tar", packed([]))], f"ILSVRC2012_img_train.tar: {WNIDS[0]}.tar holds no pictures"),
        (
            lambda: [entry(f"{WNIDS[0]}.tar", packed(class_entries(WNIDS[1])))],
            f"{WNIDS[0]}.tar: '{WNIDS[1]}_3.JPEG' has a name that does not belong here",
        ),
        (
            lambda: [entry(f"{WNIDS[0]}.tar", packed([entry(f"{WNIDS[0]}_1.JPEG", b"text")]))],
            f"{WNIDS[0]}.tar: {WNIDS[0]}_1.JPEG is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture",
        ),
        (
            lambda: [entry(f"{WNIDS[0]}.tar", packed([entry(f"{WNIDS[0]}_1.JPEG", b"")]))],
            f"{WNIDS[0]}_1.JPEG is not a JPEG",
        ),
        (
            lambda: [entry(f"{WNIDS[0]}.tar", packed([entry(f"{WNIDS[0]}_1.JPEG", photograph(1)[:30])]))],
            f"{WNIDS[0]}_1.JPEG is damaged: its JPEG header cannot be read",
        ),
        (lambda: [*train_entries(), entry("n00000001.tar", packed([]))], "does not name: n00000001"),
        (lambda: [entry("n01440764.JPEG", photograph(1))], "'n01440764.JPEG' has a name that does not belong here"),
        (
            lambda: [*train_entries(), *val_entries()],
            "'ILSVRC2012_val_00000001.JPEG' has a name that does not belong here",
        ),
    ],
)
def test_training_archives_that_are_not_the_official_ones(
    archives: Archives, out: Path, change: Callable[[], Any], says: str
) -> None:
    archives.train.write_bytes(packed(change()))
    assert says in refused(archives, out)
    assert pictures_in(out) == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: val_entries(12), "holds 12 pictures, and ILSVRC2012_devkit_t12.tar.gz has the classes of 13"),
        (lambda: [*val_entries(), entry(val_name(14), photograph(1))], "holds 14 pictures, and ILSVRC2012_devkit_t12"),
        (lambda: [*val_entries()[1:], entry(val_name(0), b"")], f"{val_name(0)} is none of the pictures 1 to 13"),
        (lambda: [*val_entries()[1:], entry(val_name(77), b"")], f"{val_name(77)} is none of the pictures 1 to 13"),
        (lambda: [*val_entries(), entry(val_name(1), b"")], f"'{val_name(1)}' is there twice"),
        (lambda: [*val_entries()[1:], entry("../" + val_name(1), b"")], "leads out of its folder"),
        (lambda: [*val_entries(), *train_entries()], f"'{WNIDS[0]}.tar' has a name that does not belong here"),
    ],
)
def test_validation_archives_that_are_not_the_official_ones(
    archives: Archives, out: Path, change: Callable[[], Any], says: str
) -> None:
    archives.val.write_bytes(packed(change()))
    assert says in refused(archives, out)
    assert not out.exists()


def test_validation_pictures_need_the_kit(archives: Archives, out: Path) -> None:
    assert "need the development kit" in refused(Sources(val=archives.val), out)


def test_a_class_that_fails_leaves_those_before_it_whole_and_none_of_its_own(archives: Archives, out: Path) -> None:
    entries = train_entries()
    hostile = [*class_entries(WNIDS[4]), entry(f"{WNIDS[4]}_999.JPEG", kind=tarfile.SYMTYPE, link="/etc/passwd")]
    entries[4] = entry(f"{WNIDS[4]}.tar", packed(hostile))
    archives.train.write_bytes(packed(entries))
    assert f"{WNIDS[4]}.tar: '{WNIDS[4]}_999.JPEG' is a symbolic link" in refused(archives, out)
    before = {path: data for path, data in expected("train").items() if path.split("/")[1] in WNIDS[:4]}
    assert pictures_in(out) == before
    archives.train.write_bytes(packed(train_entries()))
    prepare_imagenet(Sources(*archives), out)
    assert pictures_in(out) == expected()


def test_a_class_has_a_limit_of_its_own(archives: Archives, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert halves.CLASS.members == 10_000
    monkeypatch.setattr(halves, "CLASS", replace(halves.CLASS, members=EACH))
    assert f"{WNIDS[2]}.tar holds more than {EACH} members" in refused(archives, out)


def test_a_full_disk_says_what_is_needed_leaves_whole_pictures_and_goes_on(
    archives: Archives, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, count = Path.write_bytes, iter(range(1000))

    def filling(path: Path, data: Any) -> int:
        if path.name.startswith(".partial-") and next(count) == 20:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", filling)
        line = refused(archives, out, StorageError)
    assert line.startswith(f"the disk is full: cannot write {out}/train/")
    assert " KiB are needed, " in line
    assert len(pictures_in(out)) == 20
    assert pictures_in(out).items() <= expected().items()
    assert not list(out.glob(".partial-*"))
    prepare_imagenet(Sources(*archives), out)
    prepare_imagenet(Sources(*archives), tmp_path / "unbroken")
    assert tree(out) == tree(tmp_path / "unbroken")


def test_halves_of_different_classes_are_warned_of(archives: Archives, out: Path) -> None:
    archives.train.write_bytes(packed(train_entries(WNIDS[:9])))
    heard: list[str] = []
    prepare_imagenet(Sources(*archives), out, heard.append)
    (line,) = heard
    assert f"train/ and val/ have different classes: only in val/: {WNIDS[9]}; " in line


@pytest.mark.parametrize("text", ["", "{", "[]", '{"train": 5}', '{"train": {"classes": 1}}', '{"other": null}'])
def test_a_damaged_manifest_is_named(archives: Archives, out: Path, text: str) -> None:
    prepare_imagenet(Sources(*archives), out)
    (out / "prepared.json").write_text(text)
    assert refused(archives, out).startswith(f"{out}/prepared.json is damaged: delete it")
    (out / "prepared.json").unlink()
    before = tree(out)
    prepare_imagenet(Sources(*archives), out)
    assert pictures_in(out) == expected()
    assert set(tree(out)) - set(before) == {"prepared.json"}


def test_a_file_is_no_folder(archives: Archives, out: Path) -> None:
    out.write_bytes(b"x")
    assert refused(archives, out, RunError) == f"{out} is a file, not a directory"
    assert out.read_bytes() == b"x"
