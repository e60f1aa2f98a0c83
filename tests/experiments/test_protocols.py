"""Testing protocols from pictures to scores, against loops that take one view after the other."""

import io
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tested import stir
from torch import Tensor, nn

from reslab.core.contract import CONTRACTS, Contract
from reslab.core.errors import SpecError
from reslab.core.experiment import Photographs
from reslab.core.protocol import Native, Protocol, find_protocol
from reslab.data import views
from reslab.data.photographs import PhotoFolder
from reslab.data.pictures import Pictures
from reslab.data.source import Dataset, PictureFolder
from reslab.data.views import ViewBatch, by_size
from reslab.evaluation.views import ViewScores
from reslab.experiments import inputs
from reslab.experiments.feed import Feed
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.scoring import Subject, score_views, scored
from reslab.experiments.small_inputs import SmallInputs
from reslab.models.network import ResNet
from reslab.models.resnet import cifar_resnet, resnet
from reslab.transforms.cifar import CifarForm, per_pixel_mean
from reslab.transforms.photographs import resized_to

CPU: Final = Feed(torch.device("cpu"))
CROP: Final = 64
WINDOW: Final = 2  # places a side of the last map, a 32nd of the crop
FORM: Final = Contract(shorter_side=72, crop=CROP, std=CONTRACTS["torchvision"].std)
NATIVE: Final = Native(72, CROP, "center")
POOL, CLASSIFY = "pool-then-classify", "classify-then-average"
dense_of = pytest.mark.parametrize("dense", [POOL, CLASSIFY])


def lively(net: ResNet) -> ResNet:
    """With batch normalisation that is far from the identity, and a classifier that tells pictures apart."""
    draw = torch.Generator().manual_seed(1)
    stir(net, draw)
    net.get_parameter("fc.weight").data.normal_(0, 0.2, generator=draw)
    net.get_parameter("fc.bias").data.normal_(0, 0.1, generator=draw)
    return net.eval().to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A small network of Table 1."""
    return Subject(lively(resnet(18, width=8, classes=7)), PhotoInputs(Photographs(contract=FORM, scale=(64, 80))))


@pytest.fixture(scope="module")
def photos(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    """Nine pictures of as many sizes."""
    folder = PictureFolder(folder_of(tmp_path_factory.mktemp("many") / "sizes", pictures=3)).read("all")
    assert len({image.size for image in images(folder)}) == 9
    return folder


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    """Six square pictures."""
    root, draw = tmp_path_factory.mktemp("squares"), np.random.default_rng(5)
    for name in ("ash", "birch"):
        (root / name).mkdir()
        for side in (50, 64, 91):
            pixels = draw.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{side}.png")
    return PictureFolder(root).read("all")


def protocol(**values: Any) -> Protocol:
    return find_protocol("center", NATIVE).but({"name": "p", **values})


def images(photos: PhotoFolder) -> Iterator[Image.Image]:
    for number in range(len(photos)):
        with Image.open(io.BytesIO(photos.store.read(number))) as image:
            yield image.convert("RGB")


def at(image: Image.Image, shorter: int) -> Image.Image:
    return image.resize(resized_to(image.size, shorter), Image.Resampling.BILINEAR)


def ten(image: Image.Image) -> list[Image.Image]:
    """Four corners and the centre, each followed by its mirror image (section 3.4)."""
    resized = at(image, 72)
    right, bottom = resized.width - CROP, resized.height - CROP
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    crops = [resized.crop((x, y, x + CROP, y + CROP)) for x, y in corners]
    return list(chain.from_iterable((crop, crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) for crop in crops))


def taken_in(pictures: Iterable[Image.Image]) -> Tensor:
    """As the network takes pictures of one size."""
    pixels = np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32)
    normal = (pixels - np.array(FORM.mean, np.float32)) / np.array(FORM.std, np.float32)
    return torch.from_numpy(normal).permute(0, 3, 1, 2)


def last_map(net: ResNet, x: Tensor) -> Tensor:
    for name, layer in net.named_children():
        if name == "avgpool":
            break
        x = layer(x)
    return x


def by_places(net: ResNet, x: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Logits and probabilities of one picture: a window of the last map after the other is pooled and classified."""
    (last,) = last_map(net, x)
    fc = net.get_submodule("fc")
    rows, columns = (length - window + 1 for length in last.shape[1:])
    logits = [
        fc(last[:, top : top + window, left : left + window].mean(dim=(1, 2)))
        for top in range(rows)
        for left in range(columns)
    ]
    each = torch.stack(logits)
    return each.mean(dim=0), each.softmax(dim=1).mean(dim=0)


def in_one(net: ResNet, x: Tensor) -> tuple[Tensor, Tensor]:
    (logits,) = net(x)
    return logits, logits.softmax(dim=0)


def run(subject: Subject, pictures: Dataset, of: Protocol, **how: Any) -> ViewScores:
    return score_views(subject, pictures, of, CPU, "fp32", **how)


def require_close(found: ViewScores, logits: Any, probabilities: Any, within: float = 1e-6) -> None:
    """Logits are larger than probabilities, and may differ by as much more."""
    assert found.logits.shape == np.shape(logits)
    scale = max(1.0, float(np.abs(found.logits).max()))
    np.testing.assert_allclose(found.logits, logits, rtol=0, atol=within * scale)
    np.testing.assert_allclose(found.probabilities, probabilities, rtol=0, atol=within)


@torch.no_grad()
def test_ten_crops_are_a_naive_loop_over_views_bit_for_bit(subject: Subject, photos: PhotoFolder) -> None:
    found = run(subject, photos, find_protocol("ten-crop", NATIVE))
    crops = [ten(image) for image in images(photos)]
    logits, probabilities = torch.zeros(9, 7), torch.zeros(9, 7)
    for view in range(10):
        answer = subject.net(taken_in(of_one[view] for of_one in crops))
        logits += answer
        probabilities += answer.softmax(dim=1)
    assert np.array_equal(found.logits[:, 0], logits / 10)
    assert np.array_equal(found.probabilities[:, 0], probabilities / 10)
    assert np.ptp(found.probabilities, axis=0).max() > 0.01  # pictures are told apart


@torch.no_grad()
def test_ten_crops_are_a_naive_loop_over_pictures(subject: Subject, photos: PhotoFolder) -> None:
    found = run(subject, photos, find_protocol("ten-crop", NATIVE))
    answers = torch.stack([torch.cat([subject.net(taken_in([c])) for c in ten(image)]) for image in images(photos)])
    require_close(found, answers.mean(dim=1)[:, None], answers.softmax(dim=2).mean(dim=1)[:, None])
    final = scored(found, photos, find_protocol("ten-crop", NATIVE)).scores
    torch.testing.assert_close(final.probabilities, answers.softmax(dim=2).mean(dim=1), rtol=0, atol=1e-6)
    logits = find_protocol("ten-crop", NATIVE).but({"average": "logits"})
    final = scored(found, photos, logits).scores
    torch.testing.assert_close(final.probabilities, answers.mean(dim=1).softmax(dim=1), rtol=0, atol=1e-6)


def test_dense_testing_of_squares_at_the_crops_size_is_the_centre_crop(subject: Subject, squares: PhotoFolder) -> None:
    centre = run(subject, squares, protocol(shorter_sides=[CROP]))
    pooled = run(subject, squares, protocol(shorter_sides=[CROP], dense=POOL))
    assert np.array_equal(pooled.logits, centre.logits)
    assert np.array_equal(pooled.probabilities, centre.probabilities)
    classified = run(subject, squares, protocol(shorter_sides=[CROP], dense=CLASSIFY))
    require_close(classified, centre.logits, centre.probabilities)


def test_dense_testing_at_the_papers_size_is_the_centre_crop(squares: PhotoFolder) -> None:
    settings = Photographs(contract=Contract(shorter_side=256, crop=224))
    full = Subject(lively(resnet(18, width=8, classes=7)), PhotoInputs(settings))
    at_224 = find_protocol("single", full.inputs.native)
    centre = run(full, squares, at_224)
    pooled = run(full, squares, at_224.but({"dense": POOL}))
    assert np.array_equal(pooled.logits, centre.logits)
    assert np.array_equal(pooled.probabilities, centre.probabilities)
    require_close(run(full, squares, at_224.but({"dense": CLASSIFY})), centre.logits, centre.probabilities)


@dense_of
@pytest.mark.parametrize("mirror", [False, True])
@torch.no_grad()
def test_dense_testing_is_a_naive_loop_over_pictures_scales_and_places(
    dense: str,
    mirror: bool,  # noqa: FBT001
    subject: Subject,
    photos: PhotoFolder,
) -> None:
    of = protocol(shorter_sides=[64, 80, 130], dense=dense, mirror=mirror)
    found = run(subject, photos, of)
    assert isinstance(subject.net, ResNet)
    logits, probabilities = torch.zeros(9, 3, 7), torch.zeros(9, 3, 7)
    for number, image in enumerate(images(photos)):
        for group, shorter in enumerate((64, 80, 130)):
            x = taken_in([at(image, shorter)])
            seen = [x, x.flip(-1)] if mirror else [x]
            for one in seen:
                answer = in_one(subject.net, one) if dense == POOL else by_places(subject.net, one, WINDOW)
                logits[number, group] += answer[0] / len(seen)
                probabilities[number, group] += answer[1] / len(seen)
    require_close(found, logits, probabilities)
    final = scored(found, photos, of).scores.probabilities
    torch.testing.assert_close(final, probabilities.mean(dim=1), rtol=0, atol=1e-6)


def test_the_two_forms_of_dense_testing_differ_where_there_is_more_than_one_place(
    subject: Subject, photos: PhotoFolder
) -> None:
    pooled, classified = (
        run(subject, photos, protocol(shorter_sides=[130], dense=dense)) for dense in (POOL, CLASSIFY)
    )
    assert np.abs(pooled.probabilities - classified.probabilities).max() > 1e-3


@torch.no_grad()
def test_classifying_the_pooled_map_is_averaging_the_logits_of_its_places(
    subject: Subject, photos: PhotoFolder
) -> None:
    found = run(subject, photos, protocol(shorter_sides=[100], dense=POOL))
    assert isinstance(subject.net, ResNet)
    for number, image in enumerate(images(photos)):
        logits, probabilities = by_places(subject.net, taken_in([at(image, 100)]), 1)
        np.testing.assert_allclose(found.logits[number, 0], logits, rtol=0, atol=1e-5)
        assert np.abs(found.probabilities[number, 0] - probabilities.numpy()).max() > 1e-4


@pytest.fixture(scope="module")
def small() -> Pictures:
    """Twelve pictures of CIFAR's size, brighter to the right: their mean picture is far from a mean colour."""
    draw = torch.Generator().manual_seed(3)
    pixels = torch.randint(100, (12, 3, 32, 32), generator=draw) + torch.arange(32) * 4
    return Pictures("noise", "val", pixels.to(torch.uint8), torch.arange(12) % 10, tuple("abcdefghij"))


def grey(pictures: Pictures) -> Pictures:
    return Pictures("grey", "val", pictures.pixels[:, :1], pictures.labels, pictures.classes)


def small_subject(pictures: Pictures, std: tuple[float, ...] | None = None) -> Subject:
    form = CifarForm(per_pixel_mean(pictures.pixels), 4, std)
    return Subject(lively(cifar_resnet(8, width=8)), SmallInputs(form))


def small_view(pictures: Pictures, number: int, shorter: int) -> Tensor:
    """One picture at another size, in [0, 255]: (1, channels, side, side)."""
    pixels = pictures.pixels[number].permute(1, 2, 0).numpy()
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    resized = np.array(image.resize((shorter, shorter), Image.Resampling.BILINEAR), np.float32)
    return torch.from_numpy(resized.reshape(shorter, shorter, -1)).permute(2, 0, 1)[None]


def centred(form: CifarForm, x: Tensor) -> Tensor:
    """Minus the mean picture, or, at another size, minus the mean of each of its channels."""
    mean = form.mean
    if x.shape[-1] != 32:
        mean = torch.tensor([float(channel.double().mean()) for channel in form.mean])[:, None, None]
    return (x - mean).expand(-1, 3, -1, -1)


@dense_of
@pytest.mark.parametrize("colours", [lambda pictures: pictures, grey], ids=["colour", "grey"])
@torch.no_grad()
def test_dense_testing_of_small_pictures_subtracts_the_channels_means_at_other_sizes(
    dense: str, colours: Callable[[Pictures], Pictures], small: Pictures
) -> None:
    pictures = colours(small)
    subject = small_subject(pictures)
    sizes = (32, 37, 55)
    of = find_protocol("multi-scale", subject.inputs.native).but({"shorter_sides": list(sizes), "dense": dense})
    found = run(subject, pictures, of)
    assert isinstance(subject.net, ResNet)
    assert isinstance(subject.inputs, SmallInputs)
    for number in range(12):
        for group, shorter in enumerate(sizes):
            x = centred(subject.inputs.form, small_view(pictures, number, shorter))
            answer = in_one(subject.net, x) if dense == POOL else by_places(subject.net, x, 8)
            np.testing.assert_allclose(found.logits[number, group], answer[0], rtol=0, atol=1e-5)
            np.testing.assert_allclose(found.probabilities[number, group], answer[1], rtol=0, atol=1e-6)


@torch.no_grad()
def test_ten_crops_of_small_pictures_have_their_mean_picture_subtracted(small: Pictures) -> None:
    subject = small_subject(small)
    assert isinstance(subject.inputs, SmallInputs)
    found = run(subject, small, find_protocol("ten-crop", subject.inputs.native))
    for number in range(12):
        x = small_view(small, number, 37)
        crops = [x[..., top : top + 32, left : left + 32] for top, left in ((0, 0), (0, 5), (5, 0), (5, 5), (2, 2))]
        seen = [centred(subject.inputs.form, crop) for crop in crops]
        answers = subject.net(torch.cat([*seen, *(one.flip(-1) for one in seen)]))
        np.testing.assert_allclose(found.logits[number, 0], answers.mean(dim=0), rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.probabilities[number, 0], answers.softmax(dim=1).mean(dim=0), atol=1e-6)


@torch.no_grad()
def test_the_single_view_of_small_pictures_is_the_network_on_all_of_them_bit_for_bit(small: Pictures) -> None:
    subject = small_subject(small, (60.0, 61.0, 62.0))
    found = run(subject, small, find_protocol(None, subject.inputs.native))
    normal = (small.pixels - per_pixel_mean(small.pixels)) / torch.tensor([60.0, 61.0, 62.0])[:, None, None]
    x = normal.contiguous(memory_format=torch.channels_last)
    answer = subject.net(x)
    assert np.array_equal(found.logits[:, 0], answer)
    assert np.array_equal(found.probabilities[:, 0], answer.softmax(dim=1))
    both = run(subject, small, find_protocol("flip", subject.inputs.native))
    mirrored = subject.net(x.flip(-1))
    assert np.array_equal(both.logits[:, 0], (answer + mirrored) / 2)


def test_small_pictures_at_their_own_size_are_tested_densely_as_they_are_singly(small: Pictures) -> None:
    subject = small_subject(small)
    single = find_protocol("single", subject.inputs.native)
    found = run(subject, small, single)
    pooled = run(subject, small, single.but({"dense": POOL}))
    assert np.array_equal(pooled.logits, found.logits)
    require_close(run(subject, small, single.but({"dense": CLASSIFY})), found.logits, found.probabilities)


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"shorter_sides": [72], "crop": 31}, "31x31"),
        ({"shorter_sides": [72, 30], "crop": 30, "dense": POOL}, "30x30"),
        ({"shorter_sides": [20, 72], "crop": 16, "dense": CLASSIFY}, "20x20"),
        ({"shorter_sides": [72], "crop": 16, "dense": CLASSIFY}, "16x16"),
        ({"shorter_sides": [72], "crop": 1, "places": "corners+center", "mirror": True}, "1x1"),
    ],
)
def test_views_that_are_too_small_for_the_network_are_refused_before_a_picture_is_read(
    values: dict[str, Any], size: str, subject: Subject, photos: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PhotoFolder, "open", lambda *_: pytest.fail("a picture was read"))
    with pytest.raises(SpecError) as error:
        run(subject, photos, protocol(**values))
    assert str(error.value) == f"{size} pixels are too few for this network: it takes 32x32 or more"


def test_small_views_are_refused_for_small_networks_too(small: Pictures) -> None:
    subject = small_subject(small)
    tiny = find_protocol("single", subject.inputs.native).but({"crop": 3, "shorter_sides": [32]})
    with pytest.raises(SpecError, match="3x3 pixels are too few for this network: it takes 4x4 or more"):
        run(subject, small, tiny)


class Pooled(nn.Module):
    """Somebody's network, which pools all that it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def test_a_network_that_is_not_ours_pools_before_it_classifies(photos: PhotoFolder, subject: Subject) -> None:
    other = Subject(Pooled(), subject.inputs)
    found = run(other, photos, protocol(shorter_sides=[80], dense=POOL))
    for number, image in enumerate(images(photos)):
        np.testing.assert_allclose(found.logits[number, 0], taken_in([at(image, 80)]).mean(dim=(0, 2, 3)), atol=1e-5)
    with pytest.raises(SpecError, match=r"dense 'classify-then-average' is for reslab's networks; others pool before"):
        run(other, photos, protocol(shorter_sides=[80], dense=CLASSIFY))


@pytest.fixture(params=["1", "4", "9", "shuffled", "nothing waits"])
def grouped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures come in batches of so many, or in another order, or each alone."""

    def shuffled(*stream: Any) -> Iterator[ViewBatch]:
        batches = list(by_size(*stream))
        order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0)).tolist()
        return iter([batches[place] for place in order])

    if request.param.isdigit():
        monkeypatch.setattr(inputs, "PHOTO_TEST_BATCHES", {"cpu": int(request.param)})
    else:
        alone = {"nothing waits": lambda source, pixels: by_size(source, pixels, 0), "shuffled": shuffled}
        monkeypatch.setattr(views, "by_size", alone[request.param])


@pytest.fixture(scope="module")
def some_sizes(tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    """Fourteen pictures of four sizes."""
    root, draw = tmp_path_factory.mktemp("some"), np.random.default_rng(6)
    for name in "abcdefg":
        (root / name).mkdir()
        for number in range(2):
            width, height = ((70, 70), (70, 95), (95, 70), (64, 66))[int(draw.integers(4))]
            pixels = draw.integers(0, 120, (height, width, 3)) + draw.integers(0, 120, 3)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return PictureFolder(root).read("all")


PROTOCOLS: Final = {
    "ten": find_protocol("ten-crop", NATIVE),
    "pool": protocol(shorter_sides=[64, 75], dense=POOL, mirror=True),
    "classify": protocol(shorter_sides=[64, 100], dense=CLASSIFY, average="logits"),
}


@pytest.fixture(scope="module")
def plain(subject: Subject, some_sizes: PhotoFolder) -> dict[str, ViewScores]:
    """As it is tested where nothing is changed."""
    return {name: run(subject, some_sizes, of) for name, of in PROTOCOLS.items()}


@pytest.mark.usefixtures("grouped")
@pytest.mark.parametrize("name", PROTOCOLS)
def test_results_do_not_depend_on_how_pictures_are_put_together(
    name: str, subject: Subject, some_sizes: PhotoFolder, plain: dict[str, ViewScores]
) -> None:
    found = run(subject, some_sizes, PROTOCOLS[name])
    require_close(found, plain[name].logits, plain[name].probabilities, 1e-5)
    ours, theirs = (scored(one, some_sizes, PROTOCOLS[name]).scores for one in (found, plain[name]))
    for top in (1, 5):
        assert torch.equal(ours.hits(top), theirs.hits(top))
        assert ours.count(top) == theirs.count(top)
    assert 0 < theirs.count(5).errors < 14


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shares_of_the_pictures_have_the_scores_that_they_have_among_all(
    name: str, subject: Subject, some_sizes: PhotoFolder, plain: dict[str, ViewScores]
) -> None:
    parts = [run(subject, some_sizes, PROTOCOLS[name], which=which) for which in (range(5), range(5, 14))]
    together = ViewScores(*(np.concatenate([getattr(p, a) for p in parts]) for a in ("logits", "probabilities")))
    require_close(together, plain[name].logits, plain[name].probabilities)
    assert len(run(subject, some_sizes, PROTOCOLS[name], which=range(3, 3))) == 0
