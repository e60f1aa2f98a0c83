import json
from typing import Any

import pytest

from reslab.cli.app import run


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "parameters", "multiply_adds"),
    [
        (("resnet50",), 25_557_032, 3_857_973_248),
        (("plain34",), 21_623_848, 3_644_493_824),
        (("resnet34", "--shortcut", "C"), 22_716_840, 3_830_747_136),
        (("resnet50", "--stride-on", "3x3"), 25_557_032, 4_089_184_256),
        (("cifar-resnet1202",), 19_421_274, 2_829_238_912),
    ],
)
def test_sizes_are_the_papers(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], parameters: int, multiply_adds: int
) -> None:
    found = shown(capsys, "show", *words)
    assert (found["parameters"], found["multiply_adds"]) == (parameters, multiply_adds)
    assert sum(stage["multiply_adds"] for stage in found["stages"]) == multiply_adds


def test_multiply_adds_at_another_size_are_labelled_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "show", "cifar-resnet20", "--input-size", "28")["input_size"] == 28
    run(["show", "cifar-resnet20", "--input-size", "28"])
    assert "multiply-adds at 28x28" in capsys.readouterr().out


def test_the_table_says_where_stride_2_sits(capsys: pytest.CaptureFixture[str]) -> None:
    run(["show", "resnet34"])
    lines = capsys.readouterr().out.splitlines()
    conv3 = next(line for line in lines if line.startswith("conv3_x"))
    assert conv3.split()[:3] == ["conv3_x", "28x28", "4"]
    assert "layer2.0.conv1" in conv3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "resnet35"), "unknown model 'resnet35'; did you mean"),
        (("show", "cifar-resnet21"), "6n+2 layers (8, 14, 20, ...), not 21; the nearest is 20"),
        (
            ("show", "cifar-plain20", "--shortcut", "A"),
            "a plain network has no shortcuts: for shortcut A use cifar-resnet20",
        ),
        (("show", "vgg16"), "unknown name 'vgg16'"),
        (("show", "resnet34", "--shortcut", "D"), "shortcut"),
        (("show", "resnet34", "--widht", "3"), "--widht"),
        (("show", "resnet34", "--input-size", "0"), "--input-size must be positive"),
        (("show", "resnet34", "--width", "0"), "width is 0"),
        (("show", "degradation", "--scale", "imagenet"), "unknown scale of degradation 'imagenet'"),
        (("reproduce", "degradatoin"), "did you mean 'degradation'?"),
        (("reproduce", "degradation", "--only", "cifar-plain21"), "did you mean 'cifar-plain20'?"),
        (("reproduce", "degradation", "--seeds", "0"), "--seeds must be at least 1"),
        (("reproduce", "degradation", "--scale", "cifar"), "needs --data"),
        (("claims",), "which runs?"),
        (("report",), "which runs?"),
        (("list", "modles"), "models"),
        (("trian",), "train"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run(list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert message in captured.err


def test_an_experiment_shows_its_resolved_specs(capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys, "show", "degradation")
    assert [run["model"]["name"] for run in found["runs"]] == [
        "cifar-plain20",
        "cifar-plain56",
        "cifar-resnet20",
        "cifar-resnet56",
    ]
    run(["show", "degradation"])
    assert '"name":"cifar-plain56"' in capsys.readouterr().out.replace("\n", "")


def test_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    listed = shown(capsys, "list")
    assert set(listed) == {"models", "experiments", "claims", "data", "recipes"}
    assert {"D1", "D2", "D3", "C8"} <= {claim["name"] for claim in listed["claims"]}
    assert shown(capsys, "list", "models").keys() == {"models"}
    run(["list"])
    assert "cifar-resnet1202" in capsys.readouterr().out
