"""Both pages in a real browser: `make test-slow` runs these where one is installed."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.report.compared import Page, class_row, comparison, differing, side

from reslab.core.rundir import RunDirectory
from reslab.report.comparison import write_comparison
from reslab.report.finished import finished
from reslab.report.page import write_report

Maker = Callable[..., RunDirectory]
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
BROWSER: Final = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom")
OFFLINE: Final = "--host-resolver-rules=MAP * ~NOTFOUND"
WIDE: Final = 1100
NARROW: Final = 500  # no window is narrower

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(NAMES)} is on the PATH"),
]

PROBE: Final = """<script>addEventListener("load", () => {
  const open = (button) => {
    const box = document.getElementById(button.getAttribute("popovertarget"));
    const closed = !box.checkVisibility();
    button.scrollIntoView({ block: "center", inline: "center" });
    button.click();
    const { left, right, width } = box.getBoundingClientRect();
    const seen = box.matches(":popover-open") && width > 0 && left >= 0 && right <= innerWidth;
    box.hidePopover();
    return closed && seen && button.tabIndex === 0;
  };
  document.documentElement.dataset.found = JSON.stringify({
    loaded: performance.getEntriesByType("resource").map((entry) => entry.name),
    opened: [...document.querySelectorAll("button[popovertarget]")].map(open),
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
    width: document.documentElement.scrollWidth,
    window: innerWidth,
  });
})</script></body>"""


@dataclass(frozen=True)
class Shown:
    """What a browser makes of a page: its elements, its console, and what `PROBE` found."""

    page: Page
    console: list[str]
    found: dict[str, Any]


def dump(file: Path, width: int) -> tuple[str, list[str]]:
    profile = f"--user-data-dir={file.parent / 'profile'}"
    words = [str(BROWSER), *FLAGS, OFFLINE, profile, f"--window-size={width},800", file.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def opened(file: Path, width: int = WIDE) -> Shown:
    """The page as it is, and a copy of it in which a script clicks and looks."""
    dom, console = dump(file, width)
    probed = file.with_name(f"probed-{file.name}")
    probed.write_text(file.read_text().replace("</body>", PROBE))
    looked, complaints = dump(probed, width)
    return Shown(Page(dom), console + complaints, json.loads(Page(looked).facts["data-found"]))


def assert_sound(shown: Shown) -> None:
    assert shown.console == []
    assert shown.found["loaded"] == []
    assert all(place.startswith(("data:image/", "#")) for place in shown.page.loaded)
    assert shown.found["broken"] == 0
    assert set(shown.page.targets) == set(shown.page.popovers)
    assert all(shown.found["opened"])
    assert len(shown.found["opened"]) == len(shown.page.targets) > 0
    assert shown.found["width"] <= shown.found["window"]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_comparison_opens(tmp_path: Path, width: int) -> None:
    shown = opened(write_comparison(comparison(), tmp_path / "compare.html"), width)
    assert_sound(shown)
    assert shown.found["window"] == width
    for row in (
        ["old", "35.00", "[26.36, 44.75]", "1.25", "65", "100"],
        ["old wrong", "25", "10"],
        ["+20.00", "[+10.00, +30.00]", "3e-04", "100"],
        ["cedar", "30", "40.00", "30.00", "+10.00", "0.031"],
    ):
        assert row in shown.page.rows


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_long_and_hostile_names_stay_on_the_page(tmp_path: Path, width: int) -> None:
    name = "<script>console.error(1)</script>" + "Pneumonoultramicroscopicsilicovolcanoconiosis" * 3
    found = comparison(
        data=name,
        first=side(name, 65),
        statement=name,
        sentence=name,
        by_class=(class_row(name),),
        only_first_shown=(differing(0, picture=name, label=name, first=name),),
    )
    shown = opened(write_comparison(found, tmp_path / "compare.html"), width)
    assert_sound(shown)
    assert name in shown.page.text


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_report_opens(make_run: Maker, make_photo_run: Maker, tmp_path: Path, width: int) -> None:
    photographs = make_photo_run([0, 0, 1, 1], [0, 1, 1, 1], [0.9, 0.8, 0.7, 0.6], ("ash", "birch"))
    seeds = [make_run("cifar-plain20", 30, 31, seed=seed) for seed in (0, 1)]
    runs = finished([*seeds, make_run("cifar-resnet20", 28, 25), photographs])
    shown = opened(write_report(runs, tmp_path / "out" / "page.html").html, width)
    assert_sound(shown)
    errors = ["31.00 [29.88, 32.14] n=6,400", "30.00 [28.03, 32.05] n=2,000"]
    assert ["plain-20", "0", *errors] in [row[:2] + row[4:6] for row in shown.page.rows]


def test_these_tests_see_what_a_page_complains_of_and_loads(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<body><img src="http://a.invalid/x.png"><script>console.error("oh")</script></body>')
    shown = opened(bad)
    assert ["oh" in line for line in shown.console] == [True, True]
    assert shown.found["loaded"] == ["http://a.invalid/x.png"]
    assert shown.found["broken"] == 1
