from collections.abc import Callable

import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reslab.core.paper.readings import figure7
from reslab.core.rundir import RunDirectory
from reslab.report.curves import colour_of
from reslab.report.figure import as_svg
from reslab.report.figure7 import draw_figure7
from reslab.report.finished import FinishedRun, finished

Maker = Callable[..., RunDirectory]


def rising(layers: int, most: float = 2.5) -> list[float]:
    return [0.7 + (most - 0.7) * i / (layers - 1) for i in range(layers)]


@pytest.fixture
def runs(make_published: Maker) -> list[FinishedRun]:
    depths = {"cifar-plain20": 19, "cifar-resnet20": 19, "cifar-resnet110": 109}
    made = [make_published(model, 8, 1, responses=rising(layers)) for model, layers in depths.items()]
    return finished([*made, make_published("cifar-plain56", 13, 6)])


def solid(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def test_above_is_the_layers_order_and_below_the_order_of_size(runs: list[FinishedRun]) -> None:
    above, below = draw_figure7(runs).axes
    assert (above.get_xlabel(), below.get_xlabel()) == ("layer index (original)", "layer index (sorted by magnitude)")
    for title, layers in (("plain-20", 19), ("ResNet-20", 19), ("ResNet-110", 109)):
        assert [*solid(above)[title].get_xdata()] == [*range(1, layers + 1)]
        assert [*solid(above)[title].get_ydata()] == rising(layers)
        assert [*solid(below)[title].get_ydata()] == rising(layers)[::-1]


def test_a_run_without_responses_is_left_out(runs: list[FinishedRun]) -> None:
    assert [*solid(draw_figure7(runs).axes[0])] == ["plain-20", "ResNet-20", "ResNet-110"]


def test_plain_and_residual_networks_are_told_apart_and_depths_by_colour(runs: list[FinishedRun]) -> None:
    lines = solid(draw_figure7(runs).axes[1])
    assert [line.get_linestyle() for line in lines.values()] == ["--", "-", "-"]
    assert [line.get_color() for line in lines.values()] == [colour_of(20), colour_of(20), colour_of(110)]


def test_the_axis_is_the_papers_until_responses_leave_it(runs: list[FinishedRun], make_run: Maker) -> None:
    assert draw_figure7(runs).axes[0].get_ylim() == (0.5, 3.5)
    low, high = (
        draw_figure7(finished([make_run("cifar-plain20", 9, 1, responses=[0.1, *rising(18, 5.0)])])).axes[0].get_ylim()
    )
    assert low < 0.1
    assert high > 5.0


def test_layers_are_whole_numbers(runs: list[FinishedRun]) -> None:
    for axes in draw_figure7(runs[:1]).axes:
        assert len(axes.get_xticks()) > 4
        assert all(tick == int(tick) for tick in axes.get_xticks())


def test_the_papers_points_lie_on_the_sorted_curves(runs: list[FinishedRun]) -> None:
    above, below = draw_figure7(runs, paper_points=True).axes
    marks = {str(line.get_markeredgecolor()): line for line in below.lines if line.get_marker() == "o"}
    assert [tuple(place) for place in marks[colour_of(110)].get_xydata()] == [*figure7("ResNet-110")]
    assert not any(line.get_marker() == "o" for line in above.lines)
    legend = above.get_legend()
    assert legend is not None
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["plain-20", "ResNet-20", "ResNet-110", "the paper, read off its figure, ±0.1"]


def test_points_of_the_paper_are_not_drawn_over_other_pictures_or_steps(make_run: Maker) -> None:
    for data in ("embedded", "cifar10"):
        runs = finished([make_run("cifar-plain20", 9, 1, data=data, responses=rising(19))])
        assert not any(line.get_marker() == "o" for line in draw_figure7(runs, paper_points=True).axes[1].lines)


def test_of_several_seeds_the_first_is_drawn(make_run: Maker) -> None:
    runs = [
        make_run("cifar-plain20", 9, 1, seed=seed, responses=rising(19, most)) for seed, most in ((1, 3.0), (0, 2.0))
    ]
    (line,) = solid(draw_figure7(finished(runs)).axes[0]).values()
    assert line.get_ydata()[-1] == 2.0


def test_equal_runs_make_equal_figures(runs: list[FinishedRun]) -> None:
    assert as_svg(draw_figure7(runs, paper_points=True)) == as_svg(draw_figure7(runs, paper_points=True))
