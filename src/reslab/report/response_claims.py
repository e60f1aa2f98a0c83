"""Section 4.2 on layer responses, Figure 7: residual functions are small, and the smaller the deeper."""

import itertools
import statistics
from typing import Final

from reslab.report.claims import Claim, Networks
from reslab.report.findings import Answer, Finding
from reslab.report.finished import FinishedRun

MOST: Final = 0.9  # ours, for "nearly all": one rank of 18 may lie otherwise, the 20-layer pair's curves being so short
HALF: Final = 0.5  # ours: at or below it no order is left
DEEPEST_PAIR: Final = 56  # Figure 7 has no deeper plain network
FIGURE_7: Final = (20, 56, 110)  # its residual networks


def _residual_below_plain(networks: Networks) -> list[Finding]:
    depths = sorted(depth for residual, depth in networks if residual and depth <= DEEPEST_PAIR)
    pairs = [(networks[True, depth], networks[False, depth]) for depth in depths if (False, depth) in networks]
    return [_below(residual, plain) for residual, plain in pairs if _alike(residual, plain)]


def _deeper_is_smaller(networks: Networks) -> list[Finding]:
    measured = [networks[True, d] for d in FIGURE_7 if (True, d) in networks and networks[True, d].responses]
    return [_smaller(deep, shallow) for shallow, deep in itertools.pairwise(measured) if _alike(shallow, deep)]


def _below(residual: FinishedRun, plain: FinishedRun) -> Finding:
    """Rank by rank; the first is left out, as the paper's own curves meet there."""
    (_, *ours), (_, *theirs) = (sorted(run.responses or (), reverse=True) for run in (residual, plain))
    lower = sum(a < b for a, b in zip(ours, theirs, strict=True))
    share, medians = lower / len(ours), [statistics.median(ours), statistics.median(theirs)]
    ordered = share >= MOST and medians[0] < medians[1]
    answer: Answer = "holds" if ordered else "fails" if share <= HALF else "not separable"
    return Finding(
        f"sorted responses beyond the first, {residual.called} below {plain.called}",
        answer,
        measured=f"medians {medians[0]:.2f} and {medians[1]:.2f}",
        decided=f"lower at {lower} of {len(ours)} ranks ({100 * share:.0f} %) against {100 * MOST:.0f} %",
        n=_pictures(residual),
        numbers={"medians": medians, "lower": lower, "ranks": len(ours), "threshold": MOST, "n": _n(residual, plain)},
    )


def _smaller(deep: FinishedRun, shallow: FinishedRun) -> Finding:
    means, medians = (
        [statistic(run.responses or ()) for run in (deep, shallow)]
        for statistic in (statistics.mean, statistics.median)
    )
    lower = [means[0] < means[1], medians[0] < medians[1]]
    answer: Answer = "holds" if all(lower) else "not separable" if any(lower) else "fails"
    return Finding(
        f"responses, {deep.called} below {shallow.called}",
        answer,
        measured=f"means {means[0]:.3f} and {means[1]:.3f}, medians {medians[0]:.3f} and {medians[1]:.3f}",
        decided=f"differences {means[0] - means[1]:+.3f} and {medians[0] - medians[1]:+.3f}",
        n=_pictures(deep),
        numbers={"means": means, "medians": medians, "n": _n(deep, shallow)},
    )


def _alike(first: FinishedRun, second: FinishedRun) -> bool:
    """Whether the responses of both networks of section 4.2's form were measured, and in one way."""
    a, b = first.measured, second.measured
    if a is None or b is None or not (first.basic_cifar and second.basic_cifar):
        return False
    return (a.pictures, a.part, a.statistics) == (b.pictures, b.part, b.statistics)


def _n(*runs: FinishedRun) -> list[int]:
    return [run.measured.pictures for run in runs if run.measured]


def _pictures(run: FinishedRun) -> str:
    return " ".join(f"{n:,}" for n in _n(run))


RESPONSE_CLAIMS: Final = (
    Claim(
        "E1",
        "The layers of a residual network respond less than those of the plain network of its depth",
        "section 4.2, Figure 7; judged on the sorted responses up to 56 layers",
        _residual_below_plain,
    ),
    Claim(
        "E2",
        "The deeper a residual network, the smaller its responses",
        "section 4.2, Figure 7; judged on mean and median of 20, 56 and 110 layers",
        _deeper_is_smaller,
    ),
)
