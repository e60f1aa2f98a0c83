"""What Figures 6 and 7 share: a colour for each depth, the paper's points, names at the ends of curves."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from reslab.report.figure import SHADES

COLOURS: Final = dict(zip((20, 32, 44, 56, 110, 1202), (*SHADES, "#8e5bd0"), strict=True))
OTHER: Final = "#777777"  # depths that the paper does not draw
HOLLOW: Final[dict[str, Any]] = {"linestyle": "none", "markerfacecolor": "white", "markersize": 4.5, "zorder": 4}
NAME_HEIGHT: Final = 0.052  # of a panel's height


def colour_of(depth: int) -> str:
    """The same for a depth in every panel."""
    return COLOURS.get(depth, OTHER)


def hollow(axes: Axes, points: Sequence[tuple[float, float]], colour: str, marker: str = "o") -> None:
    """Draw readings of the paper's own curve, whole at the panel's edges too; nothing where there are none."""
    if points:  # an empty line that is not clipped has no extent, and the layout collapses
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, marker=marker, markeredgecolor=colour, markeredgewidth=1.1, clip_on=False, **HOLLOW)


def name_ends(axes: Axes, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Write each curve's name right of the panel, as near to where it ends as the other names let it.

    Args:
        axes: the panel, whose limits are set.
        ends: the curves' last values, by name.
        colours: likewise.
    """
    low, high = axes.get_ylim()
    heights = apart({name: (end - low) / (high - low) for name, end in ends.items()}, NAME_HEIGHT)
    for name, height in heights.items():
        place: dict[str, Any] = {"xycoords": "axes fraction", "va": "center", "annotation_clip": False}
        axes.annotate(name, (1.02, height), color=colours[name], fontweight="bold", fontsize=8, **place)


def apart(wanted: Mapping[str, float], gap: float) -> dict[str, float]:
    """Places at least ``gap`` from each other, in the same order and together as near to the ``wanted`` ones as can be.

    Args:
        wanted: places by name.
        gap: between neighbours.
    """
    order = sorted(wanted, key=lambda name: wanted[name])
    groups: list[list[str]] = []
    for name in order:
        groups.append([name])
        while len(groups) > 1 and _first(groups[-1], wanted, gap) - _last(groups[-2], wanted, gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    return {name: _first(group, wanted, gap) + i * gap for group in groups for i, name in enumerate(group)}


def _first(group: Sequence[str], wanted: Mapping[str, float], gap: float) -> float:
    """The lowest place of names that stand ``gap`` apart around the middle of their wishes."""
    return sum(wanted[name] for name in group) / len(group) - gap * (len(group) - 1) / 2


def _last(group: Sequence[str], wanted: Mapping[str, float], gap: float) -> float:
    return _first(group, wanted, gap) + gap * (len(group) - 1)
