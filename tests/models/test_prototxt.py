"""Our networks, seen as Caffe's layers, against the authors' released ones, field by field."""

import csv
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from tests.models.caffe_layers import Layer, caffe_layers

from reslab.models.network import ResNet
from reslab.models.resnet import resnet
from reslab.weights.caffe_names import caffe_layer_names

GOLDEN: Final = Path(__file__).parent.parent / "golden"
COUNTS: Final = {50: 228, 101: 449, 152: 670}  # layers of the authors' files
CONV1_BIAS: Final = "conv1: bias false, not true"  # the authors' ResNet-50 leaves it to Caffe, which has one


def theirs(depth: int) -> list[Layer]:
    with (GOLDEN / f"resnet-{depth}.tsv").open(encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file, delimiter="\t")]


def net_of(depth: int, **settings: Any) -> ResNet:
    with torch.device("meta"):
        return resnet(depth, **({"stride_on": "1x1", "pool": "caffe"} | settings)).eval()


def differences(net: ResNet, depth: int) -> list[str]:
    """``layer: field ours, not theirs`` for each field of each layer that differs."""
    return [
        f"{wanted['name']}: {key} {found.get(key)}, not {wanted.get(key)}"
        for found, wanted in zip(caffe_layers(net, caffe_layer_names(depth)), theirs(depth), strict=True)
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]


@pytest.mark.parametrize("depth", COUNTS)
def test_every_field_of_every_layer_is_the_authors(depth: int) -> None:
    assert len(theirs(depth)) == COUNTS[depth]
    assert differences(net_of(depth), depth) == ([CONV1_BIAS] if depth == 50 else [])


def test_a_stride_on_the_3x3_convolutions_is_seen_in_three_blocks_with_the_shapes_it_changes() -> None:
    found = differences(net_of(101, stride_on="3x3"), 101)
    assert found == [
        line
        for stage, width, side in ((3, 128, 28), (4, 256, 14), (5, 512, 7))
        for line in (
            f"res{stage}a_branch2a: out_shape {width}x{2 * side}x{2 * side}, not {width}x{side}x{side}",
            f"res{stage}a_branch2a: stride 1, not 2",
            f"res{stage}a_branch2b: in_shape {width}x{2 * side}x{2 * side}, not {width}x{side}x{side}",
            f"res{stage}a_branch2b: stride 2, not 1",
        )
    ]


def test_padded_pooling_is_seen() -> None:
    assert differences(net_of(101, pool="pad1"), 101) == ["pool1: pad 1, not 0"]


def test_pooling_that_drops_the_last_window_is_seen_in_every_shape_behind_it() -> None:
    net = net_of(101)
    net.maxpool.ceil_mode = False
    found = differences(net, 101)
    assert found[0] == "pool1: out_shape 64x55x55, not 64x56x56"
    assert "res2a_branch1: in_shape 64x55x55, not 64x56x56" in found


def test_batch_statistics_are_seen_in_each_normalisation() -> None:
    found = differences(net_of(101).train(), 101)
    assert len(found) == 104
    assert all(line.endswith(": use_global_stats false, not true") for line in found)


def test_more_projections_than_the_authors_have_are_more_layers() -> None:
    names = caffe_layer_names(50) | {"layer1.1.downsample.0": "res2b_branch1", "layer1.1.downsample.1": "bn2b_branch1"}
    net = net_of(50)
    net.layer1[1].downsample = net_of(50, shortcut="C").layer1[1].downsample
    assert len(caffe_layers(net, names)) == COUNTS[50] + 3


def test_a_missing_shortcut_is_a_missing_layer() -> None:
    net = net_of(101)
    net.layer3[5].downsample = None
    assert len(caffe_layers(net, caffe_layer_names(101))) == COUNTS[101] - 1
