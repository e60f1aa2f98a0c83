import dataclasses
import re
import subprocess
import sys
from importlib import resources

import pytest

from reslab.core.imagenet import ImageNetClass, imagenet_classes, title_of

LINES = resources.files("reslab.core").joinpath("imagenet_classes.tsv").read_text(encoding="utf-8").splitlines()
IMAGEWOOF = {
    "n02086240": (155, "Shih-Tzu"),
    "n02087394": (159, "Rhodesian ridgeback"),
    "n02088364": (162, "beagle"),
    "n02089973": (167, "English foxhound"),
    "n02093754": (182, "Border terrier"),
    "n02096294": (193, "Australian terrier"),
    "n02099601": (207, "golden retriever"),
    "n02105641": (229, "Old English sheepdog"),
    "n02111889": (258, "Samoyed"),
    "n02115641": (273, "dingo"),
}


def test_there_are_a_thousand_classes_in_the_order_of_their_wnids() -> None:
    wnids = [one.wnid for one in imagenet_classes()]
    assert len(wnids) == len(set(wnids)) == 1000
    assert wnids == sorted(wnids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in wnids)


def test_every_name_is_printed_as_imagenet_prints_it() -> None:
    for one in imagenet_classes():
        assert one.names
        assert all(re.fullmatch(r"[A-Za-z0-9'.-]+( [A-Za-z0-9'.-]+)*", name) for name in one.names)
        assert len(set(one.names)) == len(one.names)
        assert one.title == one.names[0]


@pytest.mark.parametrize(
    ("place", "wnid", "names"),
    [
        (0, "n01440764", ("tench", "Tinca tinca")),
        (1, "n01443537", ("goldfish", "Carassius auratus")),
        (281, "n02123045", ("tabby", "tabby cat")),
        (639, "n03710721", ("maillot", "tank suit")),
        (999, "n15075141", ("toilet tissue", "toilet paper", "bathroom tissue")),
    ],
)
def test_a_class_has_its_place_and_its_names(place: int, wnid: str, names: tuple[str, ...]) -> None:
    assert imagenet_classes()[place] == ImageNetClass(wnid, names)


def test_the_ten_dogs_of_imagewoof_have_their_places() -> None:
    for wnid, (place, title) in IMAGEWOOF.items():
        assert imagenet_classes()[place].wnid == wnid
        assert imagenet_classes()[place].title == title


def test_two_titles_are_doubled_and_one_more_pair_differs_in_case_alone() -> None:
    titles = [one.title for one in imagenet_classes()]
    assert {title for title in titles if titles.count(title) > 1} == {"crane", "maillot"}
    lower = [title.lower() for title in titles]
    assert {title for title in lower if lower.count(title) > 1} == {"crane", "maillot", "cardigan"}


def test_a_person_reads_a_title_for_a_wnid() -> None:
    assert title_of("n02086240") == "Shih-Tzu (n02086240)"
    assert {title_of(one.wnid) for one in imagenet_classes()} == {f"{c.title} ({c.wnid})" for c in imagenet_classes()}


@pytest.mark.parametrize("name", ["", "ash", "Shih-Tzu", "n00000000", "N02086240", "n02086240-Shih-Tzu"])
def test_any_other_name_is_read_as_it_stands(name: str) -> None:
    assert title_of(name) == name


def test_the_classes_are_read_once_and_nobody_can_change_one() -> None:
    assert imagenet_classes() is imagenet_classes()
    with pytest.raises(dataclasses.FrozenInstanceError):
        imagenet_classes()[0].wnid = "n00000000"  # type: ignore[misc]


def test_importing_the_module_does_not_read_the_file() -> None:
    code = "import reslab.core.imagenet as m; print(m.imagenet_classes.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


def test_the_file_carries_the_notice_that_wordnet_asks_for() -> None:
    notice = " ".join(" ".join(line.removeprefix("#") for line in LINES if line.startswith("#")).split())
    assert "WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved." in notice
    assert 'PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR WARRANTIES' in notice
    assert notice.endswith("shall at all times remain with Princeton University and LICENSEE agrees to preserve same.")
