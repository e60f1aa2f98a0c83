from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reslab.core.errors import SpecError
from reslab.core.intervals import Count
from reslab.evaluation import ensembles
from reslab.evaluation.ensembles import Greedy, average, greedy, pair_matrix
from reslab.evaluation.scores import Scores

Members = list[NDArray[np.float32]]
Labels = NDArray[np.int64]


@st.composite
def tables(draw: st.DrawFn, least: int = 1) -> tuple[Members, Labels]:
    """Members and labels; few different values, so that ties are common."""
    count, n, classes = draw(st.integers(1, 5)), draw(st.integers(least, 14)), draw(st.integers(1, 4))
    values = draw(st.lists(st.integers(0, 4), min_size=count * n * classes, max_size=count * n * classes))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    return list(np.array(values, np.float32).reshape(count, n, classes) / 4), np.array(labels)


def made(seed: int, count: int = 4, n: int = 60, classes: int = 5) -> tuple[Members, Labels]:
    """Members that are right more often than by chance, each in its own way."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    rows = random.random((count, n, classes)) + 0.3 * np.eye(classes)[labels]
    return list((rows / rows.sum(axis=2, keepdims=True)).astype(np.float32)), labels


def plain_answers(members: Members) -> list[int]:
    """The definition without numpy's reductions: sums in double, the first of the largest."""
    found = []
    for picture in range(len(members[0])):
        rows = zip(*(member[picture].tolist() for member in members), strict=True)
        sums = [np.float32(sum(row) / len(members)) for row in rows]
        found.append(sums.index(max(sums)))
    return found


def plain_errors(members: Members, labels: Labels, places: list[int]) -> int:
    answers = plain_answers(members)
    return sum(answers[place] != labels[place] for place in places)


@pytest.fixture(params=[1, 17, 2**17])
def values(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a row, of some, and of all."""
    monkeypatch.setattr(ensembles, "VALUES", request.param)


@settings(deadline=None)
@given(tables(), st.data())
def test_the_average_is_that_of_naive_loops(table: tuple[Members, Labels], data: st.DataObject) -> None:
    members, _ = table
    weights = data.draw(st.lists(st.floats(0.01, 100), min_size=len(members), max_size=len(members)))
    found = average(members, weights)
    assert found.dtype == np.float32
    for place, value in np.ndenumerate(found):
        parts = [w * float(member[place]) for w, member in zip(weights, members, strict=True)]
        assert value == pytest.approx(sum(parts) / sum(weights), rel=1e-6)


@pytest.mark.usefixtures("values")
def test_blocks_do_not_matter() -> None:
    members, labels = made(0)
    wanted = sum(member.astype(np.float64) for member in members) / 4
    np.testing.assert_allclose(average(members), wanted, rtol=1e-6)
    assert pair_matrix(members, labels)[0] == pytest.approx(naive_pair(members, labels, 0, 1))
    assert greedy(members, labels) == naive_greedy(members, labels, 0)


def test_a_member_alone_is_its_own_average_bit_for_bit() -> None:
    (member,), _ = made(1, count=1)
    np.testing.assert_array_equal(average([member]), member)
    np.testing.assert_array_equal(average([member] * 3), member)
    np.testing.assert_array_equal(average([member] * 3, [0.2, 5, 0.7]), member)


def test_only_the_ratios_of_the_weights_matter() -> None:
    members, _ = made(2, count=3)
    np.testing.assert_array_equal(average(members, [1, 2, 4]), average(members, [1e307, 2e307, 4e307]))
    np.testing.assert_array_equal(average(members, [1, 1, 1]), average(members))
    np.testing.assert_array_equal(average(members, [0, 3, 0]), members[1])


def test_the_average_of_probabilities_is_one_and_does_not_ask_for_the_order() -> None:
    members, _ = made(3)
    found = average(members, [1, 2, 3, 4])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found, average(members[::-1], [4, 3, 2, 1]), rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_members_of_every_floating_format_are_averaged_in_double(kind: type[np.floating]) -> None:
    rows = [np.array([[0.5, 0.25]], kind), np.array([[0.125, 0.75]], kind)]
    np.testing.assert_array_equal(average(rows), np.array([[0.3125, 0.5]], np.float32))


@pytest.mark.usefixtures("values")
def test_members_may_stay_on_disk(tmp_path: Path) -> None:
    members, labels = made(4)
    for number, member in enumerate(members):
        np.save(tmp_path / f"{number}.npy", member)
    mapped = [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(4)]
    np.testing.assert_array_equal(average(mapped), average(members))
    assert pair_matrix(mapped, labels) == pair_matrix(members, labels)
    assert greedy(mapped, labels) == greedy(members, labels)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "1 weight for 2 members"),
        ([1.0, 2.0, 3.0], "3 weights for 2 members"),
        ([1.0, -0.5], r"weights must be finite, none negative and not all zero, not \[1.0, -0.5\]"),
        ([1.0, float("nan")], r"weights must be finite.*, not \[1.0, nan\]"),
        ([float("inf"), 1.0], r"weights must be finite.*, not \[inf, 1.0\]"),
        ([0.0, 0.0], r"weights must be finite.*, not \[0.0, 0.0\]"),
    ],
)
def test_weights_that_weigh_nothing_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        average(made(0, count=2)[0], weights)


def naive_pair(members: Members, labels: Labels, i: int, j: int) -> ensembles.Pair:
    n, every = len(labels), list(range(len(labels)))
    first, second = plain_answers([members[i]]), plain_answers([members[j]])
    same = sum(a == b for a, b in zip(first, second, strict=True))
    better = min(plain_errors([members[k]], labels, every) for k in (i, j))
    both = plain_errors([members[i], members[j]], labels, every)
    return ensembles.Pair(i, j, 100 * same / n, 100 * both / n, 100 * (better - both) / n, n)


@settings(deadline=None)
@given(tables())
def test_every_pair_is_that_of_naive_loops(table: tuple[Members, Labels]) -> None:
    members, labels = table
    assert pair_matrix(members, labels) == [
        naive_pair(members, labels, i, j) for i, j in combinations(range(len(members)), 2)
    ]


def test_a_pair_counted_by_hand() -> None:
    first = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    second = np.array([[0.4, 0.6], [0.1, 0.9], [0.1, 0.9], [0.6, 0.4]], np.float32)
    # answers 0 1 0 1, 1 1 1 0, and together 0 1 1 1
    (found,) = pair_matrix([first, second], np.array([0, 1, 1, 1]))
    assert found == ensembles.Pair(0, 1, agreement=25.0, error=0.0, gain=25.0, n=4)


def test_equal_members_agree_always_and_gain_nothing() -> None:
    (member,), labels = made(5, count=1)
    (found,) = pair_matrix([member, member], labels)
    assert (found.agreement, found.gain, found.error) == (100, 0, Scores(*tensors(member, labels)).count().error)


def test_one_member_makes_no_pair() -> None:
    assert pair_matrix(*made(0, count=1)) == []


def tensors(member: NDArray[np.float32], labels: Labels) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(member), torch.from_numpy(labels)


@settings(deadline=None)
@given(tables(least=2))
def test_the_error_of_an_average_is_that_of_the_stored_average(table: tuple[Members, Labels]) -> None:
    members, labels = table
    for pair in pair_matrix(members, labels):
        together = average([members[pair.first], members[pair.second]])
        assert pair.error == Scores(*tensors(together, labels)).count().error


def test_a_tie_goes_to_the_lower_class() -> None:
    even = [np.full((3, 3), 1 / 3, np.float32)] * 2
    (found,) = pair_matrix(even, np.array([0, 1, 2]))
    assert found.error == pytest.approx(200 / 3)
    apart = [np.array([[0.0, 0.25, 0.75]], np.float32), np.array([[0.0, 0.75, 0.25]], np.float32)]
    assert [pair_matrix(apart, np.array([label]))[0].error for label in (1, 2)] == [0, 100]


def halves(n: int, seed: int) -> tuple[list[int], list[int]]:
    order = np.random.default_rng(seed).permutation(n).tolist()
    return order[: n // 2], order[n // 2 :]


def naive_greedy(members: Members, labels: Labels, seed: int) -> Greedy:
    first, other = halves(len(labels), seed)
    chosen: list[int] = []
    errors = len(first) + 1
    while len(chosen) < len(members):
        rest = [k for k in range(len(members)) if k not in chosen]
        found = [plain_errors([members[c] for c in [*chosen, k]], labels, first) for k in rest]
        if min(found) >= errors:
            break
        errors = min(found)
        chosen.append(rest[found.index(errors)])
    groups = [[members[k] for k in chosen], members, [members[chosen[0]]]]
    judged = [Count(plain_errors(group, labels, other), len(other)) for group in groups]
    return Greedy(tuple(chosen), Count(errors, len(first)), *judged)


@settings(deadline=None)
@given(tables(least=2), st.integers(0, 5))
def test_the_greedy_choice_is_that_of_naive_loops(table: tuple[Members, Labels], seed: int) -> None:
    members, labels = table
    assert greedy(members, labels, seed) == naive_greedy(members, labels, seed)


@pytest.mark.parametrize("seed", range(20))
def test_the_greedy_choice_among_useful_members_is_that_of_naive_loops(seed: int) -> None:
    members, labels = made(seed, count=6, n=101)
    found = greedy(members, labels, seed)
    assert found == naive_greedy(members, labels, seed)
    assert (found.chosen_on.n, found.judged_on.n, found.all_members.n, found.best_single.n) == (50, 51, 51, 51)


def test_some_of_these_choices_are_of_several_members_and_not_of_all() -> None:
    sizes = {len(greedy(*made(seed, count=6, n=101), seed).chosen) for seed in range(20)}
    assert sizes & {2, 3, 4, 5}


@settings(deadline=None)
@given(tables(least=2), st.data())
def test_the_judged_half_has_no_say_in_the_choice(table: tuple[Members, Labels], data: st.DataObject) -> None:
    members, labels = table
    _, judged = halves(len(labels), 0)
    changed, others = labels.copy(), [member.copy() for member in members]
    classes = members[0].shape[1]
    changed[judged] = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(judged), max_size=len(judged)))
    for member in others:
        member[judged] = member[judged][::-1]
    found, wanted = greedy(others, changed), greedy(members, labels)
    assert (found.chosen, found.chosen_on) == (wanted.chosen, wanted.chosen_on)


def test_of_equal_members_the_earlier_is_chosen_and_alone() -> None:
    (member,), labels = made(6, count=1)
    worst = np.roll(member, 1, axis=1)
    assert greedy([worst, member, member], labels).chosen == (1,)
    assert greedy([member] * 3, labels).chosen == (0,)


def right_together() -> Members:
    """Two members, each wrong about every picture of class 0 and right in their average."""
    member = np.array([[0.4, 0.0, 0.6], [0.4, 0.6, 0.0]] * 10, np.float32)
    return [member, member[:, [0, 2, 1]]]


def test_members_that_are_right_only_together_are_both_chosen() -> None:
    found = greedy(right_together(), np.zeros(20, np.int64))
    assert found == Greedy((0, 1), Count(0, 10), Count(0, 10), Count(0, 10), Count(10, 10))


def test_the_choice_ends_where_no_single_addition_helps() -> None:
    stubborn = np.tile(np.array([[0.0, 0.0, 1.0]], np.float32), (20, 1))
    assert greedy([stubborn, *right_together()], np.zeros(20, np.int64)).chosen == (0,)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pictures_cannot_be_halved(n: int) -> None:
    members, labels = made(0, n=n)
    with pytest.raises(SpecError, match=rf"{n} pictures? .* at least 2 are needed"):
        greedy(members, labels)


def test_pairs_of_no_pictures_are_refused() -> None:
    with pytest.raises(SpecError, match=r"0 pictures .* at least 1 are needed"):
        pair_matrix(*made(0, n=0))


def test_members_and_labels_must_be_about_the_same_pictures() -> None:
    members, labels = made(0)
    message = r"member 1 has probabilities of shape \(59, 5\), member 0 of \(60, 5\)"
    with pytest.raises(SpecError, match=message):
        average([members[0], members[1][1:]])
    with pytest.raises(SpecError, match="the members are about 60 pictures, the labels about 59"):
        greedy(members, labels[1:])
    with pytest.raises(SpecError, match="an ensemble needs at least one member"):
        average([])
