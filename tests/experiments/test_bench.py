import io
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import ModelSpec, Optimizer, Photographs, Recipe
from reslab.data import chance
from reslab.data.photographs import Incident, PhotoBatch, PhotoFolder, TrainingCrops
from reslab.data.pictures import Pictures
from reslab.data.pool import in_order
from reslab.data.source import load
from reslab.experiments.bench import steps, timing
from reslab.experiments.bench.advice import Reading, Step, best_batch, fewest_workers, loader_advice, train_advice
from reslab.experiments.bench.asked import Asked, group_for
from reslab.experiments.bench.loader import difference, sample
from reslab.experiments.bench.pictures import pictures_for, random_pictures
from reslab.experiments.bench.rival import NaiveCrops, threaded
from reslab.experiments.bench.samples import SmallSamples, standard_batches, train_on
from reslab.experiments.bench.timing import compare, drain, interleave, steady
from reslab.experiments.bench.train import bench_train
from reslab.experiments.feed import Feed
from reslab.experiments.networks import build
from reslab.experiments.session import begin
from reslab.training.step import Batch, train_step

CPU = torch.device("cpu")


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        patch.setattr(time, "perf_counter", lambda: self.now)

    def costing(self, seconds: float) -> Callable[[], None]:
        def step() -> None:
            self.now += seconds

        return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def write_photographs(root: Path, count: int = 6) -> Path:
    """Smooth pictures of different sizes in two classes, one of them turned."""
    draw = np.random.default_rng(0)
    for number in range(count):
        small = draw.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((300 + 10 * number, 250), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 1 else 1
        folder = root / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number}.jpg", quality=95, exif=exif)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    found = load(str(write_photographs(tmp_path_factory.mktemp("bench"))), "all")
    assert isinstance(found, PhotoFolder)
    return found


def made(work: TrainingCrops, task: int = 0) -> NDArray[np.uint8]:
    out = np.empty(work.room, np.uint8)
    work(task, out, lambda _item: None)
    return out.reshape(work.batch, work.largest, work.largest, 3)


def test_sides_take_turns_and_every_other_round_begins_with_the_last() -> None:
    took: list[str] = []

    def side(name: str) -> Callable[[], float]:
        def turn() -> float:
            took.append(name)
            return float(len(took))

        return turn

    times = interleave({name: side(name) for name in "abc"}, rounds=3, warm_up=1)
    assert "".join(took) == "cbaabccbaabc"
    assert times == {"a": [4.0, 9.0, 10.0], "b": [5.0, 8.0, 11.0], "c": [6.0, 7.0, 12.0]}


def test_a_turn_is_timed_until_the_device_is_done(clock: Clock) -> None:
    assert timing.once(clock.costing(2), clock.costing(3))() == 5


def test_a_row_has_median_rates_and_the_median_of_the_ratios_of_each_round() -> None:
    row = compare("ours against theirs", "resnet18", 10, ours=[1.0, 2.0, 5.0], rival=[2.0, 2.0, 20.0])
    assert (row.rate, row.rival_rate) == (5.0, 5.0)
    assert row.ratios == (2.0, 1.0, 4.0)
    assert row.ratio == 2.0


@pytest.mark.parametrize(("workers", "before", "counted"), [(0, 1, 1), (1, 3, 2), (3, 7, 6)])
def test_what_workers_may_have_read_ahead_is_not_timed(clock: Clock, workers: int, before: int, counted: int) -> None:
    taken: list[int] = []

    def stream() -> Iterator[int]:
        for number in count():
            clock.now += 100 if number < before else 2
            yield number

    def consume(batches: Iterator[int]) -> None:
        for batch in batches:
            taken.append(batch)
            clock.now += 1

    assert steady(stream(), workers, consume, lambda: None) == 3
    assert taken == list(range(before + counted))


def test_where_workers_are_few_at_least_so_many_batches_are_timed(clock: Clock) -> None:
    def stream() -> Iterator[int]:
        for number in count():
            clock.now += 100 if number < 3 else number
            yield number

    assert steady(stream(), 1, drain, lambda: None, least=5) == (3 + 4 + 5 + 6 + 7) / 5


def step_of(fp32: float, bf16: float | None = None, batches: dict[int, float] | None = None) -> Step:
    precisions = {"fp32": fp32} | ({} if bf16 is None else {"bf16": bf16})
    return Step(precisions=precisions, batches=batches or {32: fp32}, batch=32, native=bf16 is not None)  # type: ignore[arg-type]


def reading_of(core: float, workers: int = 2, cores: int = 8, *, in_memory: bool = False) -> Reading:
    return Reading(rate=core * max(workers, 1), core=core, workers=workers, cores=cores, in_memory=in_memory)


@pytest.mark.parametrize(
    ("step", "reading", "limit", "precision", "workers", "sentence"),
    [
        (step_of(100), reading_of(500), "step", "fp32", 1, "bf16 is not native to this device"),
        (step_of(100, 250), reading_of(500), "step", "bf16", 1, "250 images/s, against 100 in fp32"),
        (step_of(100, 60), reading_of(500), "step", "fp32", 1, "100 images/s, against 60.0 in bf16"),
        (step_of(2000, 1000), reading_of(500), "loader", "fp32", 5, "the fewest that are 20 % ahead"),
        (step_of(1000), reading_of(500), "step", "fp32", 3, "the loader gives 1,000 with --workers 2"),
        (step_of(9000), reading_of(500), "loader", "fp32", 8, "every core there is, and still not 20 % ahead"),
        (step_of(300), reading_of(50_000, 0, in_memory=True), "step", "fp32", 0, "less than 5 % of the step's time"),
        (step_of(9000), reading_of(50_000, 0, in_memory=True), "step", "fp32", 1, "the fewest that are 20 % ahead"),
    ],
)
def test_advice_follows_from_the_rates(
    step: Step, reading: Reading, limit: str, precision: str, workers: int, sentence: str
) -> None:
    advice = train_advice(step, reading)
    assert (advice.limit, advice.precision, advice.workers, advice.batch) == (limit, precision, workers, 32)
    assert sentence in " ".join(advice.because)
    assert f"The {limit} limits" in advice.because[0]


def test_workers_are_enough_for_20_percent_more_than_the_step_and_one_fewer_is_not() -> None:
    for step in range(10, 4000, 70):
        workers = fewest_workers(step, reading_of(500))
        assert workers * 500 >= 1.2 * step > (workers - 1) * 500 or (workers == 8 and 1.2 * step > 4000)


def test_another_batch_must_be_5_percent_faster() -> None:
    assert best_batch({16: 104, 32: 100, 64: 103}, 32) == 32
    assert best_batch({16: 104, 32: 100, 64: 106}, 32) == 64
    assert best_batch({32: 100}, 32) == 32


def test_the_loader_s_advice_is_the_fewest_workers_within_5_percent_of_the_fastest() -> None:
    assert loader_advice({1: 100, 4: 380}).workers == 4
    assert loader_advice({1: 100, 4: 104}).workers == 1
    advice = loader_advice({1: 120})
    assert (advice.workers, advice.precision, advice.batch) == (1, None, None)
    assert "up to 100 images/s" in advice.because[1]


def test_auto_tries_fp32_beside_native_bf16_and_says_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("reslab.training.precision.native_bf16", lambda _device: True)
    assert steps.precisions("auto", CPU, said.append) == ("bf16", "fp32")
    monkeypatch.setattr("reslab.training.precision.native_bf16", lambda _device: False)
    assert steps.precisions("bf16", CPU, said.append) == ("bf16",)
    assert said == []
    assert steps.precisions("auto", CPU, said.append) == ("fp32",)
    assert "natively" in said[0]


def test_a_batch_that_does_not_fit_is_left_out_and_named() -> None:
    said: list[str] = []

    def make(batch: int, _precision: str) -> Callable[[], None]:
        def step() -> None:
            if batch > 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        return step

    rates = steps.batches(make, "fp32", Asked(batch=3, rounds=1), lambda: None, said.append)
    assert rates.keys() == {1, 3}
    assert said[-1] == "a batch of 6 does not fit into the device's memory"


def test_the_bare_step_computes_in_nchw_and_fp32_and_updates_as_sgd_does() -> None:
    torch.manual_seed(0)
    net, twin = (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(36, 2)) for _ in range(2))
    twin.load_state_dict(net.state_dict())
    seen: list[bool] = []
    net[0].register_forward_pre_hook(lambda _layer, given: seen.append(given[0].is_contiguous()))
    images, labels = torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last), torch.tensor([0, 1])
    steps.bare_training(steps.bare_update(net, Optimizer(lr=0.5)), images, labels)()
    nn.functional.cross_entropy(twin(images), labels).backward()
    with torch.no_grad():
        for own, other in zip(net.parameters(), twin.parameters(), strict=True):
            assert other.grad is not None
            torch.testing.assert_close(own, other - 0.5 * (other.grad + 1e-4 * other))
    assert seen == [True]


def test_random_pictures_have_the_size_that_the_network_was_made_for() -> None:
    small, large = (pictures_for(Asked(model=name, batch=2, rounds=1)) for name in ("cifar-resnet8", "resnet18"))
    assert isinstance(small, Pictures)
    assert isinstance(large, Pictures)
    assert (len(small), len(small.classes), tuple(small.pixels.shape[1:])) == (4, 10, (3, 32, 32))
    assert (len(large), len(large.classes), tuple(large.pixels.shape[1:])) == (4, 1000, (3, 224, 224))


@pytest.mark.parametrize(("setting", "least"), [("rounds", 1), ("batch", 1), ("workers", 0), ("bn_group", 1)])
def test_settings_that_cannot_hold_are_refused(setting: str, least: int) -> None:
    settings: dict[str, Any] = {"batch": 1, "rounds": 1, setting: least - 1}
    with pytest.raises(SpecError, match=f"^--{setting.replace('_', '-')} must be at least {least}, not {least - 1}$"):
        Asked(**settings)


def test_groups_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(SpecError, match=r"^--bn-group 48 does not divide --batch 128$"):
        Asked(model="cifar-resnet20", batch=128, rounds=1, bn_group=48)


@pytest.mark.parametrize(
    ("model", "asked", "batch", "group"),
    [
        ("cifar-resnet20", None, 128, 64),
        ("cifar-resnet20", None, 256, 64),
        ("cifar-resnet20", None, 32, 32),
        ("cifar-resnet20", None, 96, 96),
        ("cifar-resnet20", 32, 128, 32),
        ("cifar-resnet20", 128, 64, 64),
        ("resnet18", None, 128, 128),
        ("resnet18", 16, 64, 16),
    ],
)
def test_groups_are_the_paper_s_where_they_divide_the_batch(
    model: str, asked: int | None, batch: int, group: int
) -> None:
    assert group_for(Asked(model=model, batch=128, rounds=1, bn_group=asked), batch) == group


def small_batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(torch.randn(8, 3, 32, 32, generator=draw), torch.randint(10, (8,), generator=draw), torch.arange(8))


def test_our_step_is_training_s_own_in_groups() -> None:
    spec, recipe = ModelSpec(name="cifar-resnet8", width=8), Recipe(steps=9, batch=8, bn_group=4, precision="fp32")
    timed, trained = (begin(build(spec), random_pictures(8, 32, 10), recipe, Feed(CPU)).training for _ in range(2))
    steps.own_step(timed, small_batch(), 4, "fp32", "eager")()
    train_step(trained, small_batch(), 4, "fp32")
    pairs = zip(timed.net.state_dict().values(), trained.net.state_dict().values(), strict=True)
    assert all(torch.equal(own, other) for own, other in pairs)
    assert int(timed.net.bn1.num_batches_tracked) == 2  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_standard_loader_s_samples_are_windows_of_the_padded_picture_less_the_mean(channels: int) -> None:
    pictures = random_pictures(6, 12, 10, channels)
    mean = pictures.pixels.double().mean(dim=0).float()
    samples, seen = SmallSamples(pictures), set()
    for index in [3] * 400:
        image, label = samples[index]
        assert label == int(pictures.labels[index])
        padded = nn.functional.pad(pictures.pixels[index] - mean, (4, 4, 4, 4)).expand(3, -1, -1)
        windows = padded.unfold(1, 12, 1).unfold(2, 12, 1)
        for flipped in (False, True):
            same = (windows == (image.flip(2) if flipped else image)[:, None, None]).all(dim=(0, 3, 4))
            seen |= {(flipped, *place) for place in same.nonzero().tolist()}
    assert len(samples) == 6
    assert {place[0] for place in seen} == {False, True}
    assert {place[1] for place in seen} == {place[2] for place in seen} == set(range(9))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_standard_loader_shuffles_whole_batches_across_epochs_and_ends_its_workers(workers: int) -> None:
    pictures = Pictures(
        "ten", "train", torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10), tuple("abcdefghij")
    )
    before, others = torch.get_rng_state(), set(multiprocessing.active_children())
    stream = standard_batches(SmallSamples(pictures), 4, workers, CPU)
    found = [next(stream) for _ in range(5)]
    assert len(set(multiprocessing.active_children()) - others) == workers
    stream.close()
    assert set(multiprocessing.active_children()) <= others
    assert {(tuple(images.shape), images.dtype) for images, _ in found} == {((4, 3, 8, 8), torch.float32)}
    order = torch.cat([labels for _, labels in found]).tolist()
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_of_the_standard_loader_draw_windows_of_their_own() -> None:
    pixels = torch.arange(144, dtype=torch.uint8).reshape(1, 1, 12, 12).expand(8, 3, -1, -1).clone()
    pixels[4:] += 100  # so that the mean leaves something
    pictures = Pictures("eight", "train", pixels, torch.arange(8) // 4, ("a", "b"))
    with closing(standard_batches(SmallSamples(pictures), 1, 2, CPU)) as stream:
        first, second = (next(stream)[0].abs() for _ in range(2))
    assert not torch.equal(first, second)


def test_the_standard_loop_updates_with_every_batch() -> None:
    taken: list[tuple[torch.Tensor, torch.Tensor]] = []
    given = [(torch.zeros(1), torch.ones(1)), (torch.ones(1), torch.zeros(1))]
    train_on(iter(given), lambda *batch: taken.append(batch))
    assert taken == given


def test_training_is_measured_against_a_standard_loader_in_the_same_rounds() -> None:
    said: list[str] = []
    asked = Asked(model="cifar-resnet8", batch=8, rounds=2, precision="fp32", workers=0, bn_group=4)
    found = bench_train(asked, said.append)
    rows = {row.name: row for row in found.rows}
    loop = rows["whole loop against eager fp32 with a standard loader of 0 workers"]
    assert list(rows)[:3] == [
        "step against bare eager fp32 NCHW",
        "step with data against bare eager fp32 NCHW",
        "step with data against step alone",
    ]
    assert loop.rate == rows["step with data against step alone"].rate
    assert loop.rival_rate > 0
    assert len(loop.ratios) == 2
    assert found.settings["bn_group"] == 4
    assert "batch 8 in groups of 4" in said[0]


def test_a_sample_is_the_same_every_time_and_in_order(photos: PhotoFolder) -> None:
    chosen = sample(photos, 4)
    paths = [chosen.index.path(number) for number in range(len(chosen))]
    assert len(paths) == 4
    assert paths == sorted(paths)
    assert paths == [sample(photos, 4).index.path(number) for number in range(4)]
    assert len(sample(photos)) == len(photos) == 6


def naive(photos: PhotoFolder, epoch: int, number: int) -> NDArray[np.uint8]:
    """Section 3.4's crop, written down once more."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(photos.store.read(number))))
    shorter = 256 + chance.draw(225, 0, chance.SCALE, epoch, number)
    width, height = (max(shorter, shorter * side // min(picture.size)) for side in picture.size)
    left = chance.draw(width - 223, 0, chance.COLUMN, epoch, number)
    top = chance.draw(height - 223, 0, chance.ROW, epoch, number)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    crop = pixels[top : top + 224, left : left + 224]
    return crop[:, ::-1] if chance.draw(2, 0, chance.MIRROR, epoch, number) else crop


def test_the_rival_crops_as_a_naive_reader_does_and_as_the_exact_path_does(photos: PhotoFolder) -> None:
    rival, exact = (kind(photos, Photographs(decode="exact"), 12, 0) for kind in (NaiveCrops, TrainingCrops))
    found = made(rival)
    for place, (epoch, samples) in zip((0, 6), chance.Stream(0, 6).pieces(0, 12), strict=True):
        for offset, number in enumerate(samples.tolist()):
            assert np.array_equal(found[place + offset], naive(photos, epoch, number))
    assert np.array_equal(found, made(exact))


class Brighter(TrainingCrops):
    """Every second value is 4 too high."""

    def crop(self, epoch: int, number: int, side: int, enlarged: list[Incident]) -> NDArray[np.uint8]:
        crop = super().crop(epoch, number, side, enlarged) // 2
        crop[:, ::2] += 4
        return crop


class Halved(TrainingCrops):
    def crop(self, epoch: int, number: int, side: int, enlarged: list[Incident]) -> NDArray[np.uint8]:
        return super().crop(epoch, number, side, enlarged) // 2


def test_the_difference_is_the_mean_over_all_values_and_has_a_sign(photos: PhotoFolder) -> None:
    plain, brighter = (kind(photos, Photographs(), 4, 0) for kind in (Halved, Brighter))
    assert difference(brighter, plain) == {"mean_absolute": 2.0, "bias": 2.0}
    assert difference(plain, brighter) == {"mean_absolute": 2.0, "bias": -2.0}
    assert difference(plain, plain) == {"mean_absolute": 0.0, "bias": 0.0}


def test_the_fast_path_differs_from_the_rival_by_rounding(photos: PhotoFolder) -> None:
    gap = difference(TrainingCrops(photos, Photographs(), 6, 0), NaiveCrops(photos, Photographs(), 6, 0))
    assert 0 < gap["mean_absolute"] < 1
    assert abs(gap["bias"]) < 0.2


def test_threads_do_the_same_tasks_as_the_pool_each_once(photos: PhotoFolder) -> None:
    done: list[int] = []

    class Noting(TrainingCrops):
        def __call__(self, task: int, out: NDArray[np.uint8], at: Callable[[int], None]) -> PhotoBatch:
            done.append(task)
            return super().__call__(task, out, at)

    work = Noting(photos, Photographs(), 2, 0)
    drain(threaded(work, range(0, 12, 2), 2))
    assert sorted(done) == list(range(0, 12, 2))
    done.clear()
    drain(in_order(work, range(0, 12, 2)))
    assert done == list(range(0, 12, 2))


def test_photographs_are_not_for_cifar_s_networks(tmp_path: Path) -> None:
    place = str(write_photographs(tmp_path))
    with pytest.raises(SpecError, match=r"cifar-resnet20 is for small pictures and .* holds photographs"):
        pictures_for(Asked(model="cifar-resnet20", batch=2, rounds=1, data=place))
    with pytest.raises(DataError, match="does not exist"):
        pictures_for(Asked(model="resnet18", batch=2, rounds=1, data=f"{place}/absent"))
