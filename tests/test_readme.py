"""What README.md says is run: its Python, its commands, its generated parts."""

import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.imagenet_archives import write_archives

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = blocks("python")[0]
    assert len(example.strip().splitlines()) <= 10
    shortened = example.replace("steps=200", "steps=2")
    assert shortened != example
    exec(compile(shortened, "README.md", "exec"), {})  # noqa: S102 our own README
    printed = capsys.readouterr().out
    assert re.search(r"test error \d+\.\d\d % \[\d+\.\d\d, \d+\.\d\d\], n=2000\n", printed)
    assert "ResNet-34 has 21,797,672 parameters" in printed


def test_the_second_example_prints_the_maps_of_four_stages(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[1], "README.md", "exec"), {})  # noqa: S102 our own README
    printed = capsys.readouterr().out
    assert "'conv2_x': (1, 256, 56, 56)" in printed
    assert "'conv5_x': (1, 2048, 7, 7)" in printed


def test_the_generated_parts_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "readme.py", "--check"], check=False)
    assert done.returncode == 0, "run `make docs`"


KEPT = sorted((ROOT / "results" / "cifar10").glob("*/result.json"))


@pytest.mark.data
@pytest.mark.parametrize("kept", KEPT, ids=[file.parent.name for file in KEPT])
def test_the_number_of_a_run_that_is_kept_can_be_had_again(kept: Path, real_cifar10: Path, tmp_path: Path) -> None:
    words = ("evaluate", kept.parent, "--data", real_cifar10, "--out", tmp_path / "scores", "--json")
    done = subprocess.run([sys.executable, "-m", "reslab", *words], capture_output=True, text=True, check=True)
    found, once = json.loads(done.stdout), json.loads(kept.read_text(encoding="utf-8"))
    assert found["n"] == once["n"] == 10_000
    assert found["hits"] == pytest.approx(once["hits"], abs=2)  # another processor may round a tie otherwise


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    texts = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"make ([a-z-]+)", texts))
    assert {"demo", "test", "test-slow", "docs", "bench"} <= named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two of them train resnet18: minutes on a busy machine
def test_every_command_runs_as_written(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name in ("poodle", "setter"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(40):
            picture = Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8))
            picture.save(tmp_path / "photos" / name / f"{number:02}.jpg")
    write_archives(tmp_path)
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("reslab ")]
    assert len(commands) >= 9
    for command in commands:
        words = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout
    assert (tmp_path / "runs" / "report.html").exists()
    assert (tmp_path / "runs" / "compare.html").exists()
    assert (tmp_path / "dogs" / "report.html").exists()
    assert (tmp_path / "dogs" / "sheet.png").exists()
    assert (tmp_path / "resnet50.svg").exists()
    assert (tmp_path / "dogs-timm" / "config.json").exists()


@pytest.mark.slow
def test_the_wheel_holds_pictures_templates_numbers_and_licences(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(words, check=True)
    (wheel,) = tmp_path.glob("reslab-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "reslab/data/embedded/fashion-mnist.zip",
        "reslab/data/embedded/LICENSE",
        "reslab/report/templates/page.html.j2",
        "reslab/report/templates/compare.html.j2",
        "reslab/report/templates/provenance.html.j2",
        "reslab/report/templates/style.css",
        "reslab/report/templates/errors.html.j2",
        "reslab/report/templates/errors.md.j2",
        "reslab/core/paper/results.json",
        "reslab/core/paper/sizes.json",
        "reslab/py.typed",
    ):
        assert needed in names
    assert sum("licenses/" in name for name in names) == 2
