import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from reslab.cli.report import report
from reslab.core.errors import RunError
from reslab.core.experiment import Start
from reslab.core.rundir import RunDirectory
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.figure import training_curves
from reslab.report.finished import FinishedRun, finished
from reslab.report.page import Written, heading, write_report

Maker = Callable[..., RunDirectory]
CLASSES = ("ash", "birch", "cedar")
LABELS = (0, 0, 0, 0, 1, 1, 1, 2, 2, 2)
ANSWERS = (0, 0, 1, 1, 1, 2, 1, 2, 2, 2)  # ash for birch twice, birch for cedar once
CERTAINTY = (0.9, 0.8, 0.95, 0.6, 0.7, 0.99, 0.5, 0.9, 1.0, 0.4)


class Reader(HTMLParser):
    """What a page would load or run, and the text it shows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        self.text += data


def write(place: Path, *runs: RunDirectory) -> Written:
    return write_report(finished(runs), place / "out" / "page.html")


def pages(place: Path, *runs: RunDirectory) -> tuple[str, str]:
    written = write(place, *runs)
    return written.html.read_text(), written.markdown.read_text()


def scores_of(run: RunDirectory) -> Path:
    return run.scores / "center-val"


def change(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def trees(make_photo_run: Maker) -> RunDirectory:
    return make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, data="trees")


def test_the_page_shows_confusion_mistakes_and_calibration(trees: RunDirectory, tmp_path: Path) -> None:
    written = write(tmp_path, trees)
    page, markdown = written.html.read_text(), written.markdown.read_text()
    text = Reader(page).text
    assert "Errors to look at: ResNet-18, seed 0" in text
    assert page.count("<svg") == 3
    assert "Rows: true classes. Columns: answers. Numbers are pictures" in text
    assert "n=10, 3 classes." in text
    assert "Every mistake on 10 pictures, the most certain first: 3." in text
    mistakes = re.findall(r"<strong>(\w+)</strong><span>([\d.]+)", page)
    assert mistakes[:4] == [("cedar", "99.0"), ("birch", "0.5"), ("birch", "95.0"), ("ash", "2.5")]
    assert page.index("val/birch/5.jpg") < page.index("val/ash/2.jpg") < page.index("val/ash/3.jpg")
    assert "Expected calibration error" in text
    assert text.count("15 equal bins") == 1
    assert "| ash | birch | 2 | 50.00 [15.00, 85.00] n=4 |" in markdown
    assert "| birch | cedar | 1 | 33.33 [6.15, 79.23] n=3 |" in markdown
    assert "| val/birch/5.jpg | birch | cedar | 99.0 |" in markdown
    assert "Expected calibration error" in markdown
    names = {path.relative_to(written.html.parent).as_posix() for path in written.figures}
    assert names == {
        f"figures/{stem}{suffix}"
        for stem in ("training-curves", "confusion", "calibration")
        for suffix in (".svg", ".png")
    }
    assert all(f"](figures/{stem}.png)" in markdown for stem in ("training-curves", "confusion", "calibration"))
    assert all(path.stat().st_size > 1000 for path in written.figures)


@pytest.mark.usefixtures("unpainted")
def test_the_calibration_error_is_that_of_the_scores(trees: RunDirectory, tmp_path: Path) -> None:
    # alone in their bins: 0.8, 0.6, 0.7 and 0.5; 0.9 twice, right; 0.95, 0.99 and 1.0, one right; 0.4, right
    gap = (0.2 + 0.6 + 0.3 + 0.5 + 2 * 0.1 + abs(1 - 2.94) + 0.6) / 10
    assert f"Expected calibration error {100 * gap:.2f} %" in pages(tmp_path, trees)[0]


def test_the_page_is_self_contained(trees: RunDirectory, tmp_path: Path) -> None:
    page, _ = pages(tmp_path, trees)
    read = Reader(page)
    assert not {"script", "iframe", "object", "embed", "link", "base"} & set(read.tags)
    assert read.handlers == []
    assert read.tags.count("img") == 3
    assert all(place.startswith(("#", "data:image/")) for place in read.loaded)
    assert not re.search(r"@import|url\((?!#)", page)


@pytest.mark.usefixtures("unpainted")
def test_what_was_done_to_the_pictures_is_said(make_photo_run: Maker, tmp_path: Path) -> None:
    run = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, data="trees", result={"replaced": 3})
    page, markdown = pages(tmp_path, run)
    for text in (Reader(page).text, markdown):
        assert (
            "random crops of 224x224 pixels and mirror images, of pictures with a shorter side drawn from 256 to 480"
            in (text)
        )
        assert "on the central 224x224 pixels of pictures with a shorter side of 256." in text
        assert "in 3 of 640 training samples another picture took the place of one that could not be used" in text
        assert "padded" not in text
        assert "single view" not in text
        assert "trained weights" not in text


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize(
    ("colour", "said"),
    [
        (None, ""),
        ({}, ", their colours changed along ImageNet's principal colours by draws of 0.1 times eigenvalues"),
        (
            {"std": 0.2, "scale": "sqrt", "eigenvalues": [0.3, 0.2, 0.1], "measured_on": "ab" * 32},
            ", their colours changed along other principal colours (of the pictures with digest abababababab)"
            " by draws of 0.2 times roots of eigenvalues",
        ),
    ],
)
def test_changed_colours_are_said(
    colour: dict[str, Any] | None, said: str, make_photo_run: Maker, tmp_path: Path
) -> None:
    recipe = {"photographs": {"colour": colour}}
    run = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, data="trees", recipe=recipe)
    page, _ = pages(tmp_path, run)
    assert f"a shorter side drawn from 256 to 480{said}; batch normalisation" in Reader(page).text


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize(
    ("photographs", "said"),
    [
        (
            {"area": {}},
            "random parts of a picture (8 to 100 % of its area, 0.75 to 1.33 times as wide as high)"
            " resized to 224x224 pixels and mirror images; batch normalisation",
        ),
        (
            {"progressive": {"sides": [128, 256], "between": [0.25, 0.5]}, "flip": False},
            "random crops of 128x128 pixels (growing to 256x256 between 25 % and 50 % of all steps),"
            " of pictures with a shorter side drawn from 256 to 480 for a crop of 224; batch normalisation",
        ),
    ],
)
def test_parts_of_a_random_area_and_growing_crops_are_said(
    photographs: dict[str, Any], said: str, make_photo_run: Maker, tmp_path: Path
) -> None:
    run = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, data="trees", recipe={"photographs": photographs})
    page, _ = pages(tmp_path, run)
    text = Reader(page).text
    assert said in text
    assert "on the central 224x224 pixels of pictures with a shorter side of 256." in text


@pytest.mark.usefixtures("unpainted")
def test_fine_tuning_is_said(make_photo_run: Maker, tmp_path: Path) -> None:
    start = Start(weights="ab" * 32, freeze=("stem", "layer1"), body_rate=0.2)
    run = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, start=start)
    page, _ = pages(tmp_path, run)
    assert (
        "Training began from trained weights (sha256 abababababab) with a new classifier;"
        " all other layers learned at 0.2 of its rate, but stem, layer1 kept what they had."
    ) in Reader(page).text
    assert "dogs, 20 steps of 32, from trained weights" in page


@pytest.mark.usefixtures("unpainted")
def test_the_page_is_named_for_what_it_shows(make_photo_run: Maker, make_run: Maker, tmp_path: Path) -> None:
    run = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, data="trees")
    other = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, name="b", model="resnet50", data="trees")
    assert heading(finished([run])) == "ResNet-18 on trees"
    assert heading(finished([run, other])) == "ResNet-18, ResNet-50 on trees"
    assert heading(finished([make_run("cifar-plain20", 30, 31)])) == "plain-20 on Fashion-MNIST"
    assert heading(finished([run, make_run("cifar-plain20", 30, 31)])) == "Plain against residual"
    page, markdown = pages(tmp_path, run)
    assert "<title>reslab: ResNet-18 on trees</title>" in page
    assert markdown.startswith("# ResNet-18 on trees\n")


def test_one_kind_of_network_is_one_panel(trees: RunDirectory, make_run: Maker) -> None:
    (panel,) = training_curves(finished([trees])).axes
    assert panel.get_title(loc="left") == "residual networks"
    (panel,) = training_curves(finished([make_run("cifar-plain20", 30, 31)])).axes
    assert panel.get_title(loc="left") == "plain networks"
    assert panel.get_ylabel() == "error (%)"


@pytest.mark.usefixtures("unpainted")
def test_claims_that_nothing_can_be_said_about_are_left_out(
    trees: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = write(tmp_path, trees)
    page, markdown = written.html.read_text(), written.markdown.read_text()
    assert 'class="claim"' not in page
    assert "Verdicts" not in page + markdown
    assert len(written.verdicts) == len(CIFAR_CLAIMS)
    report(trees.path, out=tmp_path / "page.html")
    printed = capsys.readouterr().out
    assert "not tested" not in printed
    assert "trees, 20 steps of 32" in printed
    assert "and 6 figures" in printed


@pytest.mark.usefixtures("unpainted")
def test_a_tested_claim_brings_its_section_all_claims(make_run: Maker, trees: RunDirectory, tmp_path: Path) -> None:
    page, markdown = pages(tmp_path, trees, make_run("cifar-plain20", 30, 31), make_run("cifar-plain56", 60, 62))
    assert page.count('class="badge') == len(CIFAR_CLAIMS)
    assert page.count("<h2>Verdicts</h2>") == 1
    assert markdown.count("### Verdicts") == 1


@pytest.mark.usefixtures("unpainted")
def test_runs_on_other_pictures_are_not_comparable(make_photo_run: Maker, tmp_path: Path) -> None:
    first, second = (make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, name=name, data=name) for name in "ab")
    same = make_photo_run(LABELS, ANSWERS, CERTAINTY, CLASSES, name="c", data="a", seed=1)
    runs = {Path(run.directory).name: run for run in finished([first, second, same])}
    assert runs["a"].comparable == runs["c"].comparable != runs["b"].comparable
    written = write(tmp_path, first, second, same)
    assert len(written.figures) == 2 * (2 + 2 * 3)
    assert len(set(written.figures)) == len(written.figures)
    assert written.html.read_text().count("<h2>Errors to look at: ResNet-18, seed 0</h2>") == 2


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "a|b *c* [d](http://e.example) `f`\n# g\udcff",
)


def test_hostile_names_are_shown_and_do_nothing(make_photo_run: Maker, tmp_path: Path) -> None:
    run = make_photo_run(LABELS, ANSWERS, CERTAINTY, HOSTILE, data="<script>alert(0)</script>|x")
    worst = json.loads((scores_of(run) / "mistakes.json").read_text())
    worst["mistakes"][0]["picture"] = "val/'\"><svg onload=alert(3)>\n|.jpg"
    (scores_of(run) / "mistakes.json").write_text(json.dumps(worst))
    page, markdown = pages(tmp_path, run)
    read = Reader(page)
    assert "script" not in read.tags
    assert read.handlers == []
    assert read.tags.count("img") == 3
    assert read.tags.count("svg") == 3
    assert all(place.startswith(("#", "data:image/")) for place in read.loaded)
    assert "<script>alert(1)</script>" in read.text
    assert "val/'\"><svg onload=alert(3)>\\n|.jpg" in read.text
    assert "<script" not in markdown
    assert "<svg" not in markdown
    assert "<img" not in markdown
    assert not re.search(r"(?<!\\)\]\(http", markdown)
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows if "alert" in line}) == 1


@pytest.mark.usefixtures("unpainted")
def test_no_mistake_is_a_sentence(make_photo_run: Maker, tmp_path: Path) -> None:
    run = make_photo_run(LABELS, LABELS, [0.9] * 10, CLASSES)
    page, markdown = pages(tmp_path, run)
    for text in (page, markdown):
        assert "No mistake on 10 pictures." in text
        assert "No class was confused." in text
    assert "<img" not in page


@pytest.mark.usefixtures("unpainted")
def test_many_mistakes_are_counted_beyond_those_shown(make_photo_run: Maker, tmp_path: Path) -> None:
    run = make_photo_run([0] * 40, [1] * 40, [0.9] * 40, CLASSES)
    page, _ = pages(tmp_path, run)
    assert page.count("<img") == 24
    assert "The 24 most certain of 40 mistakes on 40 pictures, the most certain first." in page


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize(("classes", "listed"), [(25, False), (26, True)])
def test_more_than_25_classes_list_the_most_confused_pairs(
    make_photo_run: Maker, tmp_path: Path, classes: int, *, listed: bool
) -> None:
    labels = list(range(classes)) * 2
    answers = [(label + 1) % classes for label in labels]
    names = [f"kind {number}" for number in range(classes)]
    page, markdown = pages(tmp_path, make_photo_run(labels, answers, [0.5] * len(labels), names))
    assert ("The 20 most frequent confusions" in page) == listed
    assert markdown.count("100.00 [34.24, 100.00] n=2 |") == 20


def test_a_thousand_classes_stay_readable(make_photo_run: Maker, tmp_path: Path) -> None:
    labels = [label for label in range(1000) for _ in range(3)]
    answers = [999 - label if label in range(100, 125) and i % 3 else label for i, label in enumerate(labels)]
    names = [f"kind {number}" for number in range(1000)]
    page, _ = pages(tmp_path, make_photo_run(labels, answers, [0.5] * 3000, names))
    table = page[page.index("Test errors by class") : page.index("Errors to look at")]
    assert "Shown are the 20 classes with the largest errors, of 1,000. n: pictures of the class." in table
    assert re.findall(r">kind (\d+)<", table) == [str(number) for number in range(100, 120)]
    assert table.count("66.7 [20.8, 93.9]") == 20
    assert "A dot shows the largest of 3x3 cells." in page
    assert len(page) < 1_000_000


@pytest.mark.usefixtures("unpainted")
def test_few_classes_stand_beside_each_other_with_n(trees: RunDirectory, make_run: Maker, tmp_path: Path) -> None:
    page, _ = pages(tmp_path, trees)
    table = page[page.index("Test errors by class") : page.index("Errors to look at")]
    assert re.findall(r'number">([^<]*)<', table) == ["ResNet-18", "0", "50.0", "33.3", "0.0", "n", "", "4", "3", "3"]
    page, _ = pages(tmp_path, make_run("cifar-plain20", 30, 31))
    assert "n = 1,000 pictures a class." in page


def unfinished_of(page: str) -> bool:
    return "Errors to look at" not in page and page.count("<svg") == 1


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("missing", ["scores.safetensors", "protocol.json"])
def test_a_run_without_scores_gets_its_report_without_errors(trees: RunDirectory, tmp_path: Path, missing: str) -> None:
    (scores_of(trees) / missing).unlink()
    assert unfinished_of(pages(tmp_path, trees)[0])


@pytest.mark.usefixtures("unpainted")
def test_an_older_run_gets_its_report_without_errors(trees: RunDirectory, tmp_path: Path) -> None:
    protocol = scores_of(trees) / "protocol.json"
    protocol.write_text(json.dumps({"protocol": "center", "n": 10, "hits": 7}))
    assert unfinished_of(pages(tmp_path, trees)[0])


@pytest.mark.usefixtures("unpainted")
def test_mistakes_that_were_not_kept_are_left_out(trees: RunDirectory, tmp_path: Path) -> None:
    (scores_of(trees) / "mistakes.json").unlink()
    page, markdown = pages(tmp_path, trees)
    assert "Errors to look at" in page
    assert "The most certain mistakes" not in page
    assert "| picture |" not in markdown


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("of", ["pictures", "network"])
def test_scores_of_a_later_test_are_not_taken_for_the_runs_own(trees: RunDirectory, tmp_path: Path, of: str) -> None:
    if of == "pictures":
        change(scores_of(trees) / "protocol.json", data={"name": "others", "digest": "3" * 64})
    else:
        change(trees.path / "result.json", hits=6)
    page, markdown = pages(tmp_path, trees)
    assert unfinished_of(page)
    for text in (page, markdown):
        assert "ResNet-18: its scores are now those of another test, so its errors are not shown." in text


def tensors(**changes: Any) -> bytes:
    scores = np.full((10, 3), 1 / 3, np.float32)
    values = {"probabilities": scores, "labels": np.array(LABELS, np.int64), **changes}
    return safetensors.numpy.save({name: value for name, value in values.items() if value is not None})


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        (b"", "header"),
        (tensors()[:-40], "header"),
        (tensors(labels=None), "holds no labels"),
        (tensors(probabilities=None), "holds no probabilities"),
        (tensors(labels=np.array(LABELS, np.int32)), "float32 and int32"),
        (tensors(labels=np.array(LABELS[:9], np.int64)), r"labels \(9,\)"),
        (tensors(probabilities=np.ones((10, 2), np.float32)), r"scores \(10, 2\)"),
        (tensors(probabilities=np.full((10, 3), np.nan, np.float32)), "not between 0 and 1"),
        (tensors(probabilities=np.full((10, 3), 7, np.float32)), "not between 0 and 1"),
        (tensors(labels=np.array([3, *LABELS[1:]], np.int64)), "not among the 3 classes"),
        (tensors(labels=np.array([-1, *LABELS[1:]], np.int64)), "not among the 3 classes"),
        (tensors(), "its hits are not the 7 of protocol.json"),
    ],
)
def test_damaged_scores_are_one_clear_line(trees: RunDirectory, tmp_path: Path, damaged: bytes, says: str) -> None:
    (scores_of(trees) / "scores.safetensors").write_bytes(damaged)
    with pytest.raises(RunError, match=f"scores.safetensors.*{says}") as caught:
        write(tmp_path, trees)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "damaged", "says"),
    [
        ("protocol.json", "{", "Expecting"),
        ("protocol.json", "[]", "not a JSON object"),
        ("protocol.json", '{"classes": "abc", "n": 10, "hits": 7, "data": {}}', "classes is 'abc'"),
        ("protocol.json", '{"classes": ["a", "b", "c"], "n": null, "hits": 7, "data": {}}', "n is None"),
        ("mistakes.json", "{}", "damaged"),
        ("mistakes.json", '{"mistakes": [{}]}', "damaged"),
        ("mistakes.json", '{"mistakes": [3]}', "damaged"),
        ("mistakes.json", '{"mistakes": [{"picture": "a", "thumbnail": "PHN2Zz4="}]}', "a is neither JPEG nor PNG"),
        ("mistakes.json", '{"mistakes": [{"picture": "a", "thumbnail": "\\"onerror="}]}', "damaged"),
    ],
)
def test_damaged_facts_are_one_clear_line(
    trees: RunDirectory, tmp_path: Path, file: str, damaged: str, says: str
) -> None:
    (scores_of(trees) / file).write_text(damaged)
    with pytest.raises(RunError, match=f"{file}.*{says}"):
        write(tmp_path, trees)


def test_equal_runs_make_equal_pages(trees: RunDirectory, tmp_path: Path) -> None:
    assert pages(tmp_path, trees) == pages(tmp_path, trees)


def test_a_folder_whose_name_was_not_noted_has_a_plain_one(trees: RunDirectory) -> None:
    trees.write("environment.json", {"data": None})
    (run,) = finished([trees])
    assert isinstance(run, FinishedRun)
    assert run.setting == "photographs, 20 steps of 32"
