import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reslab.core.errors import EvaluationError
from reslab.core.intervals import Count
from reslab.core.protocol import Native, find_protocol
from reslab.evaluation.result import Evaluation, summarise
from reslab.evaluation.scores import Scores, read_scores


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


def made() -> Scores:
    draw = torch.Generator().manual_seed(0)
    return Scores(torch.rand(23, 6, generator=draw).softmax(dim=1), torch.randint(6, (23,), generator=draw))


def test_scores_come_back_from_disk_bit_for_bit(tmp_path: Path) -> None:
    scores = made()
    scores.store(tmp_path / "single-val")
    found = read_scores(tmp_path / "single-val")
    assert torch.equal(found.probabilities, scores.probabilities)
    assert torch.equal(found.labels, scores.labels)
    assert found.count() == scores.count()
    assert found.count().errors not in (0, 23)


def test_scores_that_are_views_of_other_tensors_come_back_too(tmp_path: Path) -> None:
    scores = Scores(torch.arange(12.0).reshape(3, 4).T, torch.arange(8)[::2] // 3)
    scores.store(tmp_path)
    assert torch.equal(read_scores(tmp_path).probabilities, scores.probabilities)
    assert torch.equal(read_scores(tmp_path).labels, scores.labels)


def test_equal_scores_make_equal_files(tmp_path: Path) -> None:
    for place in ("a", "b"):
        made().store(tmp_path / place)
    assert (tmp_path / "a" / "scores.safetensors").read_bytes() == (tmp_path / "b" / "scores.safetensors").read_bytes()


@pytest.mark.parametrize("data", [None, b"", b"\0" * 40])
def test_scores_that_are_missing_or_damaged_are_refused(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "scores.safetensors").write_bytes(data)
    with pytest.raises(EvaluationError, match=f"cannot read the scores in {tmp_path}"):
        read_scores(tmp_path)


def summary() -> Evaluation:
    rows = torch.eye(8)[torch.tensor([0, 0, 2, 2, 2])]
    protocol = find_protocol("flip", Native(37, 32, "single"))
    return summarise(Scores(rows, torch.tensor([0, 2, 2, 2, 7])), tuple("abcdefgh"), "bf16", protocol)


def test_a_summary_counts_in_every_way() -> None:
    found = summary()
    assert (found.top1, found.top5, found.n, found.hits) == (Count(2, 5), Count(1, 5), 5, 3)
    assert found.error == 40.0
    assert found.interval == Count(2, 5).interval
    assert found.by_class == {"a": Count(0, 1), "c": Count(1, 3), "h": Count(1, 1)}


def test_a_summary_as_json_says_what_is_needed_to_believe_it() -> None:
    found = summary()
    value = json.loads(json.dumps(found.as_json()))
    assert {key: value[key] for key in list(value)[:-2]} == {
        "protocol": "flip",
        "views": found.protocol.sentence,
        "average": "probabilities",
        "precision": "bf16",
        "n": 5,
        "hits": 3,
        "error": 40.0,
        "top5_error": 20.0,
    }
    assert list(value)[-2:] == ["interval", "by_class"]
    low, high = value["interval"]
    assert 0 < low < 40 < high < 100
    assert value["by_class"]["c"]["n"] == 3
    assert value["by_class"]["c"]["error"] == pytest.approx(100 / 3)
