import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.contract import CONTRACTS, Contract, named_contract, other_preprocessing
from reslab.core.errors import SpecError
from reslab.core.experiment import Experiment, Photographs, Start

CALM = settings(deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
FOLDER: dict[str, Any] = {"model": {"name": "resnet18"}, "data": "folder", "recipe": {"photographs": {}}}
DIGEST = "0123456789abcdef" * 4


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    channel = st.floats(-500, 500, allow_nan=False)
    crop = draw(st.integers(1, 600))
    values = {
        "order": draw(st.sampled_from(["RGB", "BGR"])),
        "mean": draw(st.tuples(channel, channel, channel)),
        "std": draw(st.tuples(*[st.floats(1e-3, 300)] * 3)),
        "resample": draw(st.sampled_from(["bilinear", "bicubic"])),
        "crop": crop,
        "shorter_side": crop + draw(st.integers(0, 200)),
    }
    return Contract.parse(values)


@CALM
@given(contracts(), contracts())
def test_a_contract_survives_json_and_has_a_digest_of_its_own(first: Contract, second: Contract) -> None:
    assert Contract.parse(json.loads(first.canonical_json())) == first
    assert (first == second) == (first.digest() == second.digest())


def test_the_papers_contract_subtracts_the_mean_colour_and_divides_by_nothing() -> None:
    paper = named_contract("paper")
    assert paper == Contract()
    assert (paper.order, paper.mean, paper.std) == ("RGB", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
    assert (paper.shorter_side, paper.crop) == (256, 224)


def test_torchvisions_contract_is_its_own_in_units_of_255() -> None:
    contract = named_contract("torchvision")
    assert contract.mean == pytest.approx([255 * mean for mean in (0.485, 0.456, 0.406)])
    assert contract.std == pytest.approx([255 * std for std in (0.229, 0.224, 0.225)])
    assert contract.order == "RGB"


def test_the_released_networks_contract_is_the_papers_in_bgr() -> None:
    caffe = named_contract("caffe")
    assert (caffe.order, caffe.mean) == ("BGR", Contract().mean[::-1])
    assert caffe.but({"order": "RGB", "mean": Contract().mean}) == Contract()


def test_every_name_stands_for_bilinear_resizing_and_not_for_sides() -> None:
    for contract in CONTRACTS.values():
        assert contract.preparation()["resample"] == "bilinear"
        assert contract.but({"resample": "bicubic"}).preparation()["resample"] == "bicubic"
        assert not {"shorter_side", "crop"} & contract.preparation().keys()


def test_weights_of_pictures_resized_otherwise_are_said_to_be() -> None:
    cubic = Contract(resample="bicubic", crop=10, shorter_side=20)
    assert other_preprocessing(cubic, Contract(resample="bicubic")) == []
    (line,) = other_preprocessing(cubic, Contract())
    assert line == "weights for pictures with resample bicubic, not with resample bilinear"


def test_an_unknown_contract_is_refused_with_the_nearest_name() -> None:
    line = (
        r"^unknown preprocessing 'tochvision'; did you mean 'torchvision'\? \(choose from: paper, torchvision, caffe\)$"
    )
    with pytest.raises(SpecError, match=line):
        named_contract("tochvision")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"crop": 257}, "a crop of 257 does not fit a shorter side of 256"),
        ({"shorter_side": 100}, "a crop of 224 does not fit a shorter side of 100"),
        ({"std": [1, 0, 1]}, r"std must be positive, not \[1.0, 0.0, 1.0\]"),
        ({"std": [1, 1, -2]}, r"std must be positive, not \[1.0, 1.0, -2.0\]"),
        ({"crop": 0}, "crop is 0: input should be greater than 0"),
        ({"shorter_side": -1}, "shorter_side is -1: input should be greater than 0"),
        ({"crop": 223.5}, "crop is 223.5: input should be a valid integer"),
        ({"resample": "lanczos"}, "resample is 'lanczos': input should be 'bilinear' or 'bicubic'"),
        ({"order": "GBR"}, "order is 'GBR': input should be 'RGB' or 'BGR'"),
        ({"mean": [1, 2]}, "mean.2 is missing"),
        ({"mean": [1, 2, 3, 4]}, "mean is .*at most 3 items"),
        ({"mean": [1, float("nan"), 3]}, "mean.1 is nan: input should be a finite number"),
        ({"std": [float("inf"), 1, 1]}, "std.0 is inf: input should be a finite number"),
        ({"means": [1, 2, 3]}, "unknown key 'means'; did you mean 'mean'"),
    ],
)
def test_a_contract_that_cannot_hold_is_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError, match=f"^given: {line}") as refusal:
        Contract.parse(values, source="given")
    assert "\n" not in str(refusal.value)


def test_a_crop_may_be_the_whole_shorter_side() -> None:
    assert Contract.parse({"crop": 256}).crop == 256


def test_a_contract_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Contract().crop = 3


def test_photographs_are_read_as_section_3_4_says() -> None:
    plain = Photographs()
    assert (plain.contract, plain.scale, plain.flip) == (Contract(), (256, 480), True)
    assert (plain.decode, plain.on_bad_picture, plain.held_out) == ("fast", "stop", 0.2)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"scale": [480, 256]}, "scale must rise, not 480 to 256"),
        ({"scale": [200, 480]}, "a crop of 224 does not fit a shorter side of 200: raise the scale"),
        ({"scale": [256]}, "scale.1 is missing"),
        ({"scale": [0, 5]}, "scale.0 is 0: input should be greater than 0"),
        ({"contract": {"crop": 300}}, "a crop of 300 does not fit a shorter side of 256"),
        ({"contract": {"crop": 300, "shorter_side": 300}}, "a crop of 300 does not fit .* of 256: raise the scale"),
        ({"contract": {"corp": 3}}, "unknown key 'contract.corp'; did you mean 'contract.crop'"),
        ({"decode": "slow"}, "decode is 'slow': input should be 'exact' or 'fast'"),
        ({"on_bad_picture": "skip"}, "on_bad_picture is 'skip': input should be 'stop' or 'replace'"),
        ({"held_out": 0}, "held_out is 0: input should be greater than 0"),
        ({"held_out": 1}, "held_out is 1: input should be less than 1"),
    ],
)
def test_photographs_that_cannot_be_read_so_are_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError, match=f"^given: {line}") as refusal:
        Photographs.parse(values, source="given")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("scale", [(224, 224), (224, 480), (480, 480)])
def test_a_scale_may_be_as_small_as_the_crop_and_constant(scale: tuple[int, int]) -> None:
    assert Photographs.parse({"scale": scale}).scale == scale


def test_an_experiment_on_a_folder_needs_photographs_and_only_that() -> None:
    experiment = Experiment.parse(FOLDER)
    assert experiment.recipe.photographs == Photographs()
    assert Experiment.parse(json.loads(experiment.canonical_json())) == experiment


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"recipe": {"photographs": None}},
            "this recipe is for small pictures; for a folder of photographs take",
        ),
        ({"data": "cifar10"}, "this recipe is for folders of photographs, and the data is cifar10"),
        ({"data": "embedded"}, "this recipe is for folders of photographs, and the data is embedded"),
        ({"recipe": {"augment": {"pad": 2}}}, "recipe.augment is for small pictures; photographs have recipe.photo"),
        ({"recipe": {"photographs": {"contract": {"std": [0, 1, 1]}}}}, "std must be positive"),
        (
            {"recipe": {"photographs": {"contract": {"mena": 1}}}},
            "unknown key 'recipe.photographs.contract.mena'; did you mean 'recipe.photographs.contract.mean'",
        ),
    ],
)
def test_data_and_recipe_must_fit(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError, match=f"^the spec: {line}"):
        Experiment.parse(FOLDER).but(changes)


def test_another_contract_is_another_experiment() -> None:
    one = Experiment.parse(FOLDER)
    other = one.but({"recipe": {"photographs": {"contract": {"order": "BGR"}}}})
    assert one.digest() != other.digest()


def test_a_start_names_weights_by_their_digest_and_trains_the_body_slowly() -> None:
    start = Start(weights=DIGEST)
    assert (start.freeze, start.body_rate) == ((), 0.1)
    assert Experiment.parse({**FOLDER, "start": {"weights": DIGEST, "freeze": ["stem", "layer1"]}}).start == Start(
        weights=DIGEST, freeze=("stem", "layer1")
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "weights is missing"),
        ({"weights": DIGEST[:-1]}, "weights is '.*': string should match pattern"),
        ({"weights": DIGEST.upper()}, "weights is '.*': string should match pattern"),
        ({"weights": f"{DIGEST}\n"}, "weights is '.*': string should match pattern"),
        ({"weights": "resnet50.safetensors"}, "weights is 'resnet50.safetensors': string should match pattern"),
        ({"weights": DIGEST, "freeze": ["fc"]}, "freeze.0 is 'fc': input should be 'stem', 'layer1'"),
        ({"weights": DIGEST, "body_rate": 0}, "body_rate is 0: input should be greater than 0"),
        ({"weights": DIGEST, "body_rate": 1.1}, "body_rate is 1.1: input should be less than or equal to 1"),
        ({"weights": DIGEST, "frozen": []}, "unknown key 'frozen'; did you mean 'freeze'"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError, match=f"^given: {line}") as refusal:
        Start.parse(values, source="given")
    assert "\n" not in str(refusal.value)
