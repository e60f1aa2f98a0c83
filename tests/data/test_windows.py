"""Which part of a picture becomes a crop: golden numbers, torchvision's rule written again, even draws."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.experiment import Photographs, RandomArea
from reslab.data import chance
from reslab.data.windows import TRIES, Draws, mirrored, part, window
from reslab.transforms.photographs import Crop, Size
from reslab.transforms.regions import Region

CALM = settings(deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.tuples(st.integers(1, 2000), st.integers(1, 2000))
SHARES = st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(sorted)
ASPECTS = st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)).map(sorted)
SEEDS = st.integers(0, 2**63 - 1)


def bits(seed: int, stream: int, epoch: int, number: int) -> int:
    return int(chance.words(seed, stream, epoch, np.array([number]))[0])


def naive(size: Size, area: RandomArea, draws: Draws) -> tuple[int, int, int, int]:
    """Left, top, width and height by ``RandomResizedCrop.get_params``, with numbers from ``chance.words``."""
    width, height = size

    def uniform(low: float, high: float, stream: int) -> float:
        return low + (high - low) * ((bits(draws.seed, stream, draws.epoch, draws.number) >> 11) / 2**53)

    def integer(bound: int, stream: int) -> int:
        return ((bits(draws.seed, stream, draws.epoch, draws.number) >> 32) * bound) >> 32

    for attempt in range(10):
        target = width * height * uniform(*area.share, 9 + 8 * attempt)
        aspect = math.exp(uniform(math.log(area.aspect[0]), math.log(area.aspect[1]), 10 + 8 * attempt))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return integer(width - w + 1, 2), integer(height - h + 1, 1), w, h
    w, h = width, height
    if width / height < min(area.aspect):
        h = max(1, round(w / min(area.aspect)))
    elif width / height > max(area.aspect):
        w = max(1, round(h * max(area.aspect)))
    return (width - w) // 2, (height - h) // 2, w, h


@pytest.mark.parametrize(
    ("epoch", "number", "size", "crop", "region"),
    [
        (0, 0, (500, 375), ((565, 424), 97, 94), (77, 53, 227, 262)),
        (3, 41, (375, 500), ((271, 361), 8, 127), (12, 229, 310, 253)),
        (90, 12, (640, 427), ((659, 440), 11, 37), (11, 39, 188, 202)),
        (0, 0, (1000, 10), ((42400, 424), 11983, 94), (493, 0, 13, 10)),
    ],
)
def test_windows_never_change(
    epoch: int, number: int, size: Size, crop: tuple[Size, int, int], region: tuple[int, int, int, int]
) -> None:
    draws = Draws(7, epoch, number)
    assert window(Photographs(), size, 224, draws) == Crop(*crop, 224)
    assert window(Photographs(area=RandomArea()), size, 224, draws) == Region(size, *region, 224)
    assert mirrored(Photographs(), draws)
    assert not mirrored(Photographs(flip=False), draws)


@CALM
@given(SIZES, SHARES, ASPECTS, SEEDS, st.integers(0, 900), st.integers(0, 2**31))
def test_a_region_is_torchvisions_from_these_draws(
    size: Size, share: list[float], aspect: list[float], seed: int, epoch: int, number: int
) -> None:
    area, draws = RandomArea(share=(share[0], share[1]), aspect=(aspect[0], aspect[1])), Draws(seed, epoch, number)
    found = part(area, size, 32, draws)
    assert found[1:5] == naive(size, area, draws)
    assert (found.size, found.side) == (size, 32)
    assert 0 <= found.left < found.left + found.width <= size[0]
    assert 0 <= found.top < found.top + found.height <= size[1]


@CALM
@given(SEEDS, st.integers(0, 900), st.integers(0, 2**31))
def test_in_a_picture_of_usual_shape_share_and_aspect_stay_within_their_bounds(
    seed: int, epoch: int, number: int
) -> None:
    found = part(RandomArea(), (500, 375), 224, Draws(seed, epoch, number))
    rounding = 1 / min(found.width, found.height)
    assert 0.08 * (1 - rounding) ** 2 <= found.width * found.height / (500 * 375) <= 1
    assert 3 / 4 * (1 - rounding) <= found.width / found.height <= 4 / 3 * (1 + rounding)


def test_shares_and_aspects_are_drawn_evenly_and_parts_lie_evenly() -> None:
    """Shares up to a half always fit into a square: Kolmogorov's distances within their bound at 0.999."""
    n, size, area = 3_000, (4_000, 4_000), RandomArea(share=(0.1, 0.5))
    found = [part(area, size, 224, Draws(5, 2, number)) for number in range(n)]
    shares = np.array([r.width * r.height / (size[0] * size[1]) for r in found])
    shapes = np.log([r.width / r.height for r in found])
    columns = np.array([r.left / (size[0] - r.width) for r in found])
    rows = np.array([r.top / (size[1] - r.height) for r in found])
    span = math.log(4 / 3)
    evenly = np.stack([(shares - 0.1) / 0.4, (shapes + span) / (2 * span), columns, rows])
    ranks = (np.arange(n) + 0.5) / n
    assert abs(np.sort(evenly, axis=1) - ranks).max() < 1.95 / math.sqrt(n)
    assert abs(np.corrcoef(evenly)[np.triu_indices(4, 1)]).max() < 4 / math.sqrt(n)


def test_a_second_draw_is_made_where_the_first_does_not_fit_and_the_central_part_is_taken_after_ten() -> None:
    area, wide = RandomArea(share=(0.5, 1)), (200, 100)
    tries = []
    for number in range(300):
        draws = Draws(1, 0, number)
        fitting = [attempt for attempt in range(TRIES) if part_of_try(area, wide, draws, attempt) is not None]
        found = part(area, wide, 32, draws)
        if fitting:
            assert found[3:5] == part_of_try(area, wide, draws, fitting[0])
        else:
            assert found == Region(wide, 33, 0, 133, 100, 32)
        tries.append(fitting[0] if fitting else TRIES)
    assert {0, 1, 2, 3} <= set(tries)
    assert part(RandomArea(share=(0.9, 1)), (200, 100), 32, Draws(1, 0, 0)) == Region(wide, 33, 0, 133, 100, 32)


def part_of_try(area: RandomArea, size: Size, draws: Draws, attempt: int) -> Size | None:
    share = draws.between(*area.share, chance.AREA + 8 * attempt)
    low, high = map(math.log, area.aspect)
    aspect = math.exp(draws.between(low, high, chance.ASPECT + 8 * attempt))
    width, height = (round(math.sqrt(share * size[0] * size[1] * turn)) for turn in (aspect, 1 / aspect))
    return (width, height) if width <= size[0] and height <= size[1] else None


@pytest.mark.parametrize("side", [16, 32, 48])
def test_at_another_side_the_crop_shows_the_same_part_of_the_picture(side: int) -> None:
    how = Photographs.parse({"contract": {"crop": 32, "shorter_side": 32}, "scale": [32, 64]})
    for number in range(50):
        draws = Draws(3, 1, number)
        usual, found = (window(how, (640, 480), asked, draws) for asked in (32, side))
        assert isinstance(usual, Crop)
        assert isinstance(found, Crop)
        assert found.side == side
        assert side <= min(found.resized) <= 2 * side
        shares = [crop.side / min(crop.resized) for crop in (usual, found)]
        assert shares[0] == pytest.approx(shares[1], rel=3 / 16)
