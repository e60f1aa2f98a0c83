import pytest

from reslab.core.paper import cifar10_test_error, published
from reslab.core.paper.printed import table6
from reslab.core.paper.readings import Curve6, figure6, figure7, final_test_error


@pytest.mark.parametrize(
    ("depth", "error"), [(20, 8.75), (32, 7.51), (44, 7.17), (56, 6.97), (110, 6.43), (1202, 7.93)]
)
def test_table_6_gives_the_test_error_of_each_resnet(depth: int, error: float) -> None:
    assert cifar10_test_error(f"cifar-resnet{depth}") == error


@pytest.mark.parametrize("model", ["cifar-resnet8", "cifar-plain20", "resnet50", ""])
def test_a_network_that_table_6_does_not_have_gives_none(model: str) -> None:
    assert cifar10_test_error(model) is None


def test_every_network_of_the_paper_has_its_size() -> None:
    sizes = published("sizes")
    assert len(sizes) == 41
    for row in sizes.values():
        assert row["params"] == row["conv"] + row["bn"] + row["fc"]


def test_table_1_prints_the_multiply_adds_that_sizes_hold() -> None:
    printed = published("results")["table1_flops_printed_1e9"]
    sizes = published("sizes")
    for depth in ("18", "34", "50", "101", "152"):
        kind = "plain" if depth in ("18", "34") else "B"
        assert abs(sizes[f"{depth}-{kind}"]["macs"] / 1e9 - printed[depth]) < 0.06


def test_table_6_prints_the_parameters_that_sizes_hold() -> None:
    rows = published("results")["table6_cifar10_test"]
    for depth in (20, 32, 44, 56, 110, 1202):
        millions = published("sizes")[f"cifar-{depth}-A"]["params"] / 1e6
        assert abs(millions - rows[f"ResNet-{depth}"]["params_M"]) < 0.05


def test_table_6_is_as_printed() -> None:
    rows = [(row.method, row.layers, row.parameters, row.text) for row in table6()]
    assert rows == [
        ("Maxout", None, None, "9.38"),
        ("NIN", None, None, "8.81"),
        ("DSN", None, None, "8.22"),
        ("FitNet", 19, "2.5M", "8.39"),
        ("Highway", 19, "2.3M", "7.54 (7.72±0.16)"),
        ("Highway", 32, "1.25M", "8.80"),
        ("ResNet", 20, "0.27M", "8.75"),
        ("ResNet", 32, "0.46M", "7.51"),
        ("ResNet", 44, "0.66M", "7.17"),
        ("ResNet", 56, "0.85M", "6.97"),
        ("ResNet", 110, "1.7M", "6.43 (6.61±0.16)"),
        ("ResNet", 1202, "19.4M", "7.93"),
    ]
    assert [row.runs for row in table6() if row.mean] == [None, 5]
    assert [row.cited for row in table6()] == [True] * 6 + [False] * 6


def test_readings_of_figure_6_are_points_in_iterations_and_percent() -> None:
    plain = figure6("plain-44")
    assert plain.test[0] == (20_000, 18.2)  # the curve is above the axis before
    assert plain.test[-1] == (63_000, 11.4)
    assert plain.train == ((32_000, 14.3),)  # its end could be read as a range only
    assert figure6("ResNet-20").train == ((32_000, 7.5), (64_000, 0.8))
    assert figure6("plain-110") == figure6("ResNet-8") == Curve6((), ())


def test_the_right_panel_of_figure_6_has_readings_of_its_own() -> None:
    assert figure6("ResNet-1202").test == ()
    assert figure6("ResNet-1202", closing=True).test[-1] == (63_000, 7.9)
    assert figure6("ResNet-110", closing=True).test[0] == (36_000, 6.9)


def test_final_readings_are_those_of_the_plain_networks() -> None:
    assert [final_test_error(f"plain-{depth}") for depth in (20, 32, 44, 56, 110)] == [9.7, 10.1, 11.4, 13.3, None]


def test_readings_of_figure_7_are_by_rank() -> None:
    assert figure7("plain-20") == ((1, 2.35), (5, 2.0), (10, 1.85), (15, 1.65), (19, 1.27))
    assert figure7("ResNet-110")[-1] == (109, 0.65)
    assert figure7("plain-110") == ()
