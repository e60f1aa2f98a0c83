import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.report.compared import CELLS, SENTENCE, STATEMENT, Page, class_row, comparison, differing, side, thumbnail

from reslab.core.errors import DataError, StorageError
from reslab.report.comparison import CLASSES, Comparison, write_comparison
from reslab.report.rendering import p_value


def written(place: Path, found: Comparison) -> str:
    return write_comparison(found, place / "out" / "compare.html").read_text()


def page_of(place: Path, **changes: Any) -> Page:
    return Page(written(place, comparison(**changes)))


def test_the_page_gives_the_numbers(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert SENTENCE in page.text
    assert STATEMENT in page.text
    assert "Both on the same 100 pictures: trees, center." in page.text
    for row in (
        ["old", "35.00", "[26.36, 44.75]", "1.25", "65", "100"],
        ["new", "15.00", "[9.31, 23.28]", "1.25", "85", "100"],
        ["", "new right", "new wrong"],
        ["old right", "60", "5"],
        ["old wrong", "25", "10"],
        ["+20.00", "[+10.00, +30.00]", "3e-04", "100"],
        ["class", "n", "old, error %", "new, error %", "difference", "p"],
        ["birch", "30", "40.00", "30.00", "+10.00", "0.031"],
    ):
        assert row in page.rows


def test_every_underlined_number_has_its_provenance(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert page.targets == ["from-first"] * 2 + ["from-second"] * 2 + ["from-paired"] * 6
    assert page.popovers == ["from-first", "from-second", "from-paired"]
    assert len(set(page.ids)) == len(page.ids)
    assert page.hints[0] == (
        "old\nright: 65 of 100\nweights: runs/old\nstep: 64,000\ncommand: reslab evaluate runs/old --data embedded"
    )
    paired = page.hints[-1].splitlines()
    assert paired[:2] == ["old and new", "computed from: 5 against 25 pictures that only one gets right"]
    assert "command: reslab evaluate runs/new --data embedded" in paired


def test_the_page_is_self_contained(tmp_path: Path) -> None:
    html = written(tmp_path, comparison())
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert "http" not in html
    assert not {"script", "iframe", "object", "embed", "link", "base"} & set(page.tags)
    assert page.handlers == []
    assert len(page.loaded) == 5
    assert all(place.startswith("data:image/") for place in page.loaded)
    assert not re.search(r"@import|url\(", html)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["compare.html"]


def test_galleries_show_the_most_certain_mistakes_first(tmp_path: Path) -> None:
    shown = tuple(differing(1, number, certainty) for number, certainty in enumerate((0.6, 0.9, 0.7)))
    html = written(tmp_path, comparison(only_second_shown=shown))
    first, second = html.split("<h2>Only ")[1:]
    assert first.startswith("old is right</h2>\n<p>2 of 5 such pictures, the most certain mistakes of new first.</p>")
    assert second.startswith("new is right</h2>\n<p>3 of 25 such pictures, the most certain mistakes of old first.</p>")
    answers = re.findall(r"<span>([✓✗])</span><strong>(\w+)</strong><span>([\d.]+)", second)
    assert answers[:4] == [("✓", "ash", "50.0"), ("✗", "birch", "90.0"), ("✓", "ash", "50.0"), ("✗", "birch", "70.0")]
    assert re.findall(r'alt="([^"]*)"', second) == ["val/ash/1.png", "val/ash/2.png", "val/ash/0.png"]
    assert "✓ the true class, which new answers, and ✗ the answer of old, each with its probability." in second


def test_empty_galleries_are_a_sentence(tmp_path: Path) -> None:
    alike = {"first": side("old", 85), "both": 85, "only_first": 0, "only_second": 0, "neither": 15, "difference": 0.0}
    page = page_of(tmp_path, **alike, only_first_shown=(), only_second_shown=())
    assert page.text.count("There is no such picture.") == 2
    assert "img" not in page.tags
    assert "None of 5 such pictures is shown." in page_of(tmp_path, only_first_shown=()).text


def test_a_long_table_is_cut_to_the_largest_differences(tmp_path: Path) -> None:
    rows = tuple(class_row(f"kind {number}", (-1) ** number * number / 10) for number in range(CLASSES + 5))
    page = page_of(tmp_path, by_class=rows)
    names = [row[0] for row in page.rows if row[0].startswith("kind")]
    assert names == [f"kind {number}" for number in range(CLASSES + 4, 4, -1)]
    assert "Shown are the 40 classes with the largest differences, of 45." in page.text
    assert "Shown are" not in page_of(tmp_path, by_class=rows[:CLASSES]).text


def test_no_classes_are_no_table(tmp_path: Path) -> None:
    assert "By class" not in page_of(tmp_path, by_class=()).text


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_thumbnails_are_told_by_their_first_bytes(tmp_path: Path, kind: str) -> None:
    shown = (differing(0, thumbnail=thumbnail(kind)),)
    html = written(tmp_path, comparison(only_first_shown=shown, only_second_shown=()))
    assert Page(html).loaded == [f"data:image/{kind.lower()};base64,{thumbnail(kind)}"]
    assert ('class="pixels"' in html) == (kind == "PNG")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("PHN2Zz4=", "neither JPEG nor PNG"),
        ("", "neither JPEG nor PNG"),
        ('"onerror=', "not base64"),
        ("é", "not base64"),
    ],
)
def test_another_thumbnail_is_one_clear_line(tmp_path: Path, bad: str, says: str) -> None:
    found = comparison(only_first_shown=(differing(0, picture="val/a\nb.png", thumbnail=bad),))
    with pytest.raises(DataError, match=says) as caught:
        written(tmp_path, found)
    assert str(caught.value).startswith("the thumbnail of val/a\\nb.png is ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a\x00b\x1b[2J\u202e\udcff")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, name: str) -> None:
    facts = {name: name, "command": name}
    shown = (differing(0, picture=name, label=name, first=name),)
    page = page_of(
        tmp_path,
        data=name,
        protocol=name,
        first=replace(side(name, 65), provenance=facts),
        verdict=name,
        statement=name,
        sentence=name,
        by_class=(class_row(name),),
        only_first_shown=shown,
    )
    assert "script" not in page.tags
    assert page.tags.count("img") == 4
    assert page.handlers == []
    assert all(place.startswith("data:image/") for place in page.loaded)
    as_shown = name if name.isprintable() else r"a\x00b\x1b[2J\u202e\udcff"
    assert page.text.count(as_shown) >= 10
    assert f"{as_shown}: {as_shown}" in page.hints[0]


def test_names_of_wordnet_are_titled(tmp_path: Path) -> None:
    assert ["Shih-Tzu (n02086240)", "30"] in [
        row[:2] for row in page_of(tmp_path, by_class=(class_row("n02086240"),)).rows
    ]


def test_networks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    page = page_of(tmp_path, second=side("old", 85))
    assert "old (first) against old (second)" in page.text
    assert ["old (first) wrong", "25", "10"] in page.rows


def test_long_names_give_way_in_the_middle(tmp_path: Path) -> None:
    page = page_of(tmp_path, first=side("a" * 50 + "z", 65), by_class=(class_row("b" * 100),))
    assert "a" * 20 + "…" + "a" * 18 + "z against new" in page.text
    assert max(len(row[0]) for row in page.rows) == 60


def test_equal_comparisons_make_equal_files(tmp_path: Path) -> None:
    assert written(tmp_path / "a", comparison()) == written(tmp_path / "b", comparison())


@pytest.mark.parametrize("cell", CELLS)
def test_pictures_that_do_not_add_up_are_refused(cell: str) -> None:
    with pytest.raises(AssertionError):
        comparison(**{cell: CELLS[cell] + 1})


def test_a_difference_of_the_wrong_sign_is_refused() -> None:
    with pytest.raises(AssertionError):
        comparison(difference=-20.0)


def test_a_picture_in_the_wrong_gallery_is_refused() -> None:
    with pytest.raises(AssertionError):
        comparison(only_first_shown=(differing(1),))


def test_a_page_takes_no_folders_place(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a directory"):
        write_comparison(comparison(), tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.000"),
        (0.0314, "0.0314"),
        (0.0496, "0.0496"),
        (0.001, "0.001"),
        (9.6e-4, "1e-03"),
        (1e-12, "1e-12"),
        (0.0, "below 1e-300"),
    ],
)
def test_p_values_are_short(value: float, text: str) -> None:
    assert p_value(value) == text
