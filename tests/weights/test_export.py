"""What other libraries cannot express, by name."""

from typing import Any

import pytest

from reslab.core.contract import CONTRACTS, Contract
from reslab.core.errors import SpecError
from reslab.models.architecture import Architecture, cifar, imagenet
from reslab.weights.export import require_expressible
from reslab.weights.libraries import Target

FORM = CONTRACTS["torchvision"]
USUAL: dict[str, Any] = {
    "shortcut": "B",
    "stride_on": "3x3",
    "pool": "pad1",
    "width": 64,
    "classes": 1000,
    "bn_eps": 1e-5,
}


def photo(depth: int = 50, **changes: Any) -> Architecture:
    return imagenet(depth, **{**USUAL, **changes})


def small(**changes: Any) -> Architecture:
    usual: dict[str, Any] = {key: USUAL[key] for key in ("shortcut", "stride_on", "bn_eps")}
    return cifar(20, **{**usual, "block": "basic", "width": 16, "classes": 10, **changes})


REFUSED = [
    (photo(stride_on="1x1"), "a bottleneck's stride on 1x1 (v1)"),
    (photo(shortcut="A"), "shortcut A"),
    (photo(shortcut="C"), "shortcut C"),
    (photo(shortcut="none"), "plain networks"),
    (photo(pool="caffe"), "the pooling rule caffe"),
    (photo(width=32), "a width of 32"),
    (photo(bn_eps=1e-3), "a BN eps of 0.001"),
    (photo(18, shortcut="A"), "shortcut A"),
    (small(), "CIFAR networks"),
]


@pytest.mark.parametrize("target", ["torchvision", "timm"])
@pytest.mark.parametrize(("architecture", "what"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_expressed_is_named_alone(architecture: Architecture, what: str, target: Target) -> None:
    form = None if architecture.family == "cifar" else FORM
    with pytest.raises(SpecError) as caught:
        require_expressible(architecture, form, target)
    assert str(caught.value) == (
        f"{target} cannot express {what}, so it would compute something else from {architecture.name}"
    )


def test_all_that_cannot_be_expressed_is_in_the_one_line() -> None:
    with pytest.raises(SpecError) as caught:
        require_expressible(photo(stride_on="1x1", pool="caffe", shortcut="C", width=8, bn_eps=1e-3), FORM, "timm")
    for what in ("shortcut C", "stride on 1x1 (v1)", "pooling rule caffe", "width of 8", "BN eps of 0.001"):
        assert what in str(caught.value)


@pytest.mark.parametrize(
    ("form", "what"), [(CONTRACTS["caffe"], "BGR pictures"), (None, "the per-pixel mean of small pictures")]
)
def test_timms_config_can_say_less_than_a_file_for_torchvision_need(form: Contract | None, what: str) -> None:
    with pytest.raises(SpecError, match=f"^timm cannot express {what}, so"):
        require_expressible(photo(), form, "timm")
    require_expressible(photo(), form, "torchvision")


@pytest.mark.parametrize("target", ["torchvision", "timm"])
@pytest.mark.parametrize("stride_on", ["1x1", "3x3"])
@pytest.mark.parametrize("depth", [18, 34])
def test_basic_blocks_are_exported_wherever_bottlenecks_would_stride(
    depth: int, stride_on: str, target: Target
) -> None:
    require_expressible(photo(depth, stride_on=stride_on), FORM, target)


@pytest.mark.parametrize("target", ["torchvision", "timm"])
@pytest.mark.parametrize("depth", [50, 101, 152])
def test_bottlenecks_that_stride_on_3x3_are_exported(depth: int, target: Target) -> None:
    require_expressible(photo(depth, classes=3), FORM, target)


@pytest.mark.parametrize("architecture", [architecture for architecture, _ in REFUSED], ids=lambda a: a.name)
def test_our_own_files_express_everything(architecture: Architecture) -> None:
    require_expressible(architecture, CONTRACTS["caffe"], "safetensors")
