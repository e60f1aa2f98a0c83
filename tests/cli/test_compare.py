"""``reslab compare`` as a user runs it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.said import answer

Command = Callable[..., subprocess.CompletedProcess[str]]
TINY = ("--model", "cifar-resnet8", "--width", 4)


@pytest.fixture(scope="module")
def nets(reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A network that has learnt little, and one that has learnt more; nobody may change them."""
    place = tmp_path_factory.mktemp("nets")
    for steps in (4, 60):
        words = ("--data", "embedded", "--steps", steps, "--evaluate-every", steps, "--batch", 32)
        assert reslab("train", *TINY, *words, "--out", place / f"{steps}").returncode == 0
    return [place / "4", place / "60"]


def test_two_networks_are_compared_picture_by_picture(reslab: Command, nets: list[Path]) -> None:
    found = answer(reslab("compare", *nets, "--data", "embedded", "--json"))
    hits = [json.loads((net / "result.json").read_text())["hits"] for net in nets]
    assert found["hits"] == hits
    assert (found["n"], found["verdict"]) == (2000, "holds")
    assert found["both"] + found["only_first"] == hits[0]
    assert found["both"] + found["only_second"] == hits[1]
    low, high = found["interval"]
    assert 0 < low < found["difference"] < high
    assert found["difference"] == pytest.approx((hits[1] - hits[0]) / 20)
    assert found["p_value"] < 0.05
    assert len(found["only_second_right"]) == found["only_second"]
    assert [one["step"] for one in found["networks"]] == [4, 60]
    swapped = answer(reslab("compare", *nets[::-1], "--data", "embedded", "--json"))
    assert (swapped["verdict"], swapped["p_value"]) == ("fails", found["p_value"])
    text = reslab("compare", *nets, "--data", "embedded").stdout
    assert "cifar-resnet8, width 4 (60) is better than cifar-resnet8, width 4 (4) by " in text
    assert "(60) has a smaller error than cifar-resnet8, width 4 (4): holds" in text
    assert "is right on" in text


def test_a_network_is_not_separable_from_itself(reslab: Command, nets: list[Path]) -> None:
    found = answer(reslab("compare", nets[0], nets[0], "--data", "embedded", "--json"))
    assert (found["verdict"], found["p_value"], found["difference"]) == ("not separable", 1.0, 0.0)
    assert "(first) and cifar-resnet8, width 4 (second) are not separable: 0.00 points" in found["sentence"]


def test_stored_scores_are_compared_and_the_page_shows_the_pictures(
    reslab: Command, nets: list[Path], tmp_path: Path
) -> None:
    folders = [net / "scores" / "single-val" for net in nets]
    words = ("compare", "--from-scores", *folders)
    found = answer(reslab(*words, "--page", tmp_path / "page.html", "--data", "embedded", "--json"))
    tested = answer(reslab("compare", *nets, "--data", "embedded", "--json"))
    assert (found["hits"], found["p_value"]) == (tested["hits"], tested["p_value"])
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 48
    assert found["sentence"] in page
    assert "http" not in page


def test_photographs_are_shown_by_their_paths(reslab: Command, folder_of: Callable[..., Path], tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "trees")
    sizes = ("--crop", 32, "--shorter-side", 32, "--scale", 32, 40, "--bn-group", 4)
    for steps in (1, 30):
        words = (*TINY, *sizes, "--data", photos, "--steps", steps, "--workers", 0, "--out", tmp_path / f"{steps}")
        assert reslab("train", *words, "--batch", 8).returncode == 0
    nets = (tmp_path / "1", tmp_path / "30")
    words = ("compare", *nets, "--data", photos, "--split", "val", "--workers", 0, "--page", tmp_path / "c.html")
    done = reslab(*words)
    assert done.returncode == 0, done.stderr
    found = answer(reslab(*words, "--json"))
    assert found["n"] == 6
    page = (tmp_path / "c.html").read_text()
    assert page.count("data:image/jpeg;base64,") == found["only_first"] + found["only_second"] > 0
    assert "ash/" in page or "birch/" in page or "cedar/" in page
    shutil.rmtree(photos)
    moved = reslab(
        "compare", "--from-scores", *(net / "scores" / "center-val" for net in nets), *words[-2:], "--data", photos
    )
    assert moved.returncode == 1
    assert "has gone: its disk, or it was moved" in moved.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "a comparison is of two networks, or of two folders of scores, not of 0"),
        (("a",), "not of 1"),
        (("a", "b", "c"), "not of 3"),
        (("a", "b"), "--data says which pictures to test on"),
        (("nowhere", "b", "--data", "embedded"), "nowhere"),
        (("--from-scores", "nowhere", "b"), "nowhere does not exist"),
        (("--from-scores", "a", "b", "--protocol", "flip"), "takes the place of everything about the test but --data"),
        (("c", "--from-scores", "a", "b"), "not of 3"),
        (("--from-scores", "a", "b", "--page", "x.html"), "--page shows pictures: --data says where they are"),
    ],
)
def test_a_comparison_that_cannot_be_is_one_line(words: tuple[object, ...], message: str, reslab: Command) -> None:
    done = reslab("compare", *words)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert message in line


def test_a_page_of_other_pictures_is_refused(reslab: Command, nets: list[Path], tmp_path: Path) -> None:
    folders = [shutil.copytree(net / "scores" / "single-val", tmp_path / net.name) for net in nets]
    for folder in folders:
        facts = json.loads((folder / "protocol.json").read_text())
        facts["data"]["digest"] = "0" * 64
        (folder / "protocol.json").write_text(json.dumps(facts))
    done = reslab("compare", "--from-scores", *folders, "--page", tmp_path / "p.html", "--data", "embedded")
    assert (done.returncode, done.stdout) == (2, "")
    assert "embedded holds other pictures than those that were tested" in done.stderr
    assert not (tmp_path / "p.html").exists()


def test_one_network_is_compared_in_two_ways_of_testing(reslab: Command, nets: list[Path], tmp_path: Path) -> None:
    for name in ("single", "ten-crop"):
        words = ("--data", "embedded", "--protocol", name, "--out", tmp_path / name)
        assert reslab("evaluate", nets[1], *words).returncode == 0
    found = answer(reslab("compare", "--from-scores", tmp_path / "single", tmp_path / "ten-crop", "--json"))
    assert found["statement"] == (
        "cifar-resnet8, width 4, ten-crop has a smaller error than cifar-resnet8, width 4, single"
    )
    assert [one["protocol"] for one in found["networks"]] == ["single", "ten-crop"]
    text = reslab("compare", "--from-scores", tmp_path / "single", tmp_path / "ten-crop").stdout
    assert "\nsingle: the centre, crops of 28" in text
    assert "\nten-crop: four corners and the centre of the whole picture, crops of 28" in text
