"""The same weights and pictures in float64 give the same as in torchvision and timm."""

import copy
from dataclasses import dataclass
from typing import Final

import pytest
import torch
from tests.oracle.networks import LIBRARIES, counterpart, difference, ours, pictures
from torch import Tensor, nn
from torch.nn import functional as F

from reslab.models.architecture import BN_EPS, Pool, StrideOn
from reslab.models.resnet import resnet

pytestmark = pytest.mark.oracle

DEPTHS: Final = (18, 34, 50, 101, 152)
LOGITS, GRADIENTS = 1e-9, 1e-7  # of the largest entry

library_of = pytest.mark.parametrize("library", LIBRARIES)
depth_of = pytest.mark.parametrize("depth", DEPTHS)


@dataclass(frozen=True, slots=True)
class Answer:
    logits: Tensor
    gradients: dict[str, Tensor]
    statistics: dict[str, Tensor]


def answer(net: nn.Module, x: Tensor) -> Answer:
    logits = net(x)
    F.cross_entropy(logits, torch.arange(len(x)) * 333).backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    statistics = {name: value for name, value in net.named_buffers() if value.is_floating_point()}
    return Answer(logits.detach(), gradients, statistics)


def differences(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    assert one.keys() == other.keys()
    return {name: difference(one[name], other[name]) for name in one}


@depth_of
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (96, 160)], ids=["224x224", "96x160"])
def test_logits_gradients_and_statistics_agree(depth: int, training: bool, height: int, width: int) -> None:  # noqa: FBT001
    net = ours(depth).train(training)
    start = copy.deepcopy(net)
    x = pictures(2 if training else 1, height, width)
    here = answer(net, x)
    assert here.gradients.keys() == dict(net.named_parameters()).keys()
    assert torch.equal(net.bn1.running_mean, start.bn1.running_mean) is not training
    for library in LIBRARIES:
        there = answer(counterpart(library, start, depth).train(training), x)
        assert difference(here.logits, there.logits) <= LOGITS, library
        assert max(differences(here.gradients, there.gradients).values()) <= GRADIENTS, library
        assert max(differences(here.statistics, there.statistics).values()) <= LOGITS, library


@library_of
@depth_of
def test_weights_travel_in_both_directions_and_are_as_many(library: str, depth: int) -> None:
    with torch.device("meta"):
        mine, theirs = resnet(depth), LIBRARIES[library](depth)
    assert mine.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    assert theirs.load_state_dict(mine.state_dict(), strict=True, assign=True)
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in theirs.parameters())


@library_of
@pytest.mark.parametrize(("stride_on", "pool"), [("1x1", "pad1"), ("3x3", "caffe")])
def test_a_network_of_like_names_and_shapes_that_strides_or_pools_otherwise_disagrees(
    library: str, stride_on: StrideOn, pool: Pool
) -> None:
    mine = ours(50, stride_on, pool).eval()
    theirs = counterpart(library, mine, 50).eval()
    x = pictures(1, 96, 160)
    assert difference(answer(mine, x).logits, answer(theirs, x).logits) > 1e-3


@library_of
def test_an_epsilon_of_batch_normalisation_that_differs_by_a_hundredth_is_seen(library: str) -> None:
    mine = ours(18, bn_eps=BN_EPS * 1.01).eval()
    theirs = counterpart(library, mine, 18).eval()
    x = pictures(1, 96, 160)
    here, there = answer(mine, x), answer(theirs, x)
    assert difference(here.logits, there.logits) > LOGITS
    assert max(differences(here.gradients, there.gradients).values()) > GRADIENTS
