import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.errors import DataError
from reslab.core.imagenet import imagenet_classes
from reslab.core.text import printable
from reslab.data.classes import match_classes

CALM = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
CLASSES = imagenet_classes()
WNIDS = [one.wnid for one in CLASSES]
FULL = [", ".join(one.names) for one in CLASSES]
IMAGEWOOF = {
    "n02086240": 155,
    "n02087394": 159,
    "n02088364": 162,
    "n02089973": 167,
    "n02093754": 182,
    "n02096294": 193,
    "n02099601": 207,
    "n02105641": 229,
    "n02111889": 258,
    "n02115641": 273,
}
BORNE = Counter(re.sub("[ -]", "_", name).lower() for one in CLASSES for name in one.names)
OWN = [[name for name in one.names if BORNE[re.sub("[ -]", "_", name).lower()] == 1] for one in CLASSES]
DOUBLED = {"crane", "maillot"}
PLACES = st.lists(st.integers(0, 999), unique=True, max_size=30)
CASES: list[Callable[[str], str]] = [str, str.lower, str.upper, str.title, str.swapcase]


def refusal(folders: Sequence[str], known: Sequence[str]) -> str:
    with pytest.raises(DataError) as caught:
        match_classes(folders, known)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@st.composite
def spelled(draw: st.DrawFn, place: int) -> str:
    """A class as some collection may call it: by wnid, by both, or by any name that it alone bears."""
    wnid, name = WNIDS[place], draw(st.sampled_from(CLASSES[place].names))
    forms = [wnid, f"{wnid}-{name}", f"{wnid}_{name}", f"{wnid} {name}", *OWN[place]]
    form = draw(st.sampled_from(CASES))(draw(st.sampled_from(forms)))
    return "".join(draw(st.sampled_from(" _-")) if letter in " _-" else letter for letter in form)


def test_imagewoof_finds_its_ten_places_in_a_network_of_a_thousand_classes() -> None:
    assert match_classes(list(IMAGEWOOF), WNIDS) == tuple(IMAGEWOOF.values())
    assert match_classes(list(IMAGEWOOF)[::-1], WNIDS) == tuple(IMAGEWOOF.values())[::-1]


@pytest.mark.parametrize(
    "folder",
    [
        "n02099601",
        "N02099601",
        "n02099601-golden_retriever",
        "n02099601_golden retriever",
        "golden retriever",
        "Golden_Retriever",
        "GOLDEN-RETRIEVER",
        "golden  retriever ",
    ],
)
@pytest.mark.parametrize("known", ["n02099601", "golden retriever", "Golden_retriever", "n02099601-golden_retriever"])
def test_a_class_is_found_however_both_sides_spell_it(folder: str, known: str) -> None:
    assert match_classes([folder], ["n02086240", known, "dingo"]) == (1,)


@pytest.mark.parametrize("folder", ["shih_tzu", "Shih-Tzu", "shih tzu", "n02086240", "n02086240_Shih-Tzu"])
def test_hyphens_spaces_and_underscores_are_equal(folder: str) -> None:
    assert match_classes([folder], WNIDS) == (155,)


def test_any_wordnet_name_of_a_class_will_do() -> None:
    assert match_classes(["Alsatian", "toilet paper", "Tinca tinca", FULL[1]], WNIDS) == (235, 999, 0, 1)


@CALM
@given(PLACES.flatmap(lambda places: st.tuples(st.just(places), st.tuples(*map(spelled, places)))))
def test_any_classes_in_any_order_and_spelling_find_their_own_places(case: tuple[list[int], tuple[str, ...]]) -> None:
    places, folders = case
    assert match_classes(folders, WNIDS) == tuple(places)


@CALM
@given(st.permutations(range(1000)), st.integers(1, 999), st.data())
def test_the_order_of_a_network_s_classes_is_its_own(order: list[int], count: int, data: st.DataObject) -> None:
    known = order[:count]
    chosen = data.draw(st.lists(st.sampled_from(known), unique=True, max_size=10))
    expected = tuple(known.index(place) for place in chosen)
    assert match_classes([WNIDS[place] for place in chosen], [WNIDS[place] for place in known]) == expected


@pytest.mark.parametrize("separator", [" ", "_"])
def test_a_network_that_knows_titles_is_tested_on_wnids_but_for_the_doubled_titles(separator: str) -> None:
    known = [one.title.replace(" ", separator) for one in CLASSES]
    places = [place for place, one in enumerate(CLASSES) if one.title not in DOUBLED]
    assert match_classes([WNIDS[place] for place in places], known) == tuple(places)
    assert len(places) == 996


@CALM
@given(st.lists(st.text(max_size=8), unique=True, max_size=12), st.randoms(use_true_random=False))
def test_names_that_are_equal_to_the_letter_are_one_class_in_any_tongue(names: list[str], chance: Random) -> None:
    shuffled = chance.sample(names, len(names))
    assert match_classes(shuffled, names) == tuple(names.index(name) for name in shuffled)


def test_equality_to_the_letter_comes_before_every_other_rule() -> None:
    assert match_classes(["Cardigan", "cardigan"], ["cardigan", "Cardigan"]) == (1, 0)
    assert match_classes(["harp", "harmonica"], ["harmonica", "harp"]) == (1, 0)
    assert match_classes(["crane"], ["n02012849", "crane", "n03126707"]) == (1,)


def test_a_wnid_outside_the_challenge_is_its_own_name() -> None:
    assert match_classes(["n00007846-person"], ["n02086240", "n00007846"]) == (1,)


def test_no_folders_have_no_places() -> None:
    assert match_classes([], WNIDS) == ()


@pytest.mark.parametrize(
    ("folder", "titles"),
    [
        ("crane", "crane (n02012849), crane (n03126707)"),
        ("maillot", "maillot (n03710637), maillot (n03710721)"),
        ("Cardigan", "Cardigan (n02113186), cardigan (n02963159)"),
        ("panda\n", "lesser panda (n02509815), giant panda (n02510455)"),
    ],
)
def test_a_name_that_two_known_classes_bear_is_refused(folder: str, titles: str) -> None:
    expected = f"class {printable(folder)}, which could be 2 known classes ({titles}); name the folder by its wnid"
    assert refusal([folder], WNIDS) == expected


def test_a_name_that_one_known_class_bears_is_taken_though_others_of_imagenet_bear_it() -> None:
    assert match_classes(["crane"], ["n02086240", "n03126707"]) == (1,)


def test_a_network_whose_own_names_are_doubled_is_not_blamed_on_the_folder_s_name() -> None:
    known = [one.title for one in CLASSES]
    assert refusal(["n02012849"], known) == "class n02012849, which could be 2 known classes (crane, crane)"
    cases = "class n02012849, which could be 2 known classes (crane, Crane)"
    assert refusal(["n02012849"], ["dingo", "crane", "Crane"]) == cases
    assert refusal(["crane"], known) == "class crane, which could be 2 known classes (crane, crane)"


def test_two_folders_of_one_class_are_refused_and_both_named() -> None:
    expected = "classes shih_tzu\\n and n02086240\\t, which are one class of the network: Shih-Tzu (n02086240)"
    assert refusal(["dingo", "shih_tzu\n", "n02086240\t"], WNIDS) == expected


def test_folders_that_match_nothing_are_counted_and_the_first_named() -> None:
    assert refusal(["ash", "dingo", "oak\n"], WNIDS) == (
        "classes that the network does not know (2 of 3): ash, oak\\n; it knows 1,000 classes: "
        "tench (n01440764), goldfish (n01443537), great white shark (n01484850), tiger shark (n01491361), "
        "hammerhead (n01494475) and 995 more"
    )
    many = [f"tree{number}" for number in range(1200)]
    assert "(1,200 of 1,200): tree0, tree1, tree2, tree3, tree4 and 1,195 more; it knows" in refusal(
        many, ["cat", "dog"]
    )


@pytest.mark.parametrize("folder", ["shihtzu", "n0208624", "n020862401", "Bird", "n02086240.old", "n02085620"])
def test_a_name_that_is_only_near_matches_nothing(folder: str) -> None:
    assert f"(1 of 1): {folder}; it knows 2 classes: Shih-Tzu (n02086240), bird" in refusal(
        [folder], ["n02086240", "bird"]
    )


def test_matching_classes_never_loads_torch() -> None:
    code = "import sys, reslab.data.classes; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
