"""Every view scored exactly once, means over views and groups, and scores of views at rest."""

import errno
import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reslab.core.errors import EvaluationError, StorageError
from reslab.core.protocol import Average
from reslab.evaluation import views
from reslab.evaluation.answers import classified, classified_in_places
from reslab.evaluation.scores import Scores
from reslab.evaluation.store import in_folder, read_views, store_views
from reslab.evaluation.views import View, ViewScores, Wanted, score
from reslab.training.precision import autocast

FP32: Final = autocast(torch.device("cpu"), "fp32")
BF16: Final = autocast(torch.device("cpu"), "bf16")
N: Final = 23
FIRST: Final = 5  # of the places of these pictures in their data set
WANTED: Final = Wanted(range(FIRST, FIRST + N), groups=3, views=2)
IMAGES: Final = torch.randn(3, 2, N, 3, 4, 4, generator=torch.Generator().manual_seed(0))  # group, view, picture
LABELS: Final = torch.randint(6, (N,), generator=torch.Generator().manual_seed(1))


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


def every_view(batch: int = N, order: Sequence[int] | None = None) -> list[View]:
    """All that is wanted, of each view ``batch`` pictures at a time, the pictures in ``order``."""
    places = torch.arange(N) if order is None else torch.tensor(order)
    return [
        View(IMAGES[group, number, part], part + FIRST, group)
        for group, number in product(range(3), range(2))
        for part in places.split(batch)
    ]


def scored(given: Iterable[View], wanted: Wanted = WANTED, context: torch.autocast = FP32, **how: Any) -> ViewScores:
    net = Network()
    return score(net, classified(net), given, wanted, context, **how)


def one_view(places: Iterable[int], batch: int = 4) -> list[View]:
    """The first view of the first group."""
    chosen = torch.tensor(list(places), dtype=torch.int64)
    return [View(IMAGES[0, 0, part], part) for part in chosen.split(batch)] if len(chosen) else []


@torch.no_grad()
def by_loop() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits and probabilities, picture by picture and view by view in double precision."""
    net = Network().eval().double()
    logits, probabilities = np.zeros((N, 3, 6)), np.zeros((N, 3, 6))
    for picture, group in product(range(N), range(3)):
        for number in range(2):
            answer = net(IMAGES[group, number, picture, None].double())[0]
            logits[picture, group] += answer.numpy() / 2
            probabilities[picture, group] += answer.softmax(dim=0).numpy() / 2
    return logits.astype(np.float32), probabilities.astype(np.float32)


def test_the_means_over_views_are_those_of_a_naive_loop() -> None:
    found = scored(every_view())
    logits, probabilities = by_loop()
    assert (found.logits.shape, found.logits.dtype, found.probabilities.dtype) == ((N, 3, 6), np.float32, np.float32)
    assert len(found) == N
    np.testing.assert_allclose(found.logits, logits, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-6)


@torch.no_grad()
def test_the_means_are_bit_for_bit_the_sum_in_the_order_of_coming_divided_by_the_views() -> None:
    net = Network().eval()
    found = scored(every_view())
    for group in range(3):
        first, second = (net(IMAGES[group, number]) for number in range(2))
        assert np.array_equal(found.logits[:, group], ((first + second) / 2).numpy())
        both = first.softmax(dim=1) + second.softmax(dim=1)
        assert np.array_equal(found.probabilities[:, group], (both / 2).numpy())


@pytest.mark.parametrize("batch", [1, 4, 22, 23, 100])
def test_neither_batches_nor_their_order_matter(batch: int) -> None:
    draw = torch.Generator().manual_seed(batch)
    given = every_view(batch, torch.randperm(N, generator=draw).tolist())
    shuffled = [given[place] for place in torch.randperm(len(given), generator=draw).tolist()]
    found, wanted = scored(shuffled), scored(every_view())
    np.testing.assert_allclose(found.logits, wanted.logits, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-6)


def test_a_network_in_training_mode_is_tested_in_evaluation_mode() -> None:
    net = Network().train()
    found = score(net, classified(net), every_view(3), WANTED, FP32)
    np.testing.assert_allclose(found.logits, by_loop()[0], atol=1e-6)


def test_a_test_leaves_the_network_as_it_was() -> None:
    net = Network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    score(net, classified(net), every_view(5), WANTED, FP32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_scores_are_fp32_probabilities_in_either_precision() -> None:
    fp32, bf16 = (scored(every_view(), context=context) for context in (FP32, BF16))
    assert fp32.logits.dtype == fp32.probabilities.dtype == bf16.logits.dtype == bf16.probabilities.dtype == np.float32
    np.testing.assert_allclose(bf16.probabilities.sum(axis=2), np.ones((N, 3)), rtol=1e-6)
    assert not np.array_equal(fp32.probabilities, bf16.probabilities)
    np.testing.assert_allclose(fp32.probabilities, bf16.probabilities, atol=0.05, rtol=0.1)
    assert not fp32.averaged("probabilities", LABELS).probabilities.is_inference()


def test_one_view_of_one_group_is_wanted_where_nothing_else_is_said() -> None:
    found = scored(one_view(range(N)), Wanted(range(N)))
    assert found.logits.shape == (N, 1, 6)
    with torch.no_grad():
        np.testing.assert_allclose(found.logits[:, 0], Network().eval()(IMAGES[0, 0]), atol=1e-6)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (
            [*range(23), 4],
            "24 views of 23 different pictures, 22 of them as often as they should be; each of 23 pictures has 1 ",
        ),
        (
            [*range(22), 4],
            "23 views of 22 different pictures, 21 of them as often as they should be; each of 23 pictures has 1 ",
        ),
        (
            range(22),
            "22 views of 22 different pictures, 22 of them as often as they should be; each of 23 pictures has 1 view$",
        ),
        (
            range(1, 23),
            "22 views of 22 different pictures, 22 of them as often as they should be; each of 23 pictures has 1 vi",
        ),
        ([], "0 views of 0 different pictures, 0 of them as often as they should be; each of 23 pictures has 1 view"),
    ],
)
def test_every_picture_comes_exactly_once_or_the_test_counts_for_nothing(places: Iterable[int], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        scored(one_view(places), Wanted(range(N)))


def without(given: list[View]) -> list[View]:
    return given[:-1]


def doubled(given: list[View]) -> list[View]:
    return [*given, given[0]]


def doubled_for_another(given: list[View]) -> list[View]:
    return [*given[:-1], given[0]]


def in_another_group(given: list[View]) -> list[View]:
    return [*given[:-1], given[-1]._replace(group=0)]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (without, "137 views of 23 different pictures, 22 of them as often as they should be"),
        (doubled, "139 views of 23 different pictures, 22 of them as often as they should be"),
        (doubled_for_another, "138 views of 23 different pictures, 21 of them as often as they should be"),
        (in_another_group, "138 views of 23 different pictures, 22 of them as often as they should be"),
    ],
)
def test_every_view_of_every_group_comes_as_often_as_it_should(
    changed: Callable[[list[View]], list[View]], says: str
) -> None:
    with pytest.raises(EvaluationError) as error:
        scored(changed(every_view(1)))
    assert str(error.value) == f"{says}; each of 23 pictures has 6 views"


@pytest.mark.parametrize("indices", [[FIRST - 1], [FIRST + N], [0], [-1], [FIRST, FIRST + 1, FIRST]])
def test_views_of_foreign_pictures_or_twice_in_a_batch_are_refused(indices: list[int]) -> None:
    foreign = View(torch.zeros(len(indices), 3, 4, 4), torch.tensor(indices))
    with pytest.raises(EvaluationError, match="a batch of views is not of different pictures among 23"):
        scored([*every_view(), foreign])


@pytest.mark.parametrize("group", [-1, 3, 7])
def test_views_of_a_foreign_group_are_refused(group: int) -> None:
    given = every_view(1)
    with pytest.raises(EvaluationError, match=f"a batch of views is of group {group} among 3"):
        scored([*given[:-1], given[-1]._replace(group=group)])


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", [0, N - 1])
def test_scores_that_are_no_numbers_are_refused(wrong: float, where: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "ROWS", 4)
    given = every_view()
    images = given[3].images.clone()
    images[where, 0, 0, 0] = wrong
    given[3] = given[3]._replace(images=images)
    with pytest.raises(EvaluationError, match="the network's scores are not finite"):
        scored(given)


def test_no_pictures_have_no_scores() -> None:
    found = scored([], Wanted(range(7, 7), groups=3, views=2))
    assert (len(found), found.logits.shape, found.probabilities.shape) == (0, (0, 3, 0), (0, 3, 0))


def test_an_answer_is_logits_and_their_softmax() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).bfloat16()
    answer = classified(lambda _: logits)(torch.empty(0))
    assert answer.logits.dtype == answer.probabilities.dtype == torch.float32
    assert torch.equal(answer.logits, logits.float())
    np.testing.assert_allclose(answer.probabilities, softmax(logits.float().numpy()), rtol=1e-6)


def test_an_answer_of_many_places_is_a_mean_of_logits_and_a_mean_of_softmax_outputs() -> None:
    places = torch.randn(4, 5, 2, 3, generator=torch.Generator().manual_seed(3)).bfloat16()
    answer = classified_in_places(lambda _: places)(torch.empty(0))
    each = [places[:, :, i, j].float().numpy() for i in range(2) for j in range(3)]
    assert answer.logits.dtype == answer.probabilities.dtype == torch.float32
    np.testing.assert_allclose(answer.logits, np.mean(each, axis=0), atol=1e-6)
    np.testing.assert_allclose(answer.probabilities, np.mean([softmax(one) for one in each], axis=0), rtol=1e-6)
    assert not np.allclose(answer.probabilities, softmax(answer.logits.numpy()), atol=1e-3)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def made(n: int = N, groups: int = 3) -> ViewScores:
    random = np.random.default_rng(4)
    logits = random.normal(size=(n, groups, 6)).astype(np.float32)
    probabilities = random.dirichlet(np.ones(6), (n, groups)).astype(np.float32)
    return ViewScores(logits, probabilities)


@pytest.fixture(params=[4, 23, 1000])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of some rows, and of all."""
    monkeypatch.setattr(views, "ROWS", request.param)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("groups", [None, [0], [2], [1, 2], [2, 0], [0, 1, 2]])
@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_a_mean_over_groups_is_numpys(average: Average, groups: list[int] | None) -> None:
    scores = made()
    source = scores.probabilities if average == "probabilities" else scores.logits
    expected = source[:, [0, 1, 2] if groups is None else groups].astype(np.float64).mean(axis=1)
    found = scores.mean(average, groups)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    probabilities = expected if average == "probabilities" else softmax(expected.astype(np.float32))
    averaged = scores.averaged(average, LABELS, groups)
    np.testing.assert_allclose(averaged.probabilities, probabilities, atol=1e-6)
    assert averaged.labels is LABELS
    right = int((probabilities.argmax(axis=1) == LABELS.numpy()).sum())
    assert len(averaged) - averaged.count().errors == right


def test_of_one_group_the_mean_is_what_was_stored_bit_for_bit() -> None:
    scores = made()
    assert np.array_equal(scores.mean("probabilities", [1]), scores.probabilities[:, 1])
    assert np.array_equal(scores.mean("logits", [1]), scores.logits[:, 1])


def test_blocks_change_no_bit_and_means_nothing_of_what_is_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = made()
    before = scores.logits.copy()
    whole = scores.mean("logits")
    monkeypatch.setattr(views, "ROWS", 5)
    assert np.array_equal(scores.mean("logits"), whole)
    assert np.array_equal(scores.logits, before)


def test_a_test_scored_into_files_is_the_one_scored_in_memory_bit_for_bit(tmp_path: Path) -> None:
    found = scored(every_view(4), allocate=in_folder(tmp_path))
    assert isinstance(found.logits, np.memmap)
    assert isinstance(found.probabilities, np.memmap)
    store_views(found, tmp_path)
    again, memory = read_views(tmp_path), scored(every_view(4))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["logits.npy", "probabilities.npy"]
    assert np.array_equal(again.logits, memory.logits)
    assert np.array_equal(again.probabilities, memory.probabilities)


@pytest.mark.parametrize("n", [0, 1, N])
def test_scores_of_views_come_back_from_disk_bit_for_bit_and_memory_mapped(n: int, tmp_path: Path) -> None:
    scores = made(n)
    store_views(scores, tmp_path)
    again = read_views(tmp_path)
    assert isinstance(again.logits, np.memmap)
    assert isinstance(again.probabilities, np.memmap)
    assert not again.logits.flags.writeable
    assert np.array_equal(again.logits, scores.logits)
    assert np.array_equal(again.probabilities, scores.probabilities)
    for name in ("logits", "probabilities"):
        assert np.array_equal(np.load(tmp_path / f"{name}.npy", allow_pickle=False), getattr(scores, name))


def test_what_is_computed_from_mapped_scores_is_what_memory_gives(tmp_path: Path) -> None:
    scores = made()
    store_views(scores, tmp_path)
    again = read_views(tmp_path)
    for average in ("probabilities", "logits"):
        assert np.array_equal(again.mean(average), scores.mean(average))
        found, wanted = again.averaged(average, LABELS, [2, 1]), scores.averaged(average, LABELS, [2, 1])
        assert isinstance(found, Scores)
        assert torch.equal(found.probabilities, wanted.probabilities)


def test_scores_that_lie_in_one_folder_can_be_stored_in_another(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    store_views(made(), first)
    store_views(read_views(first), second)
    assert np.array_equal(read_views(second).logits, made().logits)
    assert np.array_equal(read_views(second).probabilities, made().probabilities)


def test_scores_in_files_are_handed_to_the_disk_when_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[np.memmap] = []
    found = scored(every_view(4), allocate=in_folder(tmp_path))
    monkeypatch.setattr(np.memmap, "flush", lambda array: flushed.append(array))
    store_views(found, tmp_path)
    assert list(map(id, flushed)) == [id(found.logits), id(found.probabilities)]


def test_equal_scores_make_equal_files(tmp_path: Path) -> None:
    for name in ("memory", "files"):
        (tmp_path / name).mkdir()
    store_views(scored(every_view(4)), tmp_path / "memory")
    store_views(scored(every_view(4), allocate=in_folder(tmp_path / "files")), tmp_path / "files")
    for name in ("logits.npy", "probabilities.npy"):
        assert (tmp_path / "memory" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()


def test_a_full_disk_is_an_error_before_anything_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def full(_handle: int, start: int, length: int) -> None:
        asked.extend((start, length))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StorageError, match=r"the disk is full: cannot write .*logits.npy"):
        in_folder(tmp_path)("logits", (N, 3, 6))
    assert asked == [0, (tmp_path / "logits.npy").stat().st_size]
    assert asked[1] > N * 3 * 6 * 4


def refused(folder: Path) -> str:
    with pytest.raises(EvaluationError) as error:
        read_views(folder)
    text = str(error.value)
    assert text.isprintable()
    return text


@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_scores_that_are_missing_are_refused(name: str, tmp_path: Path) -> None:
    store_views(made(), tmp_path)
    (tmp_path / f"{name}.npy").unlink()
    assert refused(tmp_path).startswith(f"cannot read the scores in {tmp_path / name}.npy: ")
    (tmp_path / f"{name}.npy").mkdir()
    assert refused(tmp_path).startswith(f"cannot read the scores in {tmp_path / name}.npy: ")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((N, 3, 6)), "is damaged: it holds float64 of shape (23, 3, 6)"),
        (np.zeros((N, 3, 6), ">f4"), "is damaged: it holds >f4 of shape (23, 3, 6)"),
        (np.zeros((N, 6), np.float32), "is damaged: it holds float32 of shape (23, 6)"),
        (np.zeros((N, 3, 6), "f4,f4"), "is damaged: it holds "),
    ],
)
def test_arrays_of_another_kind_are_refused(array: NDArray[Any], says: str, tmp_path: Path) -> None:
    store_views(made(), tmp_path)
    np.save(tmp_path / "logits.npy", array)
    assert refused(tmp_path).startswith(f"{tmp_path}/logits.npy {says}")


@pytest.mark.parametrize("shape", [(N - 1, 3, 6), (N, 2, 6), (N, 3, 5)])
def test_arrays_that_do_not_belong_together_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    store_views(made(), tmp_path)
    np.save(tmp_path / "probabilities.npy", np.zeros(shape, np.float32))
    assert refused(tmp_path) == f"the scores in {tmp_path} are damaged: (23, 3, 6) logits, {shape} others"


class Opened:
    """What runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    store_views(made(), tmp_path)
    file = tmp_path / "logits.npy"
    file.write_bytes(pickle.dumps(Opened()))
    assert refused(tmp_path).startswith(f"cannot read the scores in {file}: ")
    np.save(file, np.array([[[Opened()]]], object), allow_pickle=True)
    assert refused(tmp_path).startswith(f"cannot read the scores in {file}: ")
    with file.open("wb") as stream:
        np.savez(stream, logits=made().logits)
    assert refused(tmp_path).startswith(f"cannot read the scores in {file}: ")


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def described(shape: str) -> bytes:
    return header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n")


HEADERS: Final = {
    "negative": described("(23, 3, -6)"),
    "too large": described("(23, 3, 60)"),
    "beyond all numbers": described("(9223372036854775807, 9223372036854775807, 3)"),
    "truth": described("(23, True, 6)"),
    "of Python 2": described("(23L, 3L, 6L)"),
    "fraction": described("(23, 3, 6.0)"),
    "cut short": described("(23, 3"),
    "nothing": described("None"),
    "open brackets": header("(" * 3000),
    "indented": header("  x\n y"),
    "long": header(" " * 20000),
    "deep": header("[" * 400 + "]" * 400),
    "zeros inside": header("\0" * 118),
    "none": b"",
    "zeros": b"\0" * 200,
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_numpy_cannot_read_is_one_clear_line(name: str, tmp_path: Path) -> None:
    store_views(made(), tmp_path)
    (tmp_path / "logits.npy").write_bytes(HEADERS[name] + made().logits.tobytes())
    assert refused(tmp_path).startswith(f"cannot read the scores in {tmp_path}/logits.npy: ")


def test_a_file_damaged_anywhere_is_refused_or_holds_scores_of_the_same_shape(tmp_path: Path) -> None:
    store_views(made(2, 1), tmp_path)
    file = tmp_path / "logits.npy"
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert refused(tmp_path).startswith(f"cannot read the scores in {file}: ")
    kept = 0
    for place, value in product(range(128), b"\0\n(9-"):
        file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            found = read_views(tmp_path)
        except EvaluationError:
            refused(tmp_path)
        else:
            assert (found.logits.shape, found.logits.dtype) == ((2, 1, 6), np.float32)
            kept += 1
    assert 0 < kept < 400
