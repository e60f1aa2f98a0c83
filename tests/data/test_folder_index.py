"""The index of a folder: kept, read again, divided."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reslab.core.errors import DataError
from reslab.data.folder import held_out
from reslab.data.index import Index, read_index

CALM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
MEBIBYTE = 2**20


def index_of(*classes: list[str] | list[bytes], names: tuple[str, ...] | None = None) -> Index:
    """An index of the paths given for each class."""
    paths = [os.fsencode(path) for own in classes for path in own]
    return Index(
        names or tuple("abcdefghij"[: len(classes)]),
        np.frombuffer(b"".join(paths), np.uint8),
        np.cumsum([len(path) for path in paths], dtype=np.int64),
        np.repeat(np.arange(len(classes), dtype=np.int32), [len(own) for own in classes]),
        np.arange(len(paths), dtype=np.int64) + 1000,
        ("a/notes.txt",),
    )


def numbered(*counts: int) -> Index:
    return index_of(*([f"{label}/{number}.jpg" for number in range(n)] for label, n in enumerate(counts)))


def paths_of(index: Index) -> list[str]:
    return [index.path(number) for number in range(len(index))]


def same(first: Index, second: Index) -> bool:
    columns = ("block", "ends", "labels", "sizes")
    equal = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in columns)
    kinds = all(getattr(first, name).dtype == getattr(second, name).dtype for name in columns)
    return equal and kinds and (first.classes, first.others) == (second.classes, second.others)


ODD = index_of(
    [b"caf\xe9/two\nlines.jpg", b"caf\xe9/\xff.png"],
    ["é/1.jpg"],
    names=(os.fsdecode(b"caf\xe9"), "é"),
)


@pytest.mark.parametrize("index", [numbered(3, 2), numbered(1), ODD], ids=["plain", "one picture", "odd names"])
def test_an_index_is_read_as_it_was_kept(index: Index, tmp_path: Path) -> None:
    index.save(tmp_path / "kept" / "train.safetensors")
    again = read_index(tmp_path / "kept" / "train.safetensors")
    assert same(index, again)
    assert again.digest == index.digest
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["train.safetensors"]


def test_the_digest_sees_classes_paths_labels_sizes_and_order() -> None:
    base = numbered(3, 2)
    others = [
        Index(("a", "c"), base.block, base.ends, base.labels, base.sizes),
        Index(base.classes, base.block[::-1].copy(), base.ends, base.labels, base.sizes),
        Index(base.classes, base.block, base.ends, base.labels[::-1].copy(), base.sizes),
        Index(base.classes, base.block, base.ends, base.labels, base.sizes + 1),
        base.subset(np.array([1, 0, 2, 3, 4])),
        base.subset(np.array([0, 1, 2, 3])),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 7
    assert base.subset(np.arange(5)).digest == base.digest


def damaged(kind: str, file: Path) -> None:
    data, index = file.read_bytes(), numbered(3, 2)
    columns: dict[str, NDArray[Any]] = {name: getattr(index, name) for name in ("block", "ends", "labels", "sizes")}
    names = {"index": json.dumps({"classes": index.classes, "others": []})}
    shorter = {**columns, "labels": index.labels[:-1]}
    beyond = {**columns, "labels": index.labels + 9}
    falling = {**columns, "ends": index.ends[::-1].copy()}
    written = {
        "empty": b"",
        "cut": data[:-9],
        "cut in its header": data[:20],
        "garbage": bytes(range(256)) * 4,
        "JSON": b'{"classes": []}',
        "without a column": safetensors.numpy.save({"block": index.block}, names),
        "without names": safetensors.numpy.save(columns),
        "with other names": safetensors.numpy.save(columns, {"index": "{}"}),
        "with names that are no JSON": safetensors.numpy.save(columns, {"index": "{"}),
        "with a shorter column": safetensors.numpy.save(shorter, names),
        "with labels beyond its classes": safetensors.numpy.save(beyond, names),
        "with paths that end before they begin": safetensors.numpy.save(falling, names),
    }
    file.write_bytes(written[kind])


@pytest.mark.parametrize(
    "kind",
    [
        *("empty", "cut", "cut in its header", "garbage", "JSON", "without a column", "without names"),
        *("with other names", "with names that are no JSON", "with a shorter column"),
        *("with labels beyond its classes", "with paths that end before they begin"),
    ],
)
def test_a_damaged_index_is_refused_with_what_helps(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "train.safetensors"
    numbered(3, 2).save(file)
    damaged(kind, file)
    with pytest.raises(DataError) as error:
        read_index(file)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert text.startswith(f"{file} is damaged")
    assert text.endswith("; remove it and the folder is searched again")


def test_a_missing_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.safetensors"):
        read_index(tmp_path / "train.safetensors")


@pytest.mark.slow
def test_an_index_with_very_many_other_files_is_read_again(tmp_path: Path) -> None:
    """Captions beside a million pictures: more than 100 MB of their names, which is all a safetensors header holds."""
    base = numbered(2, 2)
    others = tuple(f"a/{number:0200}.txt" for number in range(520_000))
    Index(base.classes, base.block, base.ends, base.labels, base.sizes, others).save(tmp_path / "x.safetensors")
    assert read_index(tmp_path / "x.safetensors").digest == base.digest


def test_a_subset_has_the_chosen_pictures_in_their_order() -> None:
    part = numbered(3, 2).subset(np.array([4, 0, 2]))
    assert paths_of(part) == ["1/1.jpg", "0/0.jpg", "0/2.jpg"]
    assert part.labels.tolist() == [1, 0, 0]
    assert part.sizes.tolist() == [1004, 1000, 1002]
    assert part.classes == ("a", "b")
    assert (part.ends.dtype, part.labels.dtype, part.sizes.dtype) == (np.int64, np.int32, np.int64)


def test_a_subset_may_be_empty() -> None:
    assert len(numbered(3, 2).subset(np.array([], np.int64))) == 0


@CALM
@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.floats(0.01, 0.99))
def test_of_each_class_the_same_share_is_held_out_and_never_all(counts: list[int], fraction: float) -> None:
    index = numbered(*counts)
    kept = held_out(index, fraction)
    for label, count in enumerate(counts):
        held = int(kept[index.labels == label].sum())
        assert held == min(max(round(fraction * count), 1), count - 1)
        assert held < count
        assert held >= 1 or count == 1


@CALM
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.data())
def test_when_a_picture_goes_at_most_one_other_changes_sides(counts: list[int], data: st.DataObject) -> None:
    index = numbered(*counts)
    before = dict(zip(paths_of(index), held_out(index, 0.2).tolist(), strict=True))
    gone = data.draw(st.integers(0, len(index) - 1))
    fewer = index.subset(np.delete(np.arange(len(index)), gone))
    after = dict(zip(paths_of(fewer), held_out(fewer, 0.2).tolist(), strict=True))
    changed = [path for path in after if after[path] != before[path]]
    assert len(changed) <= 1
    assert all(path.split("/")[0] == index.path(gone).split("/")[0] for path in changed)


@CALM
@given(st.permutations(range(12)))
def test_the_order_of_pictures_does_not_decide_which_are_held_out(order: list[int]) -> None:
    index = numbered(12)
    shuffled = index.subset(np.array(order))
    chosen = {path for path, kept in zip(paths_of(shuffled), held_out(shuffled, 0.3), strict=True) if kept}
    assert chosen == {path for path, kept in zip(paths_of(index), held_out(index, 0.3), strict=True) if kept}


def test_which_pictures_are_held_out_does_not_change_from_version_to_version() -> None:
    index = numbered(10, 5)
    assert [path for path, kept in zip(paths_of(index), held_out(index, 0.2), strict=True) if kept] == GOLDEN


GOLDEN = ["0/2.jpg", "0/6.jpg", "1/2.jpg"]

MILLION = """
import json, sys
from pathlib import Path
import numpy as np
from reslab.data import folder
from reslab.data.index import read_index

CLASSES, EACH = 1000, 1300
names = [f"n{label:08}" for label in range(CLASSES)]
folder.common_classes = lambda *_: names

def pictures_in(root, place, other, *_rest):
    name = place.rpartition("/")[2]
    for number in range(EACH):
        yield f"{place}/{name}_{number * 7919 % 1_000_003}.JPEG", 110_000 + number

folder.pictures_in = pictures_in
heard = []
root = Path(sys.argv[1]).parent
(root / "train").mkdir()
index = folder.scan(root, ("train",), heard.append)
assert len(index) == CLASSES * EACH
kept = folder.held_out(index, 0.2)
index.save(Path(sys.argv[1]))
again = read_index(Path(sys.argv[1]))
assert again.digest == index.digest
train = again.subset(np.flatnonzero(~kept))
assert len(train) == 1040 * CLASSES
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(json.dumps({"peak": int(peak.split()[1]) * 1024, "heard": len(heard), "kept": int(kept.sum())}))
"""


@pytest.mark.slow
def test_an_index_of_a_million_pictures_takes_less_than_600_megabytes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MILLION, str(tmp_path / "index.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heard"] == 130
    assert found["kept"] == 260_000
    assert found["peak"] < 600 * MEBIBYTE
