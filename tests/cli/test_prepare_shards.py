"""`reslab data prepare imagenet --shards` as a user runs it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.imagenet_archives import (
    CMYK,
    PNG,
    WNIDS,
    Archives,
    class_entries,
    devkit_bytes,
    entry,
    expected,
    packed,
    tree,
    truth_text,
)
from tests.said import bare_line

from reslab.data.shards import INDEX, read_shards

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("quick_meta")

SMALLER = ("--shorter-side", 22, "--quality", 70)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "imagenet"


def test_its_shards_are_those_of_preparing_and_packing(
    reslab: Command, archives: Archives, out: Path, tmp_path: Path
) -> None:
    for how in ((), (*SMALLER, "--shard-size", 9), ("--shard-size", "20kB", "--workers", 0)):
        place = out / str(len(how))
        prepare = ("data", "prepare", "imagenet", *archives.words, "--out")
        assert reslab(*prepare, tmp_path / "folders").returncode == 0
        assert (
            reslab("data", "pack", tmp_path / "folders", "--out", tmp_path / "packed" / place.name, *how).returncode
            == 0
        )
        assert reslab(*prepare, place, "--shards", *how).returncode == 0
        beside = {".lock", "prepared.json", "server-classes.txt"}
        ours = {path: data for path, data in tree(place).items() if path not in beside}
        assert ours == tree(tmp_path / "packed" / place.name)


def test_it_says_what_there_is_now(reslab: Command, archives: Archives, out: Path) -> None:
    words = ("data", "prepare", "imagenet", *archives.words, "--out", out, "--shards", "--shard-size", 9)
    done = reslab(*words)
    assert (done.returncode, done.stderr) == (0, "")
    train, val, blank, title, *odd, second, last = done.stdout.splitlines()
    size = f"{sum(map(len, expected('train').values())) / 1024:.1f} KiB"
    published = "(published: 1,000 classes, 1,281,167 pictures)"
    assert train == f"train/: 10 classes, 62 pictures, {size} {published} in 7 shards, {size}, byte for byte"
    assert " in 2 shards, " in val
    assert (blank, title, second) == ("", "odd, kept as they are", "")
    assert odd == [f"train/{WNIDS[2]}/{CMYK}: CMYK", f"train/{WNIDS[5]}/{PNG}: PNG named .JPEG"]
    assert re.fullmatch(rf"{out} is prepared \(\d+ s\)", last)
    again = reslab(*words)
    assert again.returncode == 0
    assert again.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    assert again.stdout.splitlines()[-1] == f"{out} was prepared before: nothing is to be done"
    verified = json.loads(reslab("data", "verify", out, "--workers", 0, "--json").stdout)
    assert (verified["pictures"], verified["defects"]) == (75, [])


def test_json_is_one_document(reslab: Command, archives: Archives, out: Path) -> None:
    words = ("--train-archive", archives.train, "--out", out, "--shards", *SMALLER, "--shard-size", "1MB", "--json")
    found = json.loads(reslab("data", "prepare", "imagenet", *words).stdout)
    index = read_shards(out / "train" / INDEX)
    assert found.pop("seconds") > 0
    assert 0 < index.facts["resized"] < 62
    assert found == {
        "out": str(out),
        "train": {
            "classes": 10,
            "pictures": 62,
            "bytes": sum(map(len, expected("train").values())),
            "sharded": {
                "sizes": {"bytes": 1_000_000, "pictures": None, "shorter_side": 22, "quality": 70},
                "shards": 1,
                "bytes": int(index.index.sizes.sum()),
                "digest": index.index.digest,
                "resized": index.facts["resized"],
                "damaged": [],
            },
        },
        "val": None,
        "odd": [
            {"path": f"train/{WNIDS[2]}/{CMYK}", "what": "CMYK"},
            {"path": f"train/{WNIDS[5]}/{PNG}", "what": "PNG named .JPEG"},
        ],
    }


def test_pictures_that_cannot_be_made_smaller_are_warned_of_and_kept(
    reslab: Command, archives: Archives, out: Path
) -> None:
    name, data = f"{WNIDS[0]}_9.JPEG", class_entries(WNIDS[0])[0][1]
    cut = data[: len(data) * 2 // 3]
    archives.train.write_bytes(packed([entry(f"{WNIDS[0]}.tar", packed([entry(name, cut)]))]))
    words = ("--train-archive", archives.train, "--out", out, "--shards", "--shorter-side", 8)
    for _ in range(2):
        done = reslab("data", "prepare", "imagenet", *words)
        assert done.returncode == 0
        says = f"pictures that cannot be decoded are kept as they are (1): train/{WNIDS[0]}/{name}"
        assert done.stderr == f"reslab: warning: {says}\n"
    lies = read_shards(out / "train" / INDEX).lies(0)
    assert (out / "train" / lies.file.name).read_bytes()[lies.offset :][: lies.length] == cut


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--shorter-side", 22), "--shorter-side is of --shards, which is not given"),
        (("--quality", 80), "--quality is of --shards, which is not given"),
        (("--shard-size", 9), "--shard-size is of --shards, which is not given"),
        (("--workers", 2), "--workers is of --shards, which is not given"),
        (("--shards", "--quality", 80), "--quality is of pictures that --shorter-side makes smaller, and is not given"),
        (("--shards", "--shorter-side", 22, "--quality", 0), "--quality must be 1 to 95, not 0"),
        (("--shards", "--shorter-side", 0), "--shorter-side must be 1 or more, not 0"),
        (("--shards", "--shard-size", "much"), "--shard-size: 'much' is no number of bytes"),
        (("--shards", "--workers", -1), "--workers must be 0 or more, not -1"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: tuple[object, ...], says: str, reslab: Command, archives: Archives, out: Path
) -> None:
    assert bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out, *words)).startswith(says)
    assert not out.exists()


def test_folders_and_shards_do_not_mix(reslab: Command, archives: Archives, out: Path) -> None:
    words = ("data", "prepare", "imagenet", *archives.words, "--out")
    reslab(*words, out)
    reslab(*words, out / "shards", "--shards")
    line = bare_line(reslab(*words, out, "--shards"))
    assert line == f"{out} holds class folders: choose another --out for shards"
    line = bare_line(reslab(*words, out / "shards"))
    assert line == f"{out}/shards holds shards: give --shards, or choose another --out for class folders"


def test_a_ground_truth_of_another_length_is_bare_line(reslab: Command, archives: Archives, out: Path) -> None:
    archives.devkit.write_bytes(devkit_bytes(truth=truth_text(range(1, 11))))
    line = bare_line(reslab("data", "prepare", "imagenet", *archives.words, "--out", out, "--shards"))
    assert line == "ILSVRC2012_img_val.tar holds 13 pictures, and ILSVRC2012_devkit_t12.tar.gz has the classes of 10"
    assert not out.exists()
