"""What people read off Figures 6 and 7: close to what the paper drew, and not published numbers."""

from dataclasses import dataclass
from typing import Any, Final

from reslab.core.paper import published

ERROR_READING: Final = 0.3  # points, either way
STD_READING: Final = 0.1  # likewise, of a standard deviation
STEP: Final = 10_000  # Figure 6's unit
END: Final = 6.4  # where its training ends, 1e4 iterations

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curve6:
    """One network of Figure 6: (iteration, error in percent), where an error could be read."""

    test: Points
    train: Points


def figure6(title: str, *, closing: bool = False) -> Curve6:
    """The readings of ``plain-20`` ... ``ResNet-1202``; empty where the figure has no such curve.

    Args:
        title: the network, as the figure names it.
        closing: of the right panel, which shows the end of the two deepest.
    """
    read = published("figures")["fig1_and_fig6"]
    test = read["right_panel_test" if closing else "test_bold"]
    if closing:
        return Curve6(_points(test["x_1e4"], test.get(title, ())), ())
    before = read["train_just_before_first_drop"].get(title), read["final_train_dashed"].get(title)
    train = _points((read["lr_drops_visible_1e4"][0], END), before)
    return Curve6(_points(test["x_1e4"], test.get(title, ())), train)


def final_test_error(title: str) -> float | None:
    """The last reading of a test error in Figure 6, in percent; None where the figure has no such curve."""
    test = figure6(title).test
    return test[-1][1] if test else None


def figure7(title: str) -> Points:
    """Figure 7, bottom: (rank, standard deviation), ranks from 1; empty where it has no such curve."""
    read = published("figures")["fig7"]["sorted_std_at_rank"]
    return _points(read["rank"], read.get(title, ()), unit=1)


def _points(places: Any, values: Any, unit: int = STEP) -> Points:
    """Pairs of numbers; what is missing or was read as a range only is left out."""
    pairs = zip(places, values, strict=False)
    return tuple((place * unit, float(value)) for place, value in pairs if isinstance(value, int | float))
