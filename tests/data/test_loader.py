import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.errors import DataError
from reslab.core.experiment import Augmentation
from reslab.data import chance
from reslab.data.loader import TrainingBatch, ordered_batches, training_batches
from reslab.data.pictures import Pictures

CALM = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # a busy machine


def numbered(count: int) -> Pictures:
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
    return Pictures("numbered", "train", pixels, torch.arange(count) % 3, ("a", "b", "c"))


def drawn(count: int = 23, **settings: object) -> list[TrainingBatch]:
    chosen = {"batch": 5, "steps": 12, "seed": 3, "augment": Augmentation()} | settings
    return list(training_batches(numbered(count), **chosen))  # type: ignore[arg-type]


def same(first: list[TrainingBatch], second: list[TrainingBatch]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


@CALM
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**63 - 1))
def test_every_epoch_visits_every_picture_once_in_its_own_order(count: int, batch: int, seed: int) -> None:
    steps = -(-3 * count // batch)
    visited = torch.cat([one.indices for one in drawn(count, batch=batch, steps=steps, seed=seed)]).tolist()
    for epoch in range(3):
        assert visited[epoch * count : (epoch + 1) * count] == chance.order(seed, epoch, count).tolist()


def test_batches_are_full_and_as_many_as_the_steps() -> None:
    batches = drawn()
    assert [len(batch.labels) for batch in batches] == [5] * 12


def test_pixels_and_labels_belong_to_the_indices() -> None:
    for batch in drawn():
        assert batch.pixels[:, 0, 0, 0].tolist() == batch.indices.tolist()
        assert batch.labels.tolist() == [index % 3 for index in batch.indices.tolist()]


def test_batches_have_the_promised_types_and_shapes() -> None:
    batch = drawn()[0]
    kinds = [(tensor.dtype, tuple(tensor.shape)) for tensor in batch]
    assert kinds == [
        (torch.uint8, (5, 3, 2, 2)),
        (torch.int64, (5,)),
        (torch.int64, (5,)),
        (torch.int64, (5, 2)),
        (torch.bool, (5,)),
    ]


def test_chance_depends_on_epoch_and_picture_and_not_on_the_batch() -> None:
    def fates(batch: int) -> list[tuple[int, list[int], bool]]:
        batches = drawn(batch=batch, steps=60 // batch)
        return [
            (int(index), corner.tolist(), bool(mirror))
            for one in batches
            for index, corner, mirror in zip(one.indices, one.corners, one.mirrored, strict=True)
        ]

    assert fates(5) == fates(6) == fates(60)
    assert fates(5)[:23] != fates(5)[23:46]


def test_crops_and_mirror_images_are_those_of_chance() -> None:
    batch = drawn(count=8, batch=8, steps=2)[1]
    samples = batch.indices.numpy()
    for column, stream in enumerate((chance.ROW, chance.COLUMN)):
        expected = chance.below(9, chance.words(3, stream, 1, samples))
        assert batch.corners[:, column].tolist() == expected.tolist()
    assert batch.mirrored.tolist() == (chance.below(2, chance.words(3, chance.MIRROR, 1, samples)) == 1).tolist()


def test_two_workers_give_the_same_batches_as_none() -> None:
    assert same(drawn(workers=0, steps=7), drawn(workers=2, steps=7))


@pytest.mark.parametrize("done", [1, 4, 5, 11, 12])
def test_a_stream_begun_again_goes_on_where_it_stopped(done: int) -> None:
    assert same(drawn(consumed=done * 5), drawn()[done:])


@pytest.mark.parametrize("pad", [1, 4])
def test_corners_reach_everywhere_in_the_padded_picture_and_nowhere_else(pad: int) -> None:
    corners = torch.cat([batch.corners for batch in drawn(augment=Augmentation(pad=pad), steps=60)])
    for column in (0, 1):
        assert set(corners[:, column].tolist()) == set(range(2 * pad + 1))


def test_without_padding_every_corner_is_zero() -> None:
    assert all(not batch.corners.any() for batch in drawn(augment=Augmentation(pad=0)))


def test_without_flipping_nothing_is_mirrored_and_corners_stay() -> None:
    without, with_flips = drawn(augment=Augmentation(flip=False)), drawn()
    assert not any(batch.mirrored.any() for batch in without)
    share = torch.cat([batch.mirrored for batch in with_flips]).float().mean()
    assert 0.25 < share < 0.75
    assert all(torch.equal(a.corners, b.corners) for a, b in zip(without, with_flips, strict=True))


def test_another_seed_gives_another_stream() -> None:
    assert not same(drawn(seed=3), drawn(seed=4))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(workers: int) -> None:
    before = torch.get_rng_state()
    drawn(workers=workers, steps=3)
    assert torch.equal(torch.get_rng_state(), before)


@CALM
@given(st.integers(1, 40), st.integers(1, 50))
def test_ordered_batches_cover_every_picture_once_in_order(count: int, batch: int) -> None:
    batches = list(ordered_batches(numbered(count), batch))
    assert torch.cat([one.indices for one in batches]).tolist() == list(range(count))
    assert torch.cat([one.pixels for one in batches])[:, 0, 0, 0].tolist() == list(range(count))
    assert torch.cat([one.labels for one in batches]).tolist() == [index % 3 for index in range(count)]
    assert all(len(one.labels) == batch for one in batches[:-1])


def test_pictures_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="odd: 2 pictures but 3 labels"):
        Pictures("odd", "val", torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), ("a",))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_must_be_one_of_the_classes(label: int) -> None:
    with pytest.raises(DataError, match="odd: a label lies outside its 2 classes"):
        Pictures("odd", "val", torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([label]), ("a", "b"))


def test_the_digest_of_pictures_sees_pixels_labels_order_and_shape() -> None:
    base = numbered(4)
    other_pixels = base.pixels.clone()
    other_pixels[0, 0, 0, 0] = 9
    variants = [
        (base.pixels, base.labels),
        (other_pixels, base.labels),
        (base.pixels, base.labels.flip(0)),
        (base.pixels.flip(0), base.labels.flip(0)),
        (base.pixels.reshape(4, 3, 4, 1), base.labels),
    ]
    digests = [Pictures("x", "train", pixels, labels, ("a", "b", "c")).digest for pixels, labels in variants]
    assert len(set(digests)) == 5
    assert digests[0] == base.digest
