import pytest

from reslab.core.paper import cifar10_test_error, published


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
