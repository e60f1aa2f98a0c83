"""`reslab predict`: a run's answers about files and folders of them."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.hostile import nobody
from tests.picture_bytes import image, saved
from tests.said import Terminal, one_line

from reslab.cli.app import run
from reslab.data import photographs
from reslab.data.decode import decode
from reslab.data.source import load
from reslab.experiments.predict import BATCH, find_pictures, predict
from reslab.experiments.testing import Trained
from reslab.experiments.testing import trained as ready
from reslab.experiments.weights import read_weights
from reslab.report import contact

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]

TINY = ("--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--scale", 36, 44, "--shorter-side", 36)
SHORT = ("--steps", 3, "--batch", 8, "--workers", 0, "--precision", "fp32", "--optim.lr", 0.01)
CLASSES = ("ash", "birch", "cedar")
NO_PICTURE = "is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture"
MANY = 2 * BATCH + 6


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of four pictures; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees", CLASSES, 4)


@pytest.fixture(scope="module")
def trained(reslab: Command, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    done = reslab("train", *TINY, *SHORT, "--data", photos, "--out", run)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More pictures than two batches; nobody may change them."""
    root = tmp_path_factory.mktemp("many")
    draw = np.random.default_rng(5)
    for number in range(MANY):
        Image.fromarray(draw.integers(0, 256, (8, 9, 3), np.uint8)).save(root / f"{number:03}.png")
    return root


def network(run: Path) -> Trained:
    return ready(read_weights(run), torch.device("cpu"))


def by_hand(run: Path, picture: Path) -> dict[str, float]:
    """The probabilities of a picture, by Pillow and torch alone but for the network itself."""
    contract = json.loads((run / "spec.json").read_text())["experiment"]["recipe"]["photographs"]["contract"]
    side, crop = contract["shorter_side"], contract["crop"]
    with Image.open(picture) as opened:
        rgb = opened.convert("RGB")
    width, height = rgb.size
    size = (side, side * height // width) if width <= height else (side * width // height, side)
    left, top = (round((length - crop) / 2) for length in size)
    pixels = np.asarray(rgb.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + crop, top + crop)))
    values = (pixels.astype(np.float32) - np.array(contract["mean"], np.float32)).transpose(2, 0, 1)
    return softmax(run, torch.from_numpy(values[None].copy()))


def softmax(run: Path, values: torch.Tensor) -> dict[str, float]:
    known = network(run)
    with torch.inference_mode():
        probabilities = known.net(values).softmax(dim=1)[0].tolist()
    return dict(zip(known.classes, probabilities, strict=True))


def entries(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    assert all(set(entry) == {"picture", "answers", "error"} for entry in found)
    return found


def answers_of(entry: dict[str, Any]) -> dict[str, float]:
    assert all(set(answer) == {"class", "title", "probability"} for answer in entry["answers"])
    return {answer["class"]: answer["probability"] for answer in entry["answers"]}


def shown_of(answers: dict[str, float]) -> str:
    return "  ".join(f"{name} {100 * probability:.1f} %" for name, probability in answers.items())


def test_one_picture_is_a_table_under_its_path(reslab: Command, trained: Path, photos: Path) -> None:
    path = photos / "birch" / "002.jpg"
    done = reslab("predict", trained, path)
    assert (done.returncode, done.stderr) == (0, "")
    title, headings, *rows = done.stdout.splitlines()
    assert title.rstrip() == str(path)
    assert headings.split("  ")[0] == "class"
    assert "probability %" in headings
    expected = sorted(by_hand(trained, path).items(), key=lambda pair: -pair[1])
    assert [row.split() for row in rows] == [[name, f"{100 * probability:.2f}"] for name, probability in expected]


def test_json_has_the_softmax_of_the_central_crop(reslab: Command, trained: Path, photos: Path) -> None:
    paths = [photos / name / "001.jpg" for name in CLASSES]
    done = reslab("predict", trained, *paths, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    for entry, path in zip(entries(done), paths, strict=True):
        assert (entry["picture"], entry["error"]) == (str(path), None)
        answers = answers_of(entry)
        assert answers == pytest.approx(by_hand(trained, path), abs=1e-5)
        assert list(answers.values()) == sorted(answers.values(), reverse=True)
        assert sum(answers.values()) == pytest.approx(1, abs=1e-5)


def test_the_contract_that_was_trained_with_is_followed(reslab: Command, photos: Path, tmp_path: Path) -> None:
    words = ("--model", "cifar-resnet8", "--width", 4, "--crop", 24, "--scale", 48, 64, "--shorter-side", 30)
    assert reslab("train", *words, *SHORT, "--data", photos, "--out", tmp_path / "run").returncode == 0
    path = photos / "cedar" / "003.jpg"
    (entry,) = entries(reslab("predict", tmp_path / "run", path, "--json"))
    assert answers_of(entry) == pytest.approx(by_hand(tmp_path / "run", path), abs=1e-5)


def test_several_pictures_are_a_line_each_in_the_order_given(reslab: Command, trained: Path, photos: Path) -> None:
    paths = [photos / path for path in ("cedar/000.jpg", "ash/003.jpg", "birch/001.jpg", "ash/003.jpg")]
    done = reslab("predict", trained, *paths)
    assert done.returncode == 0
    for line, path in zip(done.stdout.splitlines(), paths, strict=True):
        answers = dict(sorted(by_hand(trained, path).items(), key=lambda pair: -pair[1]))
        assert line == f"{path}: {shown_of(answers)}"


def pictures_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [entry["picture"] for entry in entries(done)]


def test_folders_are_searched_to_their_ends_and_sorted(reslab: Command, trained: Path, tmp_path: Path) -> None:
    places = ("b/2.png", "b/10.png", "a/deep/er/1.PNG", "a/z.png", "0.png", "B.png")
    for place in (*places, "a/notes.txt", "a/.hidden.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(saved("PNG"))
    done = reslab("predict", trained, tmp_path, "--json")
    assert done.returncode == 0
    assert pictures_of(done) == [str(tmp_path / place) for place in sorted(places)]


def test_files_and_folders_may_be_mixed(reslab: Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    strange = tmp_path / "photograph-without-ending"
    shutil.copy(photos / "ash" / "000.jpg", strange)
    given = (strange, photos / "cedar", photos / "ash" / "001.jpg", photos / "birch")
    done = reslab("predict", trained, *given, "--json")
    names = [f"{number:03}.jpg" for number in range(4)]
    assert pictures_of(done) == [
        str(strange),
        *(str(photos / "cedar" / name) for name in names),
        str(photos / "ash" / "001.jpg"),
        *(str(photos / "birch" / name) for name in names),
    ]


@pytest.mark.parametrize(("top", "shown"), [((), 3), (("--top", 1), 1), (("--top", 2), 2), (("--top", 1000), 3)])
def test_as_many_answers_as_were_asked_for(
    top: tuple[object, ...], shown: int, reslab: Command, trained: Path, photos: Path
) -> None:
    path = photos / "ash" / "000.jpg"
    best = sorted(by_hand(trained, path).items(), key=lambda pair: -pair[1])[:shown]
    (entry,) = entries(reslab("predict", trained, path, *top, "--json"))
    assert [answer["class"] for answer in entry["answers"]] == [name for name, _ in best]
    assert len(reslab("predict", trained, path, *top).stdout.splitlines()) == shown + 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--top", 0), "--top must be at least 1, not 0"),
        (("--top", -1), "--top must be at least 1, not -1"),
        (("--top", "all"), "--top"),
        (("--workers", -1), "--workers must be 0 or more, not -1"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--precision", "fp8"), "--precision"),
        (("--figure", "sheet.jpg"), "--figure writes a PNG: give it a name that ends in .png, not sheet.jpg"),
        (("--figure", "sheet"), "--figure writes a PNG"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_line(
    words: tuple[object, ...],
    message: str,
    reslab: Command,
    trained: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in one_line(reslab("predict", trained, photos, *words))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ((), "which pictures? give files, or folders of them"),
        (("absent.jpg",), "absent.jpg does not exist"),
        (("absent\n.jpg",), "absent\\n.jpg does not exist"),
        (("good.jpg", "absent.jpg"), "absent.jpg does not exist"),
        (("empty",), "empty holds no pictures"),
        (("others",), "others holds no pictures"),
        (("good.jpg", "others"), "others holds no pictures"),
        (("odd",), "odd/x.jpg is a folder with a picture's name"),
        (("loop",), "loop/again is a link to a folder that contains it"),
    ],
)
def test_nothing_to_answer_about_is_one_line(
    places: tuple[str, ...], message: str, reslab: Command, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "good.jpg").write_bytes(saved("JPEG"))
    for folder in ("empty", "others", "odd/x.jpg", "loop"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "others" / "notes.txt").write_text("x")
    (tmp_path / "loop" / "again").symlink_to(".")
    done = reslab("predict", trained, *(tmp_path / place for place in places))
    assert message in one_line(done)


def test_a_run_that_cannot_answer_is_one_line(reslab: Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    assert f"{tmp_path}/absent does not exist; give a run, or a safetensors file" in one_line(
        reslab("predict", tmp_path / "absent", photos)
    )
    assert "is not a run directory: it has no spec.json" in one_line(reslab("predict", photos, photos))
    copied = shutil.copytree(trained, tmp_path / "run")
    for weights in copied.glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1])
    damaged = reslab("predict", copied, photos)
    assert (damaged.returncode, damaged.stdout) == (2, "")
    assert "model.safetensors is damaged" in damaged.stderr
    shutil.rmtree(copied / "checkpoints")
    assert f"{copied} has no checkpoint yet" in one_line(reslab("predict", copied, photos))


@pytest.fixture
def mixed(photos: Path, tmp_path: Path) -> Path:
    """Good and bad pictures: a, c and e are good."""
    root = tmp_path / "mixed"
    root.mkdir()
    for name, source in (("a", "ash"), ("c", "birch"), ("e", "cedar")):
        shutil.copy(photos / source / "000.jpg", root / f"{name}.jpg")
    (root / "b.jpg").write_bytes((root / "a.jpg").read_bytes()[:-60])
    (root / "d.jpg").write_text("no picture")
    (root / "f.jpg").symlink_to("absent.jpg")
    return root


REASONS = {
    "b.jpg": "is damaged: Premature end of JPEG file",
    "d.jpg": NO_PICTURE,
    "f.jpg": "cannot be read: No such file or directory",
}


def test_bad_pictures_have_a_line_with_the_reason_and_the_others_their_answers(
    reslab: Command, trained: Path, mixed: Path
) -> None:
    done = reslab("predict", trained, mixed)
    assert done.returncode == 1
    assert done.stderr == "reslab: 3 of 6 pictures could not be used\n"
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(mixed / f"{name}.jpg") for name in "abcdef"]
    for line in lines:
        reason = REASONS.get(Path(line.split(": ")[0]).name)
        assert line.endswith(f": cannot be used: it {reason}") if reason else line.count(" %") == 3


def test_bad_pictures_have_an_entry_with_the_reason_and_change_no_other(
    reslab: Command, trained: Path, mixed: Path
) -> None:
    done = reslab("predict", trained, mixed, "--json")
    assert done.returncode == 1
    assert done.stderr == "reslab: 3 of 6 pictures could not be used\n"
    for entry in entries(done):
        path = Path(entry["picture"])
        assert entry["error"] == REASONS.get(path.name)
        expected = {} if entry["error"] else by_hand(trained, path)
        assert answers_of(entry) == pytest.approx(expected, abs=1e-5)


def test_bad_pictures_alone_are_answered_too(reslab: Command, trained: Path, mixed: Path) -> None:
    done = reslab("predict", trained, mixed / "d.jpg")
    assert done.returncode == 1
    assert done.stdout == f"{mixed / 'd.jpg'}: cannot be used: it {NO_PICTURE}\n"
    assert done.stderr == "reslab: 1 of 1 picture could not be used\n"


def test_a_path_that_cannot_be_looked_at_does_not_stop_the_others(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    done = reslab("predict", trained, tmp_path / ("x" * 300), photos / "ash" / "000.jpg", "--json")
    assert done.returncode == 1
    first, second = entries(done)
    assert first["error"] == "cannot be read: File name too long"
    assert second["error"] is None


def test_a_picture_in_a_folder_that_may_not_be_entered_is_left_for_the_reader_to_name() -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "x.jpg"
        path.write_bytes(saved("JPEG"))
        Path(place).chmod(0)
        with nobody():
            assert find_pictures([path]) == [path]


@pytest.mark.parametrize("workers", [("--workers", 1), ()], ids=["1", "as many as it likes"])
def test_three_decoders_that_die_at_a_picture_stop_with_one_line(
    workers: tuple[object, ...],
    reslab: Command,
    trained: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, here = photos / "birch" / "001.jpg", os.getpid()
    wanted = path.read_bytes()

    def dying(data: bytes, *rest: Any) -> Any:
        if data == wanted:
            assert os.getpid() != here, "this would have been the end of the program"
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, *rest)

    monkeypatch.setattr(photographs, "decode", dying)
    done = reslab("predict", trained, photos, *workers)
    assert (done.returncode, done.stdout) == (1, "")
    *warnings, last = done.stderr.splitlines()
    assert len(warnings) == 2
    assert re.fullmatch(rf"reslab: loader worker \d+ died \(SIGKILL\) at {path}; so did 2 others .*", last)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as sheet:
        sheet.load()
        assert sheet.format == "PNG"
        return sheet.size


def sheet_size(across: int, down: int, answers: int, *, headed: bool = False) -> tuple[int, int]:
    """In dots, two to the point: cells with a name and answers each, gaps between them, a margin around."""
    cell = contact.CELL + contact.NAME + answers * contact.LINE
    width = across * contact.CELL + (across - 1) * contact.GAP
    height = down * cell + (down - 1) * contact.GAP + (contact.TITLE if headed else 0)
    return 2 * (width + 2 * contact.MARGIN), 2 * (height + 2 * contact.MARGIN)


def test_a_figure_has_a_cell_for_every_picture_good_or_bad(
    reslab: Command, trained: Path, mixed: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    done = reslab("predict", trained, mixed, "--figure", sheet)
    assert done.returncode == 1
    assert f"written: {sheet}\n" in done.stderr
    assert size_of(sheet) == sheet_size(3, 2, len(CLASSES))
    with Image.open(sheet) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    side, step = 2 * contact.CELL, 2 * (contact.CELL + contact.GAP)
    down = step + 2 * (contact.NAME + len(CLASSES) * contact.LINE)
    for number, name in enumerate("abcdef"):
        row, column = divmod(number, 3)
        left, top = 2 * contact.MARGIN + column * step, 2 * contact.MARGIN + row * down
        cell = pixels[top : top + side, left : left + side]
        red = ((cell - (0xA3, 0x26, 0x1C)) ** 2).sum(-1) < 900  # the reason's letters
        grey = ((cell - (0xEE, 0xF1, 0xF4)) ** 2).sum(-1) < 30
        if f"{name}.jpg" in REASONS:
            assert grey.mean() > 0.8, name
            assert red.sum() > 100, name
        else:
            assert grey.mean() < 0.5, name


def test_a_figure_comes_beside_one_json_document(reslab: Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    done = reslab("predict", trained, photos / "ash", "--top", 1, "--figure", tmp_path / "SHEET.PNG", "--json")
    assert done.returncode == 0
    assert len(entries(done)) == 4
    assert size_of(tmp_path / "SHEET.PNG") == sheet_size(2, 2, 1)


def test_a_figure_of_one_picture_is_one_cell(reslab: Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    reslab("predict", trained, photos / "ash" / "000.jpg", "--figure", tmp_path / "sheet.png")
    assert size_of(tmp_path / "sheet.png") == sheet_size(1, 1, len(CLASSES))


def test_a_figure_of_very_many_pictures_shows_the_first(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact, "MOST", 4)
    done = reslab("predict", trained, photos, "--figure", tmp_path / "sheet.png")
    assert len(done.stdout.splitlines()) == 12
    assert size_of(tmp_path / "sheet.png") == sheet_size(2, 2, len(CLASSES), headed=True)


def test_a_figures_folder_is_made(reslab: Command, trained: Path, photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "not" / "yet" / "sheet.png"
    assert reslab("predict", trained, photos / "ash", "--figure", sheet).returncode == 0
    assert size_of(sheet) == sheet_size(2, 2, len(CLASSES))


def test_a_figure_where_none_can_be_written_is_one_line(
    reslab: Command, trained: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    done = reslab("predict", trained, photos / "ash", "--figure", tmp_path / "file" / "sheet.png")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"reslab: cannot write {tmp_path}/file/sheet.png: ")


def test_more_than_one_batch_comes_in_order(reslab: Command, trained: Path, many: Path) -> None:
    done = reslab("predict", trained, many)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(many / f"{number:03}.png") for number in range(MANY)]
    found = entries(reslab("predict", trained, many, "--json"))
    for number in (0, BATCH - 1, BATCH, 2 * BATCH, MANY - 1):
        expected = by_hand(trained, many / f"{number:03}.png")
        assert answers_of(found[number]) == pytest.approx(expected, abs=1e-5)
        assert lines[number].endswith(f": {shown_of(answers_of(found[number]))}")


def test_any_number_of_workers_gives_the_same_answers(reslab: Command, trained: Path, many: Path, mixed: Path) -> None:
    alone, two = (reslab("predict", trained, many, mixed, "--json", "--workers", workers) for workers in (0, 2))
    assert alone.returncode == two.returncode == 1
    assert alone.stdout == two.stdout
    assert alone.stderr == two.stderr
    assert len(entries(alone)) == MANY + 6


@pytest.mark.parametrize("workers", [0, 2])
def test_answers_stream_a_batch_at_a_time(workers: int, trained: Path, many: Path, tmp_path: Path) -> None:
    """The first answers are there before the last pictures are read: these may still change."""
    count = 4 * workers * BATCH + 2 * BATCH
    for number in range(count):
        (tmp_path / f"{number:04}.png").symlink_to(many / f"{number % MANY:03}.png")
    answers = predict(read_weights(trained), find_pictures([tmp_path]), workers=workers)
    first = next(answers)
    assert (first.picture, first.error) == (str(tmp_path / "0000.png"), None)
    (tmp_path / f"{count - 1:04}.png").unlink()
    *_, last = answers
    assert last.error == "cannot be read: No such file or directory"


def small(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An embedded picture: uint8 (28, 28)."""
    return np.asarray(load("embedded", "val").pixels[number, 0])  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_a_network_of_small_grey_pictures_answers_pictures_of_its_size(
    mode: str, reslab: Command, finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    opened = Image.fromarray(small(7)).convert(mode)
    opened.save(path)
    done = reslab("predict", finished, path, "--top", 10, "--json")
    assert done.returncode == 0, done.stderr
    (entry,) = entries(done)
    grey = torch.from_numpy(np.asarray(opened.convert("L")).astype(np.float32))
    centred = grey - network(finished).inputs.tensors()["mean"][0]
    assert answers_of(entry) == pytest.approx(softmax(finished, centred.expand(1, 3, 28, 28)), abs=1e-5)


def test_a_network_of_small_grey_pictures_sees_colours_as_grey(reslab: Command, finished: Path, tmp_path: Path) -> None:
    colours = np.stack([small(1), small(2), small(3)], -1)
    Image.fromarray(colours).save(tmp_path / "colour.png")
    Image.fromarray(colours).convert("L").save(tmp_path / "grey.png")
    colour, grey = entries(reslab("predict", finished, tmp_path, "--json"))
    assert colour["answers"] == grey["answers"]


@pytest.mark.parametrize("size", [(28, 27), (27, 28), (32, 32), (280, 280), (1, 1)])
def test_a_network_of_small_pictures_refuses_other_sizes_and_names_both(
    size: tuple[int, int], reslab: Command, finished: Path, tmp_path: Path
) -> None:
    image("L").resize(size).save(tmp_path / "x.png")
    Image.fromarray(small(0)).save(tmp_path / "y.png")
    done = reslab("predict", finished, tmp_path, "--json")
    assert done.returncode == 1
    wrong, right = entries(done)
    assert wrong["error"] == f"has {size[0]}x{size[1]} pixels; this network takes 28x28"
    assert right["error"] is None


HOSTILE = (
    b"two\nlines",
    b"[bold]b",
    b"[red]",
    b"<script>alert(1)",
    b"caf\xe9",
    b"x\x1b[31m",
    b":dog:",
    b"a: b",
    b"%s{0}",
)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    root = tmp_path / "names"
    root.mkdir()
    for name in HOSTILE:
        (root / os.fsdecode(name + b".png")).write_bytes(saved("PNG"))
    return root


def plain(name: bytes) -> str:
    """A name as it should be printed."""
    escapes = {b"two\nlines": "two\\nlines", b"caf\xe9": "caf\\xe9", b"x\x1b[31m": "x\\x1b[31m"}
    return f"{escapes.get(name) or name.decode()}.png"


def test_pictures_of_any_name_have_one_line_each_with_the_name_as_it_is(
    reslab: Command, trained: Path, hostile: Path
) -> None:
    done = reslab("predict", trained, hostile)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == len(HOSTILE)
    assert all(line.isprintable() for line in lines)
    for name in HOSTILE:
        assert sum(line.startswith(f"{hostile}/{plain(name)}: ") for line in lines) == 1, name


def test_pictures_of_any_name_are_valid_json(reslab: Command, trained: Path, hostile: Path) -> None:
    done = reslab("predict", trained, hostile, "--json")
    assert sorted(pictures_of(done)) == sorted(f"{hostile}/{plain(name)}" for name in HOSTILE)
    assert json.dumps(entries(done), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_picture_of_any_name_is_a_title_on_one_line(
    name: bytes, reslab: Command, trained: Path, hostile: Path
) -> None:
    done = reslab("predict", trained, hostile / os.fsdecode(name + b".png"))
    assert [line.rstrip() for line in done.stdout.splitlines()[:1]] == [f"{hostile}/{plain(name)}"]
    assert len(done.stdout.splitlines()) == 2 + len(CLASSES)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_picture_of_any_name_is_one_line(name: bytes, reslab: Command, trained: Path, hostile: Path) -> None:
    path = hostile / os.fsdecode(name + b".png")
    path.write_bytes(b"")
    done = reslab("predict", trained, path)
    assert done.stdout == f"{hostile}/{plain(name)}: cannot be used: it is empty\n"


def test_a_figure_of_pictures_of_any_name_is_drawn(
    reslab: Command, trained: Path, hostile: Path, tmp_path: Path
) -> None:
    done = reslab("predict", trained, hostile, "--figure", tmp_path / "$x$ [b].png")
    assert done.returncode == 0, done.stderr
    assert size_of(tmp_path / "$x$ [b].png") == sheet_size(3, 3, len(CLASSES))


def test_classes_of_any_name_are_one_line_each(
    reslab: Command, folder_of: FolderOf, photos: Path, tmp_path: Path
) -> None:
    names = [os.fsdecode(name) for name in (b"[bold]b", b":dog:", b"caf\xe9", b"two\nlines", b"x\x1b[31m")]
    data = folder_of(tmp_path / "data", names, 4)
    done = reslab("train", *TINY, *SHORT, "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    table = reslab("predict", tmp_path / "run", photos / "ash" / "000.jpg").stdout
    line = reslab("predict", tmp_path / "run", photos / "ash").stdout.splitlines()[0]
    whole = json.loads(reslab("predict", tmp_path / "run", photos / "ash", "--json").stdout)
    assert {row.split()[0] for row in table.splitlines()[2:]} == {
        *("[bold]b", ":dog:", "caf\\xe9", "two\\nlines", "x\\x1b[31m"),
    }
    assert table.replace("\n", "").isprintable()
    assert line.isprintable()
    assert line.count(" %") == 5
    assert json.dumps(whole, ensure_ascii=False).encode()


def test_a_title_is_whole_on_a_terminal(
    trained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is narrower than the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "a-photograph-from-a-camera-2015-12-10.jpg"
    shutil.copy(photos / "ash" / "000.jpg", path)
    with contextlib.redirect_stdout(Terminal()) as shown:
        assert run(["predict", str(trained), path.name]) == 0
    assert path.name in shown.getvalue()


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe that nobody reads any more, as `head -1` leaves it."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_a_reader_that_leaves_is_no_trouble(trained: Path, photos: Path, unread: int) -> None:
    words = [sys.executable, "-m", "reslab", "predict", str(trained), str(photos), "--workers", "2"]
    done = subprocess.run(words, stdout=unread, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_reader_of_json_that_leaves_is_no_trouble(
    trained: Path, photos: Path, unread: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with os.fdopen(unread, "w", closefd=False) as stream, contextlib.redirect_stdout(stream):
        assert run(["predict", str(trained), str(photos), "--json"]) == 1
    assert capfd.readouterr().err == ""
