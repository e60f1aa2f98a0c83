import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reslab.core.errors import StorageError
from reslab.report import contact
from reslab.report.contact import Shown, contact_sheet

ANSWERS = (("beagle", 0.75), ("dingo", 0.2), ("Samoyed", 0.05))


def thumbnail(width: int = 40, height: int = 30, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def shown(number: int = 0, **changes: object) -> Shown:
    values: dict[str, object] = {
        "picture": f"val/dogs/{number}.jpg",
        "thumbnail": thumbnail(),
        "answers": ANSWERS,
        "error": None,
    }
    return Shown(**{**values, **changes})  # type: ignore[arg-type]


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def near(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool]:
    return np.asarray((np.abs(image.astype(int) - colour) < 12).all(axis=2))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that the sheet is given to write, as shortened."""
    texts: list[str] = []
    fit = contact.fitted

    def noted(text: str, ems: float) -> str:
        texts.append(fit(text, ems))
        return texts[-1]

    monkeypatch.setattr(contact, "fitted", noted)
    return texts


def test_a_sheet_shows_each_picture_with_its_answers(tmp_path: Path, written: list[str]) -> None:
    contact_sheet([shown(i) for i in range(12)], tmp_path / "sheet.png")
    image = pixels(tmp_path / "sheet.png")
    cell = 2 * contact.CELL
    assert near(image, (200, 30, 30)).sum() == pytest.approx(12 * cell * cell * 3 / 4, rel=0.02)
    bars = near(image, (0xA9, 0xD3, 0xCD)).sum()
    assert bars == pytest.approx(12 * 0.75 * cell * 2 * (contact.LINE - 2), rel=0.35)
    assert {"beagle", "75.0 %", "dingo", "20.0 %", "0.jpg", "11.jpg"} <= set(written)


def test_the_grid_is_about_as_wide_as_high(tmp_path: Path) -> None:
    sizes = {}
    for count in (1, 2, 5, 12):
        contact_sheet([shown(i, thumbnail=thumbnail(8, 8)) for i in range(count)], tmp_path / "sheet.png")
        height, width, _ = pixels(tmp_path / "sheet.png").shape
        step = 2 * (contact.CELL + contact.GAP)
        sizes[count] = round((width - 4 * contact.MARGIN + 2 * contact.GAP) / step)
        assert height > 0.8 * width or count in (2, 5)
    assert sizes == {1: 1, 2: 2, 5: 3, 12: 4}


def test_a_picture_that_could_not_be_read_is_a_grey_cell_with_the_reason(tmp_path: Path, written: list[str]) -> None:
    bad = Shown("broken.jpg", None, (), "is damaged: image file is truncated")
    contact_sheet([bad], tmp_path / "sheet.png")
    image = pixels(tmp_path / "sheet.png")
    assert near(image, (0xEE, 0xF1, 0xF4)).sum() > 0.9 * (2 * contact.CELL) ** 2
    assert "is damaged: image file" in " ".join(written)
    assert "broken.jpg" in written


@pytest.mark.parametrize("data", [None, b"", b"no picture at all", thumbnail()[:60]])
def test_a_thumbnail_that_cannot_be_decoded_leaves_the_answers(
    tmp_path: Path, written: list[str], data: bytes | None
) -> None:
    contact_sheet([shown(thumbnail=data)], tmp_path / "sheet.png")
    assert {"cannot be shown", "beagle"} <= set(written)


@pytest.mark.parametrize("size", [(1, 160), (160, 1), (1, 4000), (3000, 2000)])
def test_any_shape_fits_its_cell(tmp_path: Path, size: tuple[int, int]) -> None:
    contact_sheet([shown(thumbnail=thumbnail(*size))], tmp_path / "sheet.png")
    found = np.argwhere(near(pixels(tmp_path / "sheet.png"), (200, 30, 30)))
    assert len(found)
    edge = 2 * contact.MARGIN
    assert (found >= edge - 1).all()
    assert (found <= edge + 2 * contact.CELL).all()


def test_a_sheet_holds_96_and_says_of_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[str] = []
    head = contact._head
    monkeypatch.setattr(contact, "_head", lambda *numbers: heads.append(head(*numbers)) or heads[-1])
    few = [shown(0, answers=(), thumbnail=None, error="x")]
    contact_sheet(few * 96, tmp_path / "full.png")
    contact_sheet(few * 97, tmp_path / "given.png")
    contact_sheet(few * 96, tmp_path / "told.png", total=1234)
    contact_sheet(few * 3, tmp_path / "few.png", 3)
    assert heads == ["", "the first 96 of 97 pictures", "the first 96 of 1,234 pictures", ""]
    full, given, told = (pixels(tmp_path / f"{name}.png").shape for name in ("full", "given", "told"))
    assert given == told
    assert full[0] < told[0]
    assert full[1] == 2 * (2 * contact.MARGIN + 8 * (contact.CELL + contact.GAP) - contact.GAP)


def test_long_foreign_and_hostile_names_are_drawn_as_they_are(tmp_path: Path, written: list[str]) -> None:
    entries = [
        shown(picture="a/" + "very_long_" * 12 + "end.jpg", answers=(("x" * 200, 1.0),)),
        shown(picture="犬\udcff\n.jpg", answers=(("$\\frac{1}$", 0.5), ("<script>", 0.5))),
        shown(error="W" * 400, thumbnail=None, answers=()),
    ]
    contact_sheet(entries, tmp_path / "sheet.png")
    assert any(text.startswith("very_long") and text.endswith("end.jpg") and "…" in text for text in written)
    assert "$\\frac{1}$" in written
    assert "\N{REPLACEMENT CHARACTER}\\udcff\\n.jpg" in written
    assert not any("\n" in text for text in written)


def test_equal_entries_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        contact_sheet([shown(i) for i in range(3)], tmp_path / "new" / name)
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"sheet\.png"):
        contact_sheet([shown()], tmp_path / "file" / "sheet.png")
