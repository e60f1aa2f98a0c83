import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reslab.cli.report import claims, report
from reslab.core.colour import Colour
from reslab.core.errors import RunError
from reslab.core.experiment import Augmentation, Experiment, ModelSpec, Photographs, Recipe
from reslab.core.rundir import RunDirectory
from reslab.experiments.deviations import LEDGER, deviations
from reslab.report.figure import as_png, as_svg, training_curves
from reslab.report.finished import FinishedRun, finished
from reslab.report.how_trained import how_trained
from reslab.report.page import write_report
from reslab.report.table import HEADINGS, rows_of

Maker = Callable[..., RunDirectory]
RECIPE = Recipe(steps=200, evaluate_every=50, log_every=50)


@pytest.fixture
def four(make_run: Maker) -> list[FinishedRun]:
    return finished(
        [
            make_run("cifar-resnet56", 22, 20),
            make_run("cifar-plain20", 30, 31),
            make_run("cifar-plain56", 60, 62),
            make_run("cifar-resnet20", 28, 25, early=50),
        ]
    )


def test_runs_are_in_the_papers_order(four: list[FinishedRun]) -> None:
    assert [run.title for run in four] == ["plain-20", "plain-56", "ResNet-20", "ResNet-56"]


def test_a_row_gives_interval_and_n(four: list[FinishedRun]) -> None:
    row = dict(zip(HEADINGS, rows_of(four)[0].cells, strict=True))
    assert row["test error %"] == "30.00 [28.03, 32.05] n=2,000"
    assert row["training error %"].endswith("n=6,400")
    assert row["multiply-adds"] == "7.8 M at 28x28"
    assert row["paper %"] == "-"
    assert row["time"] == "1 min 01 s"


def test_several_seeds_get_a_row_with_mean_and_spread(make_run: Maker) -> None:
    rows = rows_of(
        finished([make_run("cifar-plain20", error, 31, seed=seed) for seed, error in enumerate((30, 31, 35))])
    )
    assert [row.summary for row in rows] == [False, False, False, True]
    assert rows[-1].cells[5] == "32.00 ± 2.65 (3 seeds)"


def test_the_papers_number_stands_only_beside_the_papers_network_and_data(make_run: Maker) -> None:
    paper = make_run("cifar-resnet56", 7, 0, data="cifar10")
    narrow = make_run("cifar-resnet56", 7, 0, data="cifar10", width=8)
    embedded = make_run("cifar-resnet56", 7, 0)
    plain = make_run("cifar-plain56", 7, 0, data="cifar10")
    numbers = [finished([run])[0].paper_test_error for run in (paper, narrow, embedded, plain)]
    assert numbers == [6.97, None, None, None]


def test_the_figure_has_two_panels_with_shared_axes_thin_training_and_bold_test(four: list[FinishedRun]) -> None:
    plain, residual = training_curves(four).axes
    assert plain.get_ylim() == residual.get_ylim()
    assert plain.get_xlim() == residual.get_xlim()
    for axes, names in ((plain, {"plain-20", "plain-56"}), (residual, {"ResNet-20", "ResNet-56"})):
        curves = [line for line in axes.lines if len(line.get_xdata()) == 4]
        assert sorted({line.get_linewidth() for line in curves}) == [0.9, 2.4]
        assert len(curves) == 4
        assert {text.get_text() for text in axes.texts} == names
        drops = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
        assert drops == [100, 150]


def test_colours_are_told_apart_in_grey(four: list[FinishedRun]) -> None:
    plain = training_curves(four).axes[0]
    colours = {line.get_color() for line in plain.lines if line.get_linewidth() > 2}
    greys = sorted(
        0.299 * int(c[1:3], 16) + 0.587 * int(c[3:5], 16) + 0.114 * int(c[5:7], 16) for c in map(str, colours)
    )
    assert len(greys) == 2
    assert greys[1] - greys[0] > 64


def test_equal_runs_make_equal_pictures(four: list[FinishedRun]) -> None:
    assert as_svg(training_curves(four)) == as_svg(training_curves(four))
    assert as_png(training_curves(four)) == as_png(training_curves(four))


def test_the_page_is_self_contained_and_complete(four: list[FinishedRun], tmp_path: Path) -> None:
    written = write_report(four, tmp_path / "out" / "page.html")
    page = written.html.read_text()
    loaded = re.findall(r"""(?:src|href)\s*=\s*["'](?!#)([^"']+)""", page)
    assert [place for place in loaded if not place.startswith("#")] == []
    assert not re.search(r"@import|url\((?!#)", page)
    assert page.count("<svg") == 1
    assert all(title in page for title in ("plain-20", "plain-56", "ResNet-20", "ResNet-56"))
    assert page.count('class="badge') == 9
    assert "Table 6: test error" not in page
    assert "Fashion-MNIST, 200 steps" in page
    assert all(path.stat().st_size > 1000 for path in written.figures)
    assert {path.suffix for path in written.figures} == {".svg", ".png"}
    markdown = written.markdown.read_text()
    assert "| plain-56 | 0 |" in markdown
    assert "**D1: holds.**" in markdown
    assert "](figures/training-curves.png)" in markdown


@pytest.fixture
def on_cifar10(make_published: Maker) -> list[FinishedRun]:
    stds = [2.0 - i / 20 for i in range(19)]
    warm = [make_published("cifar-resnet110", error, 0, seed=seed) for seed, error in enumerate((6.5, 6.7))]
    plain = make_published("cifar-plain20", 9.7, 1.4, responses=[std + 0.3 for std in stds])
    return finished([plain, make_published("cifar-resnet20", 8.8, 0.8, responses=stds), *warm])


def test_runs_on_cifar10_get_table_6_and_figures_6_and_7(on_cifar10: list[FinishedRun], tmp_path: Path) -> None:
    written = write_report(on_cifar10, tmp_path / "page.html")
    page, markdown = written.html.read_text(), written.markdown.read_text()
    assert [figure.name for figure in written.figures] == ["figure6.svg", "figure6.png", "figure7.svg", "figure7.png"]
    assert page.count("<svg") == 2
    assert page.count("<figcaption>Figure 6. ") == page.count("<figcaption>Figure 7. ") == 1
    assert "](figures/figure6.png)" in markdown
    assert "](figures/figure7.png)" in markdown
    assert "(10,000 test pictures, running statistics)" in page
    cells = ("best 6.50 (mean 6.60 ± 0.14) n=10,000 each", "within 0.5 of 6.61", "9.7 ± 0.3")
    for text in (page, markdown):
        assert all(cell in text for cell in cells)
        assert "Suggested tolerance" in text
        assert "warm-up of ResNet-110 alone" in text
        assert "lower at 18 of 18 ranks (100 %) against 90 %" in text
    assert written.table6 is not None
    assert written.table6.rows[10].mean == pytest.approx(6.6)
    assert "**E1: holds.**" in markdown


def test_table_6_is_on_the_page_once_however_many_settings_there_are(make_run: Maker, tmp_path: Path) -> None:
    runs = finished([make_run("cifar-resnet20", 30, 31, data="cifar10", **width) for width in ({}, {"width": 8})])
    written = write_report(runs, tmp_path / "page.html")
    page = written.html.read_text()
    assert page.count("<h2>Table 6") == 1
    assert page.count("<figcaption>Figure 6. ") == 2
    assert len({figure.name for figure in written.figures}) == 4


def test_other_pictures_get_training_curves_and_no_table_6(four: list[FinishedRun], tmp_path: Path) -> None:
    written = write_report(four, tmp_path / "page.html")
    assert [figure.name for figure in written.figures] == ["training-curves.svg", "training-curves.png"]
    assert written.table6 is None


def test_the_papers_points_are_drawn_when_asked_for(on_cifar10: list[FinishedRun], tmp_path: Path) -> None:
    plain, pointed = (
        write_report(on_cifar10, tmp_path / str(points) / "page.html", points).figures for points in (False, True)
    )
    for without, with_points in zip(plain, pointed, strict=True):
        assert without.name == with_points.name
        assert without.read_bytes() != with_points.read_bytes()


def test_the_page_says_where_the_papers_points_do_not_belong(make_run: Maker, tmp_path: Path) -> None:
    runs = finished([make_run("cifar-resnet20", 30, 31, data="cifar10")])
    left_out = "The paper&#39;s points are left out: they belong to 64,000 steps on CIFAR-10."
    assert left_out in write_report(runs, tmp_path / "page.html", paper_points=True).html.read_text()
    assert left_out not in write_report(runs, tmp_path / "page.html").html.read_text()


def test_equal_runs_make_equal_pages(on_cifar10: list[FinishedRun], tmp_path: Path) -> None:
    first, second = (write_report(on_cifar10, tmp_path / name / "page.html", paper_points=True) for name in ("a", "b"))
    assert first.html.read_bytes() == second.html.read_bytes()
    assert first.markdown.read_bytes() == second.markdown.read_bytes()


def test_the_terminal_shows_table_6_before_the_verdicts(
    on_cifar10: list[FinishedRun], capsys: pytest.CaptureFixture[str]
) -> None:
    claims(*(Path(run.directory) for run in on_cifar10))
    printed = capsys.readouterr().out
    assert printed.index("Table 6: test error") < printed.index("Plain networks, which") < printed.index("\nD1  ")
    assert "within 0.5 of 6.61" in printed
    assert "seed 0: sorted responses beyond the first, ResNet-20 below plain-20: medians" in printed


def test_the_terminal_has_no_table_6_for_other_pictures(
    four: list[FinishedRun], capsys: pytest.CaptureFixture[str]
) -> None:
    claims(*(Path(run.directory) for run in four))
    assert "Table 6:" not in capsys.readouterr().out


def test_report_prints_table_6_and_has_it_in_json(
    on_cifar10: list[FinishedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places, out = [Path(run.directory) for run in on_cifar10], tmp_path / "page.html"
    report(*places, out=out, paper_points=True)
    assert "Table 6: test error" in capsys.readouterr().out
    report(*places, out=out, json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["table6"]["rows"][10]["errors"] == [6.5, 6.7]
    assert len(printed["figures"]) == 4


def test_each_setting_gets_a_section(make_run: Maker, tmp_path: Path) -> None:
    runs = finished([make_run("cifar-plain20", 30, 31), make_run("cifar-plain20", 30, 31, width=8)])
    written = write_report(runs, tmp_path / "page.html")
    assert written.html.read_text().count("<svg") == 2
    assert len(written.figures) == 4


def test_text_from_a_run_is_escaped(make_run: Maker, tmp_path: Path) -> None:
    run = make_run("cifar-plain20", 30, 31)
    run.write("environment.json", {"processor": "<script>alert(1)</script>"})
    page = write_report(finished([run]), tmp_path / "page.html").html.read_text()
    assert "<script>" not in page


def test_the_ledger_shows_what_touches_the_runs(make_run: Maker) -> None:
    paper = finished([make_run("cifar-resnet56", 7, 0, data="cifar10")])[0].experiment.but(
        {"recipe": {"steps": 64_000}}
    )
    narrow = finished([make_run("cifar-resnet56", 7, 0, width=8)])[0].experiment
    assert {"pictures", "width", "length"} <= {line.topic for line in deviations([narrow])}
    assert not {"pictures", "width", "length", "classes"} & {line.topic for line in deviations([paper])}
    blocks = {"blocks", "a bottleneck's stride", "first pooling", "batch normalisation's epsilon"}
    assert not blocks & {line.topic for line in deviations([paper])}
    changed = paper.but({"model": {"name": "cifar-bottleneck29", "stride_on": "3x3", "bn_eps": 1e-3}})
    assert blocks - {"first pooling"} <= {line.topic for line in deviations([changed])}
    assert "first pooling" in {line.topic for line in deviations([paper.but({"model": {"name": "resnet18"}})])}
    assert len({line.topic for line in LEDGER}) == len(LEDGER)


@pytest.mark.parametrize(
    ("changes", "topics"),
    [
        ({}, {"mean"}),
        ({"colour": None}, {"mean", "colour"}),
        ({"contract": {"mean": [1, 2, 3], "mean_image": "ab" * 32}}, set()),
        ({"contract": {"mean": [1, 2, 3]}}, {"mean", "preparation"}),
        ({"contract": {"mean": [1, 2, 3], "mean_image": "ab" * 32, "order": "BGR"}}, {"preparation"}),
        ({"scale": [300, 400]}, {"mean", "preparation"}),
        ({"area": {}, "scale": [300, 400]}, {"mean", "random area"}),
        ({"progressive": {"sides": [128, 224]}}, {"mean", "progressive sides"}),
        ({"contract": {"resample": "bicubic"}}, {"mean"}),
    ],
)
def test_the_ledger_follows_colours_and_means(changes: dict[str, Any], topics: set[str]) -> None:
    photographs = Photographs(colour=Colour()).but(changes)
    experiment = Experiment(model=ModelSpec(name="resnet18"), data="folder", recipe=Recipe(photographs=photographs))
    found = {line.topic for line in deviations([experiment])}
    assert found & {"mean", "colour", "preparation", "random area", "progressive sides"} == topics
    assert ("colour's strength" in found) == (photographs.colour is not None)
    bicubic = photographs.contract.resample == "bicubic"
    assert found & {"interpolation", "bicubic interpolation"} == {
        "bicubic interpolation" if bicubic else "interpolation"
    }


@pytest.mark.parametrize("data", ["cifar10", "folder"])
def test_the_ledger_says_how_initial_weights_were_drawn_and_resizing_of_photographs_alone(data: Any) -> None:
    recipe = Recipe(photographs=Photographs() if data == "folder" else None)
    experiment = Experiment(model=ModelSpec(name="cifar-resnet8"), data=data, recipe=recipe)
    initial = "initial weights", "classifier's initial weights"
    usual = {line.topic for line in deviations([experiment])}
    assert {topic for topic in usual if topic.startswith(initial)} == set(initial)
    assert ("interpolation" in usual) == (data == "folder")
    changed = experiment.but({"recipe": {"init": {"fan": "fan_in", "classifier": "he"}}})
    topics = {line.topic for line in deviations([changed])}
    others = {"initial weights by fan_in", "classifier's initial weights by He et al. 2015"}
    assert (topics - usual, usual - topics) == (others, set(initial))


@pytest.fixture
def recomputed(make_run: Maker) -> RunDirectory:
    """A run whose 30 % were 31.5 % before its batch statistics were recomputed."""
    run = make_run("cifar-resnet20", 30, 25, recipe=RECIPE.but({"bn_average": 500}))
    pair = {"difference": 1.5, "interval": [0.2, 2.8], "p_value": 0.024, "n": 2000}
    before = {"pictures": 512, "groups": 8, "error_before": 31.5, "interval_before": [29.5, 33.6], "hits_before": 1370}
    run.write("result.json", {**(run.result() or {}), "bn_average": {**before, "n": 2000, "paired": pair}})
    return run


def test_recomputed_batch_statistics_are_shown_with_the_error_before_and_after(
    recomputed: RunDirectory, make_run: Maker, tmp_path: Path
) -> None:
    runs = finished([recomputed, make_run("cifar-resnet20", 28, 25)])
    written = write_report(runs, tmp_path / "page.html")
    page, markdown = written.html.read_text(), written.markdown.read_text()
    cells = ("512 pictures", "31.50 [29.50, 33.57] n=2,000", "30.00 [28.03, 32.05] n=2,000", "+1.50 [+0.20, +2.80]")
    assert f"| ResNet-20 | 0 | {' | '.join(cells)} | 0.024 |" in markdown
    assert all(f'<td class="number">{cell}</td>' in page for cell in cells)
    for text in (page, markdown):
        assert text.count("Batch statistics: moving averages and true ones") == 1
        assert text.count("Fashion-MNIST, 200 steps of 128, batch statistics recomputed") == 1
        assert text.count("over the groups of the 512 training pictures that would have come next") == 1
        assert text.count("running averages with momentum 0.1") == text.count("recomputed batch statistics |") + (
            text.count("<td>recomputed batch statistics</td>")
        )
    assert "batch statistics: averaged over 512 training pictures at the end" in page
    assert page.count("batch statistics: averaged over") == 1


def test_the_final_error_of_recomputed_statistics_is_a_hollow_mark_at_the_last_step(
    recomputed: RunDirectory, tmp_path: Path
) -> None:
    kept, hollow = recomputed.result() or {}, "Hollow: the final test error, with batch statistics averaged"
    changed = finished([recomputed])
    figure = training_curves(changed)
    (mark,) = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert mark.get_xydata().tolist() == [[200, 30]]
    (curve,) = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.4]
    assert (mark.get_color(), mark.get_marker()) == (curve.get_color(), curve.get_marker())
    assert str(figure.get_suptitle()).endswith("hollow: test error once batch statistics were averaged")
    assert hollow in write_report(changed, tmp_path / "page.html").html.read_text()
    recomputed.write("result.json", {**kept, "bn_average": {**kept["bn_average"], "hits_before": kept["hits"]}})
    same = finished([recomputed])
    assert not [line for line in training_curves(same).axes[0].lines if line.get_markerfacecolor() == "white"]
    assert "hollow" not in str(training_curves(same).get_suptitle())
    assert hollow not in write_report(same, tmp_path / "page.html").html.read_text()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"pictures": 0}, "bn_average.pictures: input should be greater than 0"),
        ({"hits_before": None}, "bn_average.hits_before: input should be a valid integer"),
        ({"paired": {}}, "bn_average.paired.difference: field required"),
        ({"paired": {"difference": 1.5, "interval": [1.0], "p_value": 0.5}}, "bn_average.paired.interval: list should"),
    ],
)
def test_damage_to_what_was_recomputed_is_one_line(
    change: dict[str, Any], fault: str, recomputed: RunDirectory
) -> None:
    kept = recomputed.result() or {}
    recomputed.write("result.json", {**kept, "bn_average": {**kept["bn_average"], **change}})
    with pytest.raises(RunError, match=f"result.json is damaged: {fault}"):
        finished([recomputed])


def test_samples_that_were_replaced_are_counted_among_those_of_the_recomputing_too(make_photo_run: Maker) -> None:
    pair = {"difference": 0.0, "interval": [0.0, 0.0], "p_value": 1.0}
    before = {"pictures": 64, "groups": 2, "hits_before": 2, "n": 4, "paired": pair}
    result = {"replaced": 3, "bn_average": before}
    run = make_photo_run([0, 1, 0, 1], [0, 1, 1, 0], [0.9] * 4, ["a", "b"], recipe={"bn_average": 64}, result=result)
    assert "in 3 of 704 training samples" in how_trained(finished([run]))


def test_one_of_a_thing_is_no_plural(make_run: Maker) -> None:
    recipe = Recipe(steps=4, batch=1, bn_group=1, validation=1, augment=Augmentation(pad=1))
    (run,) = finished([make_run("cifar-plain20", 30, 31, recipe=recipe, width=1)])
    assert run.setting == "Fashion-MNIST, 4 steps of 1, first stage 1 filter wide, 1 training picture set aside"
    assert "crops from 1 padded pixel and mirror images; batch normalisation over 1 picture;" in how_trained([run])


def test_a_cosine_and_smoothed_labels_are_said_and_no_line_is_drawn(make_run: Maker, tmp_path: Path) -> None:
    course = {"drops": (), "cosine": True, "ramp": 0.1}
    run = make_run("cifar-resnet20", 40, 40, recipe=RECIPE.but({"schedule": course, "label_smoothing": 0.1}))
    page = write_report(finished([run]), tmp_path / "page.html").html.read_text()
    assert "Rate 0.1, reached after 20 steps, falling to zero as a cosine; momentum" in page
    assert "; labels smoothed by 0.1; no warm-up." in page
    assert "Dotted lines" not in page
    assert {"labels", "another course of the rate"} <= {line.topic for line in deviations([run.experiment])}


def test_plateaus_are_named_by_run_and_drawn(make_run: Maker, tmp_path: Path) -> None:
    run = make_run("cifar-resnet20", 40, 40, recipe=RECIPE.but({"schedule": {"drops": (), "plateau": {}}}))
    run.write("result.json", {**(run.result() or {}), "rate_divided_at": [100, 150]})
    runs = finished([run])
    page = write_report(runs, tmp_path / "page.html").html.read_text()
    assert "Rate 0.1, divided by 10 where the training error no longer fell; momentum" in page
    assert "ResNet-20, seed 0: the rate was divided at steps 100, 150." in page
    assert "Dotted lines: the learning rate is divided. Training error" in page
    assert [line.get_xdata()[0] for line in training_curves(runs).axes[0].lines if line.get_linewidth() == 0.8] == [
        100,
        150,
    ]
    assert "plateau" in {line.topic for line in deviations([run.experiment])}
