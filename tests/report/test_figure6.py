from collections.abc import Callable
from itertools import pairwise

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reslab.core.experiment import Recipe
from reslab.core.paper.readings import figure6
from reslab.core.rundir import RunDirectory
from reslab.report.curves import apart, colour_of
from reslab.report.figure import as_svg
from reslab.report.figure6 import draw_figure6
from reslab.report.finished import FinishedRun, finished

Maker = Callable[..., RunDirectory]
ERRORS = {
    "cifar-plain20": (9.7, 1.4),
    "cifar-plain56": (13.3, 5.8),
    "cifar-plain110": (75.0, 76.0),
    "cifar-resnet20": (8.8, 0.8),
    "cifar-resnet56": (7.0, 0.1),
    "cifar-resnet110": (6.5, 0.05),
    "cifar-resnet1202": (7.9, 0.02),
}


@pytest.fixture
def runs(make_published: Maker) -> list[FinishedRun]:
    return finished([make_published(model, *errors, early=18) for model, errors in ERRORS.items()])


def of(runs: list[FinishedRun], *titles: str) -> list[FinishedRun]:
    return [run for run in runs if run.title in titles]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def names(axes: Axes) -> dict[str, float]:
    """Names at the ends of curves, with their height."""
    return {text.get_text(): text.xyann[1] for text in axes.texts if hasattr(text, "xyann")}


def curves(axes: Axes, *, dashed: bool) -> list[Line2D]:
    return [line for line in axes.lines if len(line.get_xdata()) == 4 and (line.get_linestyle() == "--") is dashed]


def markers(axes: Axes) -> list[tuple[str, str, list[tuple[float, float]]]]:
    """Hollow marks: their shape, their colour, their places."""
    found = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    places = [[(float(x), float(y)) for x, y in line.get_xydata()] for line in found]
    return [(str(line.get_marker()), str(line.get_markeredgecolor()), p) for line, p in zip(found, places, strict=True)]


def test_there_are_the_papers_three_panels_on_its_axes(runs: list[FinishedRun]) -> None:
    figure = draw_figure6(runs)
    assert titles(figure) == ["plain networks", "residual networks", "the end of the deepest"]
    assert [axes.get_xlim() for axes in figure.axes] == [(0, 64_000), (0, 64_000), (36_000, 64_000)]
    assert {axes.get_ylim() for axes in figure.axes} == {(0, 20)}
    assert [axes.get_xlabel() for axes in figure.axes] == ["iterations (1e4)"] * 3
    axes = figure.axes[0]
    assert axes.xaxis.get_major_formatter()(30_000, 0) == "3"


def test_each_panel_has_its_networks_with_training_dashed_and_test_bold(runs: list[FinishedRun]) -> None:
    plain, residual, closing = draw_figure6(runs).axes
    assert [*names(plain)] == ["plain-20", "plain-56"]
    assert [*names(residual)] == ["ResNet-110", "ResNet-56", "ResNet-20"]
    assert [*names(closing)] == ["ResNet-110", "ResNet-1202"]
    assert [line.get_ydata()[-1] for line in curves(residual, dashed=False)] == [8.8, 7.0, 6.5]
    assert [line.get_ydata()[-1] for line in curves(residual, dashed=True)] == pytest.approx([0.8, 0.1, 0.05], abs=0.02)
    assert all(
        thin.get_linewidth() < bold.get_linewidth()
        for thin, bold in zip(curves(plain, dashed=True), curves(plain, dashed=False), strict=True)
    )


def test_the_drops_are_dotted_lines(runs: list[FinishedRun]) -> None:
    for axes in draw_figure6(runs).axes:
        assert [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2] == [32_000, 48_000]


def test_a_depth_has_one_colour_and_no_two_in_a_panel_share_it(runs: list[FinishedRun]) -> None:
    for axes in draw_figure6(runs).axes:
        colours = [line.get_color() for line in curves(axes, dashed=False)]
        assert len(set(colours)) == len(colours)
        assert colours == [line.get_color() for line in curves(axes, dashed=True)]
    assert len({colour_of(depth) for depth in (20, 32, 44, 56, 110, 1202)}) == 6


def test_plain_110_above_60_percent_is_told_and_not_drawn(runs: list[FinishedRun]) -> None:
    axes = draw_figure6(of(runs, "plain-20", "plain-110")).axes[0]
    assert "plain-110: 75.0 %,\nnot displayed" in [text.get_text() for text in axes.texts]
    assert len(curves(axes, dashed=False)) == 1
    assert axes.get_ylim() == (0, 20)
    assert titles(draw_figure6(of(runs, "plain-110"))) == ["plain networks"]


def test_plain_110_that_learned_is_drawn_and_the_axis_makes_room(make_published: Maker) -> None:
    axes = draw_figure6(finished([make_published("cifar-plain110", 40, 38)])).axes[0]
    assert [*names(axes)] == ["plain-110"]
    assert axes.get_ylim()[1] > 40
    assert not any("displayed" in text.get_text() for text in axes.texts)


def test_a_panel_without_a_run_is_left_out(runs: list[FinishedRun]) -> None:
    assert titles(draw_figure6(of(runs, "ResNet-20", "ResNet-110"))) == ["residual networks"]
    assert titles(draw_figure6(of(runs, "ResNet-1202"))) == ["the end of the deepest"]
    assert titles(draw_figure6(of(runs, "plain-20", "ResNet-1202"))) == ["plain networks", "the end of the deepest"]


def test_the_papers_points_lie_on_its_readings_in_the_colours_of_the_curves(runs: list[FinishedRun]) -> None:
    plain, residual, closing = draw_figure6(runs, paper_points=True).axes
    for axes, title, depth in ((plain, "plain-20", 20), (residual, "ResNet-110", 110)):
        read = figure6(title)
        assert ("o", colour_of(depth), [*read.test]) in markers(axes)
        assert ("D", colour_of(depth), [*read.train]) in markers(axes)
    assert ("o", colour_of(1202), [*figure6("ResNet-1202", closing=True).test]) in markers(closing)
    assert len(markers(closing)) == 2
    assert {colour for _, colour, _ in markers(plain)} == {colour_of(20), colour_of(56)}


def test_the_legend_says_where_the_points_come_from(runs: list[FinishedRun]) -> None:
    (legend,) = draw_figure6(runs, paper_points=True).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "training error",
        "test error",
        "the paper's test error, read off its figure, ±0.3",
        "the paper's training error, read off its figure, ±0.3",
    ]
    (legend,) = draw_figure6(runs).legends
    assert len(legend.get_texts()) == 2
    assert [markers(axes) for axes in draw_figure6(runs).axes] == [[], [], []]


def test_a_shorter_schedule_has_its_own_axis_and_no_points_of_the_paper(make_run: Maker) -> None:
    run = make_run("cifar-resnet20", 40, 38, data="cifar10")
    figure = draw_figure6(finished([run]), paper_points=True)
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 200)
    assert axes.get_xlabel() == "iterations"
    assert axes.get_ylim()[1] == pytest.approx(1.08 * 40)
    assert markers(axes) == []
    assert len(figure.legends[0].get_texts()) == 2


def test_of_several_seeds_the_first_is_drawn_in_the_band_of_all(make_published: Maker) -> None:
    errors = (8.8, 9.1, 8.6)
    runs = [make_published("cifar-resnet20", error, 0.8, seed=seed) for seed, error in enumerate(errors)]
    (axes,) = draw_figure6(finished(runs)).axes
    assert [*names(axes)] == ["ResNet-20 (3 seeds)"]
    (curve,), (band,) = curves(axes, dashed=False), axes.collections
    assert curve.get_ydata()[-1] == 8.8
    heights = {round(y, 6) for x, y in band.get_paths()[0].vertices if x == 64_000}
    assert heights == {8.6, 9.1}


def test_runs_of_one_network_that_warmed_up_and_did_not_make_no_band(make_published: Maker, make_run: Maker) -> None:
    cold = make_run("cifar-resnet110", 9, 1, seed=0, data="cifar10", n=10_000, recipe=Recipe())
    (axes,) = draw_figure6(finished([cold, make_published("cifar-resnet110", 6.5, 0.1, seed=1)])).axes
    assert [*names(axes)] == ["ResNet-110"]
    assert [line.get_ydata()[-1] for line in curves(axes, dashed=False)] == [6.5]


def test_training_error_is_the_mean_over_a_64th_of_the_steps(make_run: Maker) -> None:
    run = make_run("cifar-resnet20", 9, 10, data="cifar10", recipe=Recipe(steps=6400))
    logged = {50: 40.0, 100: 20.0, 150: 12.0, 200: 8.0, 6400: 1.0}
    line = run.metrics()[-1]
    run.rewind_metrics(0)
    for step, error in logged.items():
        run.append_metrics({**line, "step": step, "train_error": error})
    (axes,) = draw_figure6(finished([run])).axes
    dashed, _ = (curve for curve in axes.lines if curve.get_color() == colour_of(20))
    assert dashed.get_xydata().tolist() == [[100, 30], [200, 10], [6400, 1]]


def test_a_run_with_one_test_shows_it(make_run: Maker) -> None:
    run = make_run("cifar-resnet20", 40, 38, data="cifar10")
    (line,) = [line for line in run.metrics() if line["step"] == 200]
    run.rewind_metrics(0)
    run.append_metrics(line)
    (axes,) = draw_figure6(finished([run])).axes
    assert [str(curve.get_marker()) for curve in axes.lines if curve.get_color() == colour_of(20)] == ["o", "o"]


def test_the_points_of_a_long_run_are_not_marked(make_run: Maker) -> None:
    run = make_run("cifar-resnet20", 40, 38, data="cifar10", recipe=Recipe(steps=6400))
    line = run.metrics()[-1]
    run.rewind_metrics(0)
    for step in range(100, 6401, 100):
        run.append_metrics({**line, "step": step})
    (axes,) = draw_figure6(finished([run])).axes
    assert [str(curve.get_marker()) for curve in axes.lines if curve.get_color() == colour_of(20)] == ["", ""]


def test_equal_runs_make_equal_figures(runs: list[FinishedRun]) -> None:
    assert as_svg(draw_figure6(runs, paper_points=True)) == as_svg(draw_figure6(runs, paper_points=True))


def test_names_keep_apart_in_their_order_and_near_their_curves(runs: list[FinishedRun]) -> None:
    heights = [*names(draw_figure6(runs).axes[1]).values()]
    assert all(above - below >= 0.05 for below, above in pairwise(heights))
    assert apart({"a": 0.5, "b": 0.2}, 0.1) == pytest.approx({"b": 0.2, "a": 0.5})
    assert apart({"a": 0.5, "b": 0.5}, 0.1) == pytest.approx({"a": 0.45, "b": 0.55})
    three = apart({"low": 0.38, "a": 0.5, "b": 0.5}, 0.1)
    assert [three[name] for name in ("low", "a", "b")] == pytest.approx([0.36, 0.46, 0.56])
