import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.core.errors import SpecError
from reslab.core.protocol import PLACES, Native, Protocol, find_protocol, preset

IMAGENET = Native(256, 224, "center")
CIFAR = Native(37, 32, "single")
NAMES = ["single", "center", "flip", "ten-crop", "multi-scale", "multi-scale-mirror"]
POOL, CLASSIFY = "pool-then-classify", "classify-then-average"


@st.composite
def protocols(draw: st.DrawFn) -> Protocol:
    crop = draw(st.integers(1, 500))
    dense = draw(st.sampled_from([None, POOL, CLASSIFY]))
    places = "center" if dense else draw(st.sampled_from(list(PLACES)))
    sides = draw(st.lists(st.integers(crop, 2**14 - 1), min_size=1, max_size=6, unique=True))
    values = {
        "name": draw(st.sampled_from(["mine", "ten-crop", "Ö \N{SNOWMAN}", "a, b"])),
        "shorter_sides": sides,
        "crop": crop,
        "places": places,
        "mirror": draw(st.booleans()),
        "average": draw(st.sampled_from(["probabilities", "logits"])),
        "dense": dense,
    }
    return Protocol.parse(values)


def presets(native: Native) -> dict[str, Protocol]:
    return {name: find_protocol(name, native) for name in NAMES}


def written(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def one_line(error: pytest.ExceptionInfo[SpecError]) -> str:
    text = str(error.value)
    assert text.isprintable()
    return text


def test_the_presets_for_a_crop_of_224_are_these_and_no_others() -> None:
    usual: dict[str, Any] = {"shorter_sides": (256,), "crop": 224, "mirror": False, "dense": None, "places": "center"}
    scales = {**usual, "shorter_sides": (224, 256, 384, 480, 640), "dense": POOL}
    expected: dict[str, dict[str, Any]] = {
        "single": {**usual, "shorter_sides": (224,)},
        "center": usual,
        "flip": {**usual, "mirror": True},
        "ten-crop": {**usual, "places": "corners+center", "mirror": True},
        "multi-scale": scales,
        "multi-scale-mirror": {**scales, "mirror": True},
    }
    found = {name: protocol.model_dump() for name, protocol in presets(IMAGENET).items()}
    assert found == {name: {"name": name, "average": "probabilities", **values} for name, values in expected.items()}


def test_small_pictures_have_the_same_presets_at_sizes_of_their_own() -> None:
    found = presets(CIFAR)
    assert list(found) == NAMES
    one, other = found["single"].model_dump(), found["flip"].model_dump()
    assert (one["shorter_sides"], one["crop"], one["places"]) == ((32,), 32, "center")
    assert other == {**one, "name": "flip", "mirror": True}
    assert found["center"].shorter_sides == found["ten-crop"].shorter_sides == (37,)
    assert found["multi-scale"].shorter_sides == found["multi-scale-mirror"].shorter_sides == (32, 37, 55, 69, 91)
    assert {protocol.crop for protocol in found.values()} == {32}
    large = presets(IMAGENET)
    for name in NAMES:
        assert [found[name].views, found[name].average, found[name].dense, found[name].places] == [
            large[name].views,
            large[name].average,
            large[name].dense,
            large[name].places,
        ]


@pytest.mark.parametrize(
    ("name", "views", "groups"),
    [
        ("single", 1, ("224",)),
        ("center", 1, ("256",)),
        ("flip", 2, ("256",)),
        ("ten-crop", 10, ("256",)),
        ("multi-scale", 1, ("224", "256", "384", "480", "640")),
        ("multi-scale-mirror", 2, ("224", "256", "384", "480", "640")),
    ],
)
def test_a_preset_has_so_many_views_in_groups_of_these_names(name: str, views: int, groups: tuple[str, ...]) -> None:
    found = find_protocol(name, IMAGENET)
    assert (found.views, found.groups) == (views, groups)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("single", "the centre, crops of 224 at shorter side 224"),
        ("center", "the centre, crops of 224 at shorter side 256"),
        (
            "flip",
            "the centre, crops of 224 at shorter side 256, with mirror images, probabilities averaged over 2 views",
        ),
        (
            "ten-crop",
            "four corners and the centre of the whole picture, crops of 224 at shorter side 256,"
            " with mirror images, probabilities averaged over 10 views",
        ),
        (
            "multi-scale",
            "dense at shorter side 224, 256, 384, 480, 640 (pool-then-classify), probabilities averaged over 5 views",
        ),
        (
            "multi-scale-mirror",
            "dense at shorter side 224, 256, 384, 480, 640 (pool-then-classify), with mirror images,"
            " probabilities averaged over 10 views",
        ),
    ],
)
def test_a_preset_in_words(name: str, sentence: str) -> None:
    assert find_protocol(name, IMAGENET).sentence == sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "dense at shorter side 256 (pool-then-classify)"),
        (
            {"dense": CLASSIFY},
            "dense at shorter side 256 (classify-then-average, windows as in a crop of 224),"
            " probabilities averaged over all places",
        ),
        (
            {"dense": CLASSIFY, "mirror": True, "average": "logits"},
            "dense at shorter side 256 (classify-then-average, windows as in a crop of 224), with mirror images,"
            " logits averaged over all places of 2 views",
        ),
        (
            {"dense": None, "places": "square-corners+center"},
            "four corners and the centre of the central square, crops of 224 at shorter side 256,"
            " probabilities averaged over 5 views",
        ),
    ],
)
def test_other_protocols_in_words(changes: dict[str, Any], sentence: str) -> None:
    dense = find_protocol("center", IMAGENET).but({"dense": POOL})
    assert dense.but(changes).sentence == sentence


def scores_alike(one: Protocol, other: Protocol) -> bool:
    """Whether two protocols, whose names do not matter, must give the same scores."""
    moot = {"name"} | ({"crop"} if one.dense == other.dense == POOL else set())
    alone = all(protocol.views == len(protocol.groups) == 1 and protocol.dense != CLASSIFY for protocol in (one, other))
    moot |= {"average"} if alone else set()
    return one.model_dump(exclude=moot) == other.model_dump(exclude=moot)


@settings(deadline=None, max_examples=200)
@given(protocols(), st.data())
def test_two_protocols_have_the_same_words_exactly_when_they_give_the_same_scores(
    protocol: Protocol, data: st.DataObject
) -> None:
    changes: dict[str, st.SearchStrategy[Any]] = {
        "name": st.just("other"),
        "shorter_sides": st.just([*protocol.shorter_sides[:-1], max(protocol.shorter_sides) + 1]),
        "crop": st.integers(1, protocol.crop),
        "places": st.just("center") if protocol.dense else st.sampled_from(list(PLACES)),
        "mirror": st.booleans(),
        "average": st.sampled_from(["probabilities", "logits"]),
        "dense": st.sampled_from([POOL, CLASSIFY] if protocol.places == "center" else [None]),
    }
    name = data.draw(st.sampled_from(list(changes)))
    other = Protocol.parse({**protocol.model_dump(mode="json"), name: data.draw(changes[name])})
    assert (other.sentence == protocol.sentence) is scores_alike(other, protocol)


@settings(deadline=None)
@given(protocols())
def test_a_protocol_comes_back_from_json_as_it_was(protocol: Protocol) -> None:
    again = Protocol.parse(json.loads(json.dumps(protocol.model_dump(mode="json"))))
    assert again == protocol
    assert again.digest() == protocol.digest()


@pytest.mark.parametrize(("native", "usual"), [(IMAGENET, "center"), (CIFAR, "single")])
def test_where_nothing_is_asked_it_is_the_usual_one(native: Native, usual: str) -> None:
    assert find_protocol(None, native) == find_protocol(usual, native) == presets(native)[usual]


@pytest.mark.parametrize("native", [Native(3, 2, "center"), Native(9000, 9000, "center")])
def test_sizes_at_which_one_preset_cannot_be_do_not_harm_the_others(native: Native) -> None:
    assert find_protocol(None, native).crop == native.crop
    with pytest.raises(SpecError, match=r"^protocol multi-scale: shorter_sides"):
        find_protocol("multi-scale", native)
    assert preset("mine", native) is None


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("ten-crops", "; did you mean 'ten-crop'?"),
        ("centre", "; did you mean 'center'?"),
        ("multi-scale-mirrored", "; did you mean 'multi-scale-mirror'?"),
        ("", ""),
        ("xyz", ""),
        ("TOML", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(asked: str, hint: str) -> None:
    with pytest.raises(SpecError) as error:
        find_protocol(asked, IMAGENET)
    choices = "single, center, flip, ten-crop, multi-scale, multi-scale-mirror"
    assert one_line(error) == f"unknown protocol {asked!r}{hint} (choose from: {choices}); or give a TOML file"


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", {}),
        ('name = "other"', {"name": "other"}),
        ("shorter_sides = [224, 320]", {"shorter_sides": (224, 320)}),
        ("crop = 192", {"crop": 192}),
        ('places = "square-corners+center"', {"places": "square-corners+center"}),
        ("mirror = true", {"mirror": True}),
        ('average = "logits"', {"average": "logits"}),
        ('dense = "classify-then-average"', {"dense": CLASSIFY}),
        ('shorter_sides = [300]\nplaces = "corners+center"', {"shorter_sides": (300,), "places": "corners+center"}),
    ],
)
def test_a_file_lies_over_the_central_crop(text: str, changed: dict[str, Any], tmp_path: Path) -> None:
    base = presets(IMAGENET)["center"].model_dump()
    found = find_protocol(written(tmp_path, text), IMAGENET)
    assert found.model_dump() == {**base, "name": "mine", **changed}


def test_a_file_lies_over_the_sizes_of_the_network_at_hand(tmp_path: Path) -> None:
    found = find_protocol(written(tmp_path, "mirror = true"), CIFAR)
    assert (found.shorter_sides, found.crop, found.mirror) == ((37,), 32, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mirrored = true", "unknown key 'mirrored'; did you mean 'mirror'? (choose from: name, shorter_sides, crop, "),
        ("[crop]\nside = 3", "crop is {'side': 3}: "),
        ('places = "corners"', "places is 'corners': input should be 'center', 'corners+center' or 'square-corners+"),
        ('average = "votes"', "average is 'votes': input should be 'probabilities' or 'logits'"),
        ('dense = "pool"', "dense is 'pool': input should be 'pool-then-classify' or 'classify-then-average'"),
        ("crop = 257", "a crop of 257 does not fit a shorter side of 256"),
        ("shorter_sides = [640, 223]", "a crop of 224 does not fit a shorter side of 223"),
        ("shorter_sides = [256, 300, 256]", "shorter_sides must be one or more different sizes, not [256, 300, 256]"),
        ("shorter_sides = []", "shorter_sides must be one or more different sizes, not []"),
        ("shorter_sides = 256", "shorter_sides is 256: "),
        ("shorter_sides = [0]", "shorter_sides.0 is 0: input should be greater than 0"),
        ("shorter_sides = [16385]", "shorter_sides.0 is 16385: input should be less than or equal to 16384"),
        ("crop = 0", "crop is 0: input should be greater than 0"),
        ("crop = -1", "crop is -1: "),
        ("crop = 22.5", "crop is 22.5: "),
        ("mirror = 7", "mirror is 7: "),
        (
            'places = "corners+center"\ndense = "pool-then-classify"',
            "places 'corners+center' has no effect in dense testing, which sees the whole picture",
        ),
        ('name = ""', "name must be one that a folder can have, not ''"),
        ('name = ".."', "name must be one that a folder can have, not '..'"),
        ('name = "../../etc"', "name must be one that a folder can have, not '../../etc'"),
        ('name = "/tmp"', "name must be one that a folder can have, not '/tmp'"),
        ('name = "two\\nlines"', "name must be one that a folder can have, not 'two\\nlines'"),
        ('name = "\\u0000"', "name must be one that a folder can have, not '\\x00'"),
        ('name = "\\u001b[31m"', "name must be one that a folder can have, not '\\x1b[31m'"),
        ("name = 5", "name is 5: "),
    ],
)
def test_a_file_that_cannot_hold_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(SpecError) as error:
        find_protocol(file, IMAGENET)
    assert one_line(error).startswith(f"{file}: {says}")


@pytest.mark.parametrize("content", [b"crop = ", b"\xff\xfe", b"crop 224"])
def test_a_file_that_is_not_toml_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(SpecError) as error:
        find_protocol(str(tmp_path / "mine.toml"), IMAGENET)
    assert one_line(error).startswith(f"{tmp_path / 'mine.toml'} is not TOML: ")


def test_a_file_that_is_missing_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        find_protocol(str(tmp_path / "none.toml"), IMAGENET)
    assert one_line(error) == f"cannot read {tmp_path / 'none.toml'}: No such file or directory"


def test_a_protocol_cannot_be_changed_after_it_was_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        find_protocol("center", IMAGENET).crop = 1
