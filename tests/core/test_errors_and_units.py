import math
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core import errors
from reslab.core.errors import ReslabError, SpecError, ran_out, unknown
from reslab.core.units import bytes_of, bytes_text, counted, duration_text, epochs_to_steps, percent

CALM = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])  # a busy machine


def test_unknown_names_the_given_the_nearest_and_every_choice() -> None:
    line = unknown("model", "resnet5", ["resnet50", "plain18"])
    assert line == "unknown model 'resnet5'; did you mean 'resnet50'? (choose from: resnet50, plain18)"


def test_unknown_gives_no_hint_where_nothing_is_near() -> None:
    assert unknown("key", "zzzz", ["lr", "momentum"]) == "unknown key 'zzzz' (choose from: lr, momentum)"


def test_unknown_takes_an_iterator_of_choices() -> None:
    assert unknown("key", "lrr", iter(["lr"])).endswith("did you mean 'lr'? (choose from: lr)")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SpecError", 2),
        ("DataError", 2),
        ("RunError", 2),
        ("CheckpointError", 2),
        ("StorageError", 1),
        ("TrainingError", 1),
        ("EvaluationError", 1),
    ],
)
def test_a_mistake_exits_with_two_and_a_failure_with_one(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, ReslabError)
    assert kind.exit_code == code


@CALM
@given(
    epochs=st.fractions(min_value=Fraction(1, 8), max_value=500, max_denominator=8),
    pictures=st.integers(1, 60_000),
    batch=st.integers(1, 1024),
)
def test_steps_cover_the_epochs_and_one_fewer_would_not(epochs: Fraction, pictures: int, batch: int) -> None:
    steps = epochs_to_steps(float(epochs), pictures, batch)
    assert (steps - 1) * batch < epochs * pictures <= steps * batch


def test_a_hundred_and_sixty_four_epochs_of_cifar_are_64_063_steps() -> None:
    assert epochs_to_steps(164, 50_000, 128) == 64_063
    assert epochs_to_steps(1, 50_000, 128) == 391
    assert epochs_to_steps(0.5, 256, 128) == 1


@pytest.mark.parametrize(("epochs", "pictures", "batch"), [(0, 10, 2), (-1.0, 10, 2), (1, 0, 2), (1, 10, 0)])
def test_epochs_pictures_and_batch_must_be_positive(epochs: float, pictures: int, batch: int) -> None:
    with pytest.raises(SpecError, match=f"must be positive, not {epochs}, {pictures}, {batch}"):
        epochs_to_steps(epochs, pictures, batch)


@CALM
@given(whole=st.integers(1, 10**6), data=st.data())
def test_percent_is_the_exact_ratio_times_one_hundred(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    assert math.isclose(percent(part, whole), float(Fraction(100 * part, whole)), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1_572_864, "1.5 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
        (5000 * 2**40, "5000.0 TiB"),
    ],
)
def test_byte_counts_are_written_for_people(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("count", "thing", "text"),
    [
        (0, "run", "0 runs"),
        (1, "run", "1 run"),
        (64_000, "training picture", "64,000 training pictures"),
        (1, "class", "1 class"),
        (10, "class", "10 classes"),
        (2, "batch", "2 batches"),
    ],
)
def test_numbers_of_things_are_written_for_people(count: int, thing: str, text: str) -> None:
    assert counted(count, thing) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (48.4, "48 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (100 * 3600 + 59, "100 h 00 min"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RuntimeError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("could not create a primitive"), True),
        (
            RuntimeError("could not create a primitive descriptor for a convolution forward propagation primitive"),
            False,
        ),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out_is_recognised(error: Exception, answer: bool) -> None:  # noqa: FBT001
    assert ran_out(error) is answer


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("4096 B", 4096), ("1kB", 1000), ("1 KiB", 1024), ("256MiB", 2**28), ("1.5GB", 1_500_000_000)),
        *((" 2 tib ", 2**41), ("0.5 KiB", 512), ("1B", 1)),
    ],
)
def test_a_byte_count_is_read_as_people_write_it(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "much", "12", "-1 MB", "0 B", "0.1B", "1 Mi", "1 iB", "1e3 B", "1 MB and more"])
def test_what_is_no_byte_count_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(SpecError, match=r"is no number of bytes: write 256MiB or 1\.5GB"):
        bytes_of(text)
