import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from reslab.cli.app import run

Command = Callable[..., subprocess.CompletedProcess[str]]
NETWORKS_PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


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
        (("resnet152", "--shortcut", "C"), 107_335_720, 20_736_376_832),
        (("cifar-resnet110", "--shortcut", "B"), 1_730_714, 253_149_824),
        pytest.param(("cifar-resnet1202",), 19_421_274, 2_829_238_912, marks=pytest.mark.slow),
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
        (("show", "resnet34", "--input-size", "1000000000"), "--input-size must be positive and at most 100,000"),
        (("show", "resnet34", "--input-size", "31"), "31x31 pixels are too few for this network: it takes 32x32 or"),
        (("show", "cifar-resnet20", "--input-size", "3"), "3x3 pixels are too few for this network: it takes 4x4"),
        (("show", "resnet34", "--figure", "net.jpg"), "ends in .svg, .png or .pdf, not net.jpg"),
        (("show", "block-basic", "--figure", "net"), "ends in .svg, .png or .pdf, not net"),
        (("show", "degradation", "--figure", "net.svg"), "--figure draws networks and blocks, and degradation is an"),
        (("show", "block-botleneck"), "unknown name 'block-botleneck'; did you mean 'block-bottleneck'?"),
        (("show", "block-basic", "--pool", "caffe"), "block-basic neither strides nor pools"),
        (("show", "block-bottleneck", "--stride-on", "3x3"), "block-bottleneck neither strides nor pools"),
        (("show", "block-basic", "--width", "0"), "--width must be positive, not 0"),
        (("show", "block-basic", "--input-size", "-1"), "--input-size must be positive"),
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


def test_each_stage_says_what_training_keeps_and_how_far_it_sees(capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys, "show", "resnet50")
    assert [stage["receptive_field"] for stage in found["stages"]] == [7, 35, 99, 291, 483, 675]
    assert sum(stage["activation_bytes"] for stage in found["stages"]) == found["activation_bytes"] == 81_907_200
    run(["show", "resnet50"])
    total = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("total"))
    assert total.split() == ["total", "25,557,032", "3,857,973,248", "78.1", "MiB"]


@pytest.mark.parametrize("words", [("resnet152", "--shortcut", "C"), ("resnet50",), ("cifar-bottleneck29",)])
def test_the_table_is_at_most_100_characters_wide(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    run(["show", *words])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "shortcut", "carries", "weights"),
    [
        (("block-basic",), "B", "identity", [36_864, 36_864]),
        (("block-bottleneck",), "B", "identity", [16_384, 36_864, 16_384]),
        (("block-bottleneck", "--shortcut", "C"), "C", "projection", [16_384, 36_864, 16_384, 65_536]),
        (("block-bottleneck", "--shortcut", "none"), "none", None, [16_384, 36_864, 16_384]),
        (("block-basic", "--width", "16"), "B", "identity", [2304, 2304]),
    ],
)
def test_a_block_has_the_weights_of_figure_5(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], shortcut: str, carries: str | None, weights: list[int]
) -> None:
    found = shown(capsys, "show", *words)
    assert (found["model"], found["shortcut"], found["carries"]) == (words[0], shortcut, carries)
    assert [layer["weights"] for layer in found["layers"]] == weights
    assert found["weights_per_position"] == sum(weights)
    assert all(layer["output"] == [56, 56] for layer in found["layers"])


def test_a_block_is_a_table_with_its_total_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "block-bottleneck", "--shortcut", "C"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["total", "135,168"]
    assert lines[2].split() == ["conv1", "1x1", "256", "to", "64", "56x56", "16,384"]


@pytest.mark.parametrize("name", ["cifar-resnet8", "cifar-plain8", "block-basic", "block-bottleneck"])
def test_a_figure_comes_beside_the_table_or_the_json(reslab: Command, tmp_path: Path, name: str) -> None:
    plain = reslab("show", name, "--json")
    done = reslab("show", name, "--figure", tmp_path / "out.png", "--json")
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    assert done.stderr == f"written: {tmp_path}/out.png\n"
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
    assert reslab("show", name, "--figure", tmp_path / "deep" / "out.SVG").returncode == 0
    assert (tmp_path / "deep" / "out.SVG").read_text(encoding="utf-8").startswith("<svg")


def test_a_figure_that_cannot_be_written_is_one_line(reslab: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = reslab("show", "block-basic", "--figure", tmp_path / "file" / "out.pdf")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot write" in done.stderr


def test_the_page_of_networks_says_what_show_says(reslab: Command) -> None:
    transcripts = re.findall(r"```console\n\$ reslab (.*?)\n(.*?)\n```", NETWORKS_PAGE.read_text("utf-8"), re.DOTALL)
    assert len(transcripts) >= 6
    for words, printed in transcripts:
        found = reslab(*shlex.split(words)).stdout.rstrip().splitlines()
        assert [line.rstrip() for line in found] == printed.splitlines(), words


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
