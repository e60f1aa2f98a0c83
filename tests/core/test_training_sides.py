"""Random areas and growing crops as settings: what can be said, and the side of each step."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reslab.core.errors import SpecError
from reslab.core.experiment import Photographs, Progressive, RandomArea
from reslab.core.protocol import scaled

CALM = settings(deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
PARTS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


def naive_side(step: int, steps: int, sides: tuple[int, int], between: tuple[float, float], multiple: int) -> int:
    """As ffcv-imagenet describes it: linear between two points, flat outside, to the nearest multiple."""
    grown = np.interp(step / steps, between, sides)
    candidates = np.arange(sides[0], sides[1] + 1, multiple)
    nearest = np.abs(candidates - grown)
    return int(candidates[nearest <= nearest.min() + 1e-9].max())


def test_a_random_area_is_googlenets() -> None:
    assert (RandomArea().share, RandomArea().aspect) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (Photographs().area, Photographs().progressive) == (None, None)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"area": {"share": [0, 1]}}, "area.share.0 is 0: input should be greater than 0"),
        ({"area": {"share": [0.1, 1.1]}}, "area.share.1 is 1.1: input should be less than or equal to 1"),
        ({"area": {"share": [0.5, 0.4]}}, "area.share must rise, not 0.5 to 0.4"),
        ({"area": {"aspect": [2, 1]}}, "area.aspect must rise, not 2 to 1"),
        ({"area": {"aspect": [0, 1]}}, "area.aspect.0 is 0: input should be greater than or equal to 0.01"),
        ({"area": {"aspect": [1, 101]}}, "area.aspect.1 is 101: input should be less than or equal to 100"),
        ({"area": {"scale": [0.1, 1]}}, "unknown key 'area.scale'; did you mean 'area.share'"),
        ({"progressive": {}}, "progressive.sides is missing"),
        ({"progressive": {"sides": [224, 128]}}, "progressive.sides must rise, not 224 to 128"),
        ({"progressive": {"sides": [100, 224]}}, "progressive.sides must be multiples of 32, not 100"),
        ({"progressive": {"sides": [128, 230], "multiple": 2}}, None),
        ({"progressive": {"sides": [128, 230], "multiple": 4}}, "progressive.sides must be multiples of 4, not 230"),
        ({"progressive": {"sides": [0, 32]}}, "progressive.sides.0 is 0: input should be greater than 0"),
        ({"progressive": {"sides": [32, 32], "between": [0.5, 0.4]}}, "progressive.between must rise, not 0.5 to 0.4"),
        ({"progressive": {"sides": [32, 32], "between": [0, 1.5]}}, "progressive.between.1 is 1.5: input should be"),
        ({"progressive": {"sides": [32, 32], "multiple": 0}}, "progressive.multiple is 0: input should be greater"),
    ],
)
def test_what_cannot_be_is_one_line(values: dict[str, Any], line: str | None) -> None:
    if line is None:
        assert Photographs.parse(values).progressive is not None
        return
    with pytest.raises(SpecError, match=f"^given: {line}") as refusal:
        Photographs.parse(values, source="given")
    assert "\n" not in str(refusal.value)


def test_the_scale_need_not_fit_the_crop_where_it_has_no_part() -> None:
    large = {"contract": {"crop": 300, "shorter_side": 300}}
    with pytest.raises(SpecError, match="raise the scale"):
        Photographs.parse(large)
    assert Photographs.parse({**large, "area": {}}).scale == (256, 480)


@pytest.mark.parametrize(
    ("step", "side"),
    [(0, 128), (29, 128), (30, 128), (36, 128), (37, 160), (49, 160), (51, 192), (63, 192), (64, 224), (99, 224)],
)
def test_sides_worked_out_by_hand(step: int, side: int) -> None:
    """From 128 to 224 in 40 of 100 steps: 2.4 pixels a step; 144 is reached after 6.67 steps."""
    assert Progressive(sides=(128, 224), between=(0.3, 0.7)).side_at(step, 100) == side


@pytest.mark.parametrize(
    ("between", "expected"),
    [((0, 0), [64] * 4), ((1, 1), [32] * 4), ((0.5, 0.5), [32, 32, 64, 64]), ((0, 1), [32, 32, 64, 64])],
)
def test_the_ends_of_a_run(between: tuple[float, float], expected: list[int]) -> None:
    grown = Progressive(sides=(32, 64), between=between)
    assert [grown.side_at(step, 4) for step in range(4)] == expected


@CALM
@given(st.integers(1, 40), st.integers(0, 9), PARTS, st.sampled_from([1, 8, 32]), st.integers(1, 300))
def test_sides_are_the_nearest_multiples_on_the_line_and_never_shrink(
    first: int, more: int, between: list[float], multiple: int, steps: int
) -> None:
    sides = first * multiple, (first + more) * multiple
    grown = Progressive(sides=sides, between=(between[0], between[1]), multiple=multiple)
    found = [grown.side_at(step, steps) for step in range(steps)]
    assert found == sorted(found)
    assert all(side % multiple == 0 and sides[0] <= side <= sides[1] for side in found)
    for step, side in enumerate(found):
        if not (between[0] == between[1] == step / steps):  # a line without length, at its end
            naive = naive_side(step, steps, sides, (between[0], between[1]), multiple)
            exact = np.interp(step / steps, between, sides)
            assert side == naive or abs(abs(exact - side) - multiple / 2) < 1e-6


def test_crops_are_of_the_contract_where_nothing_grows() -> None:
    plain = Photographs()
    assert (plain.sides, [plain.side_at(step, 7) for step in (0, 3, 6)]) == ((224, 224), [224] * 3)
    growing = Photographs(progressive=Progressive(sides=(128, 288), between=(0, 1)))
    assert (growing.sides, growing.side_at(0, 20), growing.side_at(9, 20)) == ((128, 288), 128, 192)


@CALM
@given(st.integers(1, 300), st.integers(0, 200), st.integers(0, 300), st.integers(1, 400))
def test_the_scale_grows_with_the_crop_and_always_holds_it(crop: int, margin: int, more: int, side: int) -> None:
    contract = {"crop": crop, "shorter_side": crop}
    low, high = crop + margin, crop + margin + more
    photographs = Photographs.parse({"contract": contract, "scale": [low, high]})
    assert photographs.scale_for(crop) == (low, high)
    found = photographs.scale_for(side)
    assert side <= found[0] <= found[1]
    assert all(abs(one * crop - whole * side) <= crop / 2 for one, whole in zip(found, (low, high), strict=True))


@pytest.mark.parametrize(("side", "expected"), [(128, (146, 274)), (160, (183, 343)), (192, (219, 411))])
def test_scales_for_imagenets_crops(side: int, expected: tuple[int, int]) -> None:
    assert Photographs().scale_for(side) == expected == (scaled(256, side), scaled(480, side))


def test_settings_written_before_there_were_areas_are_read() -> None:
    older = Photographs().model_dump(mode="json", exclude={"area", "progressive"})
    assert Photographs.parse(older) == Photographs()
