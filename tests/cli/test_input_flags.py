"""Colours and mean images in `reslab train`, as a user asks for them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from tests.said import one_line

from reslab.core.colour import PUBLISHED_VALUES

pytestmark = pytest.mark.usefixtures("quick_disk")

Command = Callable[..., subprocess.CompletedProcess[str]]
FolderOf = Callable[..., Path]
SMALL = ("--model", "cifar-resnet8", "--width", 4, "--crop", 32, "--shorter-side", 32)
SCALED = ("--scale", 32, 40)
TWO_STEPS = ("--steps", 2, "--batch", 8, "--evaluate-every", 2, "--log-every", 1, "--workers", 0)
TINY = (*SMALL, *SCALED, *TWO_STEPS)


@pytest.fixture(scope="module")
def photos(folder_of: FolderOf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("photos") / "trees")


@pytest.fixture(scope="module")
def measured(reslab: Command, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The document of `data stats`, whose mean image lies beside it."""
    out = tmp_path_factory.mktemp("stats") / "trees.json"
    done = reslab("data", "stats", photos, "--crop", 32, "--shorter-side", 32, "--workers", 0, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def spec_of(reslab: Command, photos: Path, tmp_path: Path) -> Callable[..., Any]:
    """The resolved settings of photographs."""

    def resolve(*words: object, sizes: tuple[object, ...] = SCALED) -> Any:
        words = (*SMALL, *sizes, *words)
        done = reslab("train", "--data", photos, *words, "--out", tmp_path / "r", "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["recipe"]["photographs"]

    return resolve


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]


def test_the_papers_recipe_has_colours_and_off_takes_them_away(spec_of: Callable[..., Any]) -> None:
    assert spec_of("--recipe", "paper")["colour"]["eigenvalues"] == list(PUBLISHED_VALUES)
    assert spec_of("--recipe", "paper", "--colour", "off")["colour"] is None
    assert spec_of("--recipe", "paper", "--colour-scale", "sqrt")["colour"]["scale"] == "sqrt"
    assert spec_of("--recipe", "paper", "--colour-scale", "sqrt")["colour"]["std"] == 0.1
    assert spec_of()["colour"] is spec_of("--colour", "off")["colour"] is None


def test_colours_are_the_published_ones_or_those_that_were_measured(
    spec_of: Callable[..., Any], measured: Path
) -> None:
    published = spec_of("--colour", "published")["colour"]
    assert (published["scale"], published["measured_on"]) == ("eigenvalue", None)
    found = json.loads(measured.read_text())
    own = spec_of("--recipe", "paper", "--colour", measured, "--colour-scale", "sqrt")["colour"]
    assert own["eigenvalues"] == found["eigenvalues"]
    assert own["eigenvectors"] == found["eigenvectors"]
    assert (own["scale"], own["measured_on"], own["std"]) == ("sqrt", found["data_digest"], 0.1)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_a_mean_image_is_named_in_the_contract_with_its_average(
    order: str, spec_of: Callable[..., Any], measured: Path
) -> None:
    found = json.loads(measured.read_text())
    words = ("--preprocessing", "caffe") if order == "BGR" else ()
    contract = spec_of(*words, "--mean-image", measured.with_suffix(".safetensors"))["contract"]
    assert contract["mean_image"] == found["mean_image"]["sha256"]
    turn = 1 if order == "RGB" else -1
    assert (contract["order"], contract["mean"][::turn]) == (order, pytest.approx(found["mean"], rel=1e-6))


def test_a_name_stands_for_bilinear_resizing_and_a_flag_changes_it(spec_of: Callable[..., Any]) -> None:
    assert spec_of()["contract"]["resample"] == "bilinear"
    assert spec_of("--resample", "bicubic")["contract"]["resample"] == "bicubic"
    both = spec_of("--resample", "bicubic", "--preprocessing", "caffe")["contract"]
    assert (both["resample"], both["order"], both["crop"]) == ("bicubic", "BGR", 32)


def test_a_network_trained_on_bicubic_pictures_is_tested_on_them_and_refused_as_another(
    reslab: Command, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = reslab("train", "--data", photos, *TINY, "--resample", "bicubic", "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    told = ("evaluate", run, "--data", photos, "--split", "val", "--workers", 0)
    again = reslab(*told, "--json")
    assert json.loads(again.stdout)["error"] == json.loads(done.stdout)["test_error"]
    assert json.loads((run / "result.json").read_text())["n"] == 6
    assert "; bicubic, antialiased" in reslab(*told).stdout
    assert "resized     bicubic, antialiased" in reslab("weights", "inspect", run).stdout
    line = "weights for pictures with resample bicubic, not with resample bilinear; to use them all the same, force it"
    assert line in one_line(reslab(*told, "--preprocessing", "paper"))
    words = ("train", "--from", run, "--data", photos, *SCALED, *TWO_STEPS, "--out", tmp_path / "tuned")
    assert line in one_line(reslab(*words, "--resample", "bilinear"))
    brought = json.loads(reslab(*words, "--dry-run", "--json").stdout)
    assert brought["recipe"]["photographs"]["contract"]["resample"] == "bicubic"
    assert not (tmp_path / "tuned").exists()
    assert reslab(*words, "--resample", "bilinear", "--force").returncode == 0


def test_areas_and_growing_crops_are_asked_for_and_taken_back(spec_of: Callable[..., Any], tmp_path: Path) -> None:
    assert [spec_of()[key] for key in ("area", "progressive")] == [None, None]
    toml = tmp_path / "spec.toml"
    toml.write_text(
        "[recipe.photographs]\narea = {aspect = [0.5, 2]}\n"
        "progressive = {sides = [32, 64], between = [0, 0.5], multiple = 16}\n"
    )
    given = spec_of("--spec", toml, sizes=())
    assert given["area"] == {"share": [0.08, 1.0], "aspect": [0.5, 2.0]}
    assert given["progressive"] == {"sides": [32, 64], "between": [0.0, 0.5], "multiple": 16}
    changed = spec_of("--spec", toml, "--area", 0.25, 1, "--progressive", 48, 48, sizes=())
    assert changed["area"] == {"share": [0.25, 1.0], "aspect": [0.5, 2.0]}
    assert changed["progressive"] == {"sides": [48, 48], "between": [0.0, 0.5], "multiple": 16}
    back = spec_of("--spec", toml, "--area", "off", "--progressive", "off")
    assert (back["area"], back["progressive"], back["scale"]) == (None, None, [32, 40])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--area", 0.08, 1), "--scale has no effect where training takes parts of a random area: no --scale, or"),
        (("--area", 0.08), "--area is off, or two numbers, not '0.08'"),
        (("--area", "on"), "--area is off, or two numbers, not 'on'"),
        (("--area", 1, 0.5), "the flags: area.share must rise, not 1 to 0.5"),
        (("--area", 0, 1), "recipe.photographs.area.share.0 is 0.0: input should be greater than 0"),
        (("--progressive", 32, 48), "progressive.sides must be multiples of 32, not 48"),
        (("--progressive", 64, 32), "progressive.sides must rise, not 64 to 32"),
        (("--progressive", 32.5, 64), "--progressive is off, or two whole numbers, not '32.5 64'"),
        (("--progressive", 32, 64, 96), "--progressive is off, or two whole numbers, not '32 64 96'"),
    ],
)
def test_an_area_or_side_that_cannot_be_is_one_line(
    words: tuple[object, ...], message: str, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    assert message in one_line(reslab("train", "--data", photos, *TINY, *words, "--out", tmp_path / "r"))
    assert list(tmp_path.iterdir()) == []


def test_small_pictures_have_neither_areas_nor_growing_crops(reslab: Command, tmp_path: Path) -> None:
    words = ("train", "--data", "embedded", "--model", "cifar-resnet8", "--out", tmp_path / "r")
    asked = ("--area", "off"), ("--progressive", 32, 64), ("--resample", "bicubic")
    for flags, name in zip(asked, ("area", "progressive", "resample"), strict=True):
        assert f"settings of photographs ({name}) have no effect on embedded" in one_line(reslab(*words, *flags))


def test_two_steps_on_growing_parts_end_in_a_test_by_the_contract(
    reslab: Command, photos: Path, tmp_path: Path
) -> None:
    flags = ("--area", 0.3, 1, "--progressive", 32, 64)
    done = reslab("train", "--data", photos, *SMALL, *TWO_STEPS, *flags, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["input_size"], result["protocol"], result["steps"]) == (32, "center", 2)
    again = reslab("evaluate", tmp_path / "run", "--data", photos, "--split", "val", "--workers", 0, "--json")
    assert json.loads(again.stdout)["error"] == result["test_error"]


def test_two_steps_with_colours_are_others_than_without_and_off_is_without(
    reslab: Command, photos: Path, tmp_path: Path
) -> None:
    runs = {"none": (), "off": ("--colour", "off"), "on": ("--colour", "published")}
    for name, words in runs.items():
        done = reslab("train", "--data", photos, *TINY, *words, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / "off") == metrics(tmp_path / "none")
    assert metrics(tmp_path / "on") != metrics(tmp_path / "none")
    assert json.loads((tmp_path / "on" / "result.json").read_text())["steps"] == 2


def test_a_network_trained_with_a_mean_image_is_tested_with_it(
    reslab: Command, photos: Path, measured: Path, tmp_path: Path
) -> None:
    image = measured.with_suffix(".safetensors")
    words = ("train", "--data", photos, *TINY, "--colour", measured, "--mean-image", image, "--out", tmp_path / "run")
    result = json.loads(reslab(*words, "--json").stdout)
    (kept,) = (tmp_path / "run" / "checkpoints" / "step-2").glob("form.safetensors")
    assert np.array_equal(safetensors.numpy.load_file(kept)["mean"], safetensors.numpy.load_file(image)["mean"])
    told = ("evaluate", tmp_path / "run", "--data", photos, "--split", "val", "--workers", 0)
    again = json.loads(reslab(*told, "--json").stdout)
    assert (again["error"], again["n"]) == (result["test_error"], 6)
    assert "RGB minus a mean image, on average (" in reslab(*told).stdout
    assert "a mean image, on average " in reslab("weights", "inspect", tmp_path / "run").stdout
    dense = reslab(*told, "--protocol", "multi-scale")
    assert dense.returncode == 0, dense.stderr
    answers = json.loads(reslab("predict", tmp_path / "run", photos / "ash", "--workers", 0, "--json").stdout)
    assert len(answers["predictions"] if isinstance(answers, dict) else answers) == 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--colour", "on"), "--colour is off, published, or a file of `reslab data stats --out`, not 'on'"),
        (("--colour", "off", "--colour-scale", "sqrt"), "--colour-scale has no effect with --colour off"),
        (("--colour-scale", "sqrt"), "--colour-scale has no effect without colours"),
        (("--colour", "published", "--colour-scale", "root"), 'Invalid value "root" for --colour-scale'),
        (("--resample", "lanczos"), 'Invalid value "lanczos" for --resample'),
        (("--mean-image", "absent.safetensors"), "cannot read the mean image in absent.safetensors: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    words: tuple[object, ...], message: str, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    assert message in one_line(reslab("train", "--data", photos, *TINY, *words, "--out", tmp_path / "r"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "content", "message"),
    [
        (
            "--mean-image",
            {"mean": np.zeros((16, 16, 3), np.float32)},
            "the mean image has 16x16 pixels, and crops have",
        ),
        ("--mean-image", {"mean": np.zeros((3, 32, 32), np.float32)}, "is a square of float32 pixels in RGB"),
        ("--mean-image", {"mean": np.zeros((32, 32, 3), np.float64)}, "not float64 (32, 32, 3)"),
        ("--mean-image", {"mean": np.full((32, 32, 3), 300, np.float32)}, "pixels in [0, 255]; this one has others"),
        ("--mean-image", {"conv1.weight": np.zeros((1,), np.float32)}, "holds no mean image"),
        ("--mean-image", b"{}", "it is no safetensors file"),
        ("--colour", {"mean": np.zeros((32, 32, 3), np.float32)}, "it is no JSON"),
        ("--colour", b"{}", "data is missing"),
        ("--colour", b'{"eigenvectors": [[1, 0, 0]]}', " is missing"),
    ],
)
def test_a_file_that_is_something_else_is_one_line(
    flag: str, content: Any, message: str, reslab: Command, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content if isinstance(content, bytes) else safetensors.numpy.save(content))
    line = one_line(reslab("train", "--data", photos, *TINY, flag, file, "--out", tmp_path / "r"))
    assert message in line
    assert not (tmp_path / "r").exists()


def test_a_document_with_vectors_of_another_shape_is_one_line(
    reslab: Command, photos: Path, measured: Path, tmp_path: Path
) -> None:
    found = json.loads(measured.read_text())
    file = tmp_path / "s.json"
    words = ("train", "--data", photos, *TINY, "--colour", file, "--out", tmp_path / "r")
    for vectors, message in (
        (found["eigenvectors"][:2], "s.json: eigenvectors.2 is missing"),
        ([row[:2] for row in found["eigenvectors"]], "s.json: eigenvectors.0.2 is missing"),
        ([[2, 0, 0], [0, 1, 0], [0, 0, 1]], "s.json: eigenvectors must have columns of length 1 at right angles"),
    ):
        file.write_text(json.dumps({**found, "eigenvectors": vectors}))
        assert message in one_line(reslab(*words))
    assert not (tmp_path / "r").exists()


def test_neither_has_an_effect_on_small_pictures(reslab: Command, measured: Path, tmp_path: Path) -> None:
    words = ("train", "--data", "embedded", "--model", "cifar-resnet8", "--out", tmp_path / "r")
    image = measured.with_suffix(".safetensors")
    for flags, name in ((("--mean-image", image), "mean_image"), (("--colour", "off"), "colour")):
        assert f"settings of photographs ({name}) have no effect on embedded" in one_line(reslab(*words, *flags))
