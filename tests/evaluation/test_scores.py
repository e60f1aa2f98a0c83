import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reslab.core.errors import EvaluationError
from reslab.core.intervals import Count
from reslab.evaluation.result import Evaluation, summarise
from reslab.evaluation.scores import Scores, View, read_scores, score
from reslab.training.precision import autocast

FP32 = autocast(torch.device("cpu"), "fp32")
BF16 = autocast(torch.device("cpu"), "bf16")


@st.composite
def tables(draw: st.DrawFn) -> Scores:
    """Few different values, so that ties are common."""
    classes = draw(st.integers(2, 9))
    rows = draw(st.lists(st.lists(st.integers(0, 4), min_size=classes, max_size=classes), min_size=1, max_size=20))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=len(rows), max_size=len(rows)))
    return Scores(torch.tensor(rows, dtype=torch.float32), torch.tensor(labels))


def ranking(row: list[float]) -> list[int]:
    """Classes by falling score, ties to the lower class."""
    return sorted(range(len(row)), key=lambda label: (-row[label], label))


@settings(deadline=None)
@given(tables())
def test_the_hits_are_those_of_a_plain_argmax(scores: Scores) -> None:
    pairs = list(zip(scores.probabilities.tolist(), scores.labels.tolist(), strict=True))
    plain = [row.index(max(row)) == label for row, label in pairs]
    assert scores.hits().tolist() == plain
    assert scores.count() == Count(plain.count(False), len(pairs))


@settings(deadline=None)
@given(tables(), st.integers(1, 9))
def test_the_top_hits_are_those_of_a_plain_sort(scores: Scores, top: int) -> None:
    pairs = zip(scores.probabilities.tolist(), scores.labels.tolist(), strict=True)
    assert scores.hits(top).tolist() == [label in ranking(row)[:top] for row, label in pairs]


@settings(deadline=None)
@given(tables())
def test_classes_are_counted_apart_and_add_up(scores: Scores) -> None:
    plain: dict[int, list[bool]] = {}
    for row, label in zip(scores.probabilities.tolist(), scores.labels.tolist(), strict=True):
        plain.setdefault(label, []).append(ranking(row)[0] == label)
    wanted = [Count(plain[label].count(False), len(plain[label])) for label in sorted(plain)]
    assert scores.counts_by_class() == wanted


def test_a_tie_goes_to_the_lower_class() -> None:
    even = Scores(torch.full((3, 3), 1 / 3), torch.tensor([0, 1, 2]))
    assert even.hits().tolist() == [True, False, False]
    assert even.hits(2).tolist() == [True, True, False]
    assert even.hits(3).tolist() == [True, True, True]


def test_among_the_five_best_is_a_hit_and_the_sixth_is_none() -> None:
    row = torch.tensor([0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05])
    scores = Scores(row.expand(7, 7), torch.arange(7))
    assert scores.hits(5).tolist() == [True] * 5 + [False] * 2
    assert scores.count(5) == Count(2, 7)


class Network(nn.Module):
    """Small, with batch normalisation: in training mode a batch's composition would matter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 6))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


IMAGES = torch.randn(23, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(6, (23,), generator=torch.Generator().manual_seed(1))


def views(places: Tensor, batch: int) -> Iterator[View]:
    for part in places.split(batch):
        yield View(IMAGES[part], LABELS[part], part)


@pytest.mark.parametrize("batch", [1, 4, 22, 23, 100])
def test_neither_batches_nor_their_order_matter(batch: int) -> None:
    net = Network()
    wanted = net.eval()(IMAGES).softmax(dim=1).detach()
    places = torch.randperm(23, generator=torch.Generator().manual_seed(batch))
    scores = score(net.train(), views(places, batch), 23, FP32)
    torch.testing.assert_close(scores.probabilities, wanted)
    assert torch.equal(scores.labels, LABELS)
    assert scores.count() == Scores(wanted, LABELS).count()


def test_a_test_leaves_the_network_as_it_was() -> None:
    net = Network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    score(net, views(torch.arange(23), 5), 23, FP32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_scores_are_fp32_probabilities_in_either_precision() -> None:
    fp32, bf16 = (score(Network(), views(torch.arange(23), 23), 23, context) for context in (FP32, BF16))
    assert fp32.probabilities.dtype == bf16.probabilities.dtype == torch.float32
    torch.testing.assert_close(bf16.probabilities.sum(dim=1), torch.ones(23))
    assert not torch.equal(fp32.probabilities, bf16.probabilities)
    torch.testing.assert_close(fp32.probabilities, bf16.probabilities, atol=0.05, rtol=0.1)
    assert not bf16.probabilities.is_inference()


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([*range(23), 4], "24 views of 23 different pictures; the data set has 23"),
        ([*range(22), 4], "23 views of 22 different pictures; the data set has 23"),
        (list(range(22)), "22 views of 22 different pictures; the data set has 23"),
        (list(range(1, 23)), "22 views of 22 different pictures; the data set has 23"),
        ([], "0 views of 0 different pictures; the data set has 23"),
    ],
)
def test_every_picture_comes_exactly_once_or_the_test_counts_for_nothing(places: list[int], message: str) -> None:
    given_views = views(torch.tensor(places, dtype=torch.int64), 4) if places else iter([])
    with pytest.raises(EvaluationError, match=message):
        score(Network(), given_views, 23, FP32)


def test_scores_that_are_no_numbers_are_refused() -> None:
    net = Network()
    with torch.no_grad():
        net.layers[3].bias[2] = torch.nan
    with pytest.raises(EvaluationError, match="scores are not finite"):
        score(net, views(torch.arange(23), 23), 23, FP32)


def test_scores_come_back_from_disk_bit_for_bit(tmp_path: Path) -> None:
    scores = score(Network(), views(torch.arange(23), 5), 23, FP32)
    scores.store(tmp_path / "single-val", {"protocol": "single", "n": 23})
    found = read_scores(tmp_path / "single-val")
    assert torch.equal(found.probabilities, scores.probabilities)
    assert torch.equal(found.labels, scores.labels)
    assert found.count() == scores.count()
    assert json.loads((tmp_path / "single-val" / "protocol.json").read_text()) == {"protocol": "single", "n": 23}


def test_equal_scores_make_equal_files(tmp_path: Path) -> None:
    for place in ("a", "b"):
        score(Network(), views(torch.arange(23), 5), 23, FP32).store(tmp_path / place, {"n": 23})
    for name in ("scores.safetensors", "protocol.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("data", [None, b"", b"\0" * 40])
def test_scores_that_are_missing_or_damaged_are_refused(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "scores.safetensors").write_bytes(data)
    with pytest.raises(EvaluationError, match=f"cannot read the scores in {tmp_path}"):
        read_scores(tmp_path)


def summary() -> Evaluation:
    rows = torch.eye(8)[torch.tensor([0, 0, 2, 2, 2])]
    return summarise(Scores(rows, torch.tensor([0, 2, 2, 2, 7])), tuple("abcdefgh"), "bf16")


def test_a_summary_counts_in_every_way() -> None:
    found = summary()
    assert (found.top1, found.top5, found.n) == (Count(2, 5), Count(1, 5), 5)
    assert found.error == 40.0
    assert found.interval == Count(2, 5).interval
    assert found.by_class == {"a": Count(0, 1), "c": Count(1, 3), "h": Count(1, 1)}


def test_a_summary_as_json_says_what_is_needed_to_believe_it() -> None:
    value = json.loads(json.dumps(summary().as_json()))
    assert list(value) == ["protocol", "precision", "n", "hits", "error", "top5_error", "interval", "by_class"]
    assert {key: value[key] for key in list(value)[:6]} == {
        "protocol": "single",
        "precision": "bf16",
        "n": 5,
        "hits": 3,
        "error": 40.0,
        "top5_error": 20.0,
    }
    low, high = value["interval"]
    assert 0 < low < 40 < high < 100
    assert value["by_class"]["c"]["n"] == 3
    assert value["by_class"]["c"]["error"] == pytest.approx(100 / 3)
