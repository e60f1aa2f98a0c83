import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.report.glyphs import drawn, fitted, width
from reslab.report.labels import markdown, shortened, shown

any_text = st.text(st.characters(exclude_categories=()), max_size=40)


@given(any_text)
def test_whatever_is_shown_is_one_line_that_can_be_written(text: str) -> None:
    clean = shown(text)
    assert clean.isprintable()
    clean.encode("utf-8")
    assert shown(clean) == clean


@given(st.text(max_size=40), st.integers(1, 40))
def test_a_shortened_name_fits_and_a_short_one_stays(text: str, most: int) -> None:
    assert len(shortened(text, most)) <= most
    if len(text) <= most:
        assert shortened(text, most) == text


def test_the_middle_gives_way() -> None:
    assert shortened("Australian terrier", 9) == "Aust…rier"
    assert shortened("abc", 1) == "…"


@given(any_text, st.floats(2, 20))  # one letter always remains, and the widest is wider than 1
def test_what_is_fitted_is_not_too_wide(text: str, ems: float) -> None:
    assert width(fitted(drawn(text), ems)) <= ems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("*x* `y` [z](u)", r"\*x\* \`y\` \[z\](u)"),
        ("n02099601_6422.JPEG", "n02099601_6422.JPEG"),
        ("_x_", r"\_x\_"),
        ("a\nb", r"a\\nb"),
        ("\\|", r"\\\|"),
    ],
)
def test_markdown_shows_a_name_and_does_nothing_else(text: str, expected: str) -> None:
    assert markdown(text) == expected
