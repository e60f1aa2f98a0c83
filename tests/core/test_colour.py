import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reslab.core.colour import PUBLISHED_VECTORS, Colour
from reslab.core.errors import DataError, SpecError
from reslab.core.experiment import Experiment, Photographs
from reslab.core.statistics import Statistics, read_statistics
from reslab.experiments.recipes import fine_tune, paper, photographs

DIGEST = "0123456789abcdef" * 4
DOCUMENT: dict[str, Any] = {
    "data": "trees",
    "split": "train",
    "data_digest": DIGEST,
    "pictures": 3,
    "pixels": 3072,
    "contract": {"shorter_side": 36, "crop": 32},
    "mean": [1, 2, 3],
    "std": [4, 5, 6],
    "covariance": [[1, 0, 0], [0, 2, 0], [0, 0, 3]],
    "eigenvalues": [3, 2, 1],
    "eigenvectors": [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    "mean_image": {"shape": [32, 32, 3], "sha256": DIGEST},
}


def test_the_colours_are_those_that_fb_resnet_torch_publishes() -> None:
    colour = Colour()
    assert (colour.std, colour.scale, colour.measured_on, colour.published) == (0.1, "eigenvalue", None, True)
    assert colour.eigenvalues == (0.2175, 0.0188, 0.0045)
    vectors = np.array(colour.eigenvectors)
    assert vectors[:, 0].tolist() == [-0.5675, -0.5808, -0.5836]
    assert np.abs(vectors.T @ vectors - np.eye(3)).max() < 3e-4


def test_the_papers_recipe_changes_colours_and_those_for_ones_own_folder_do_not() -> None:
    settings = [recipe.photographs for recipe in (paper(), photographs(), fine_tune())]
    assert [one is not None and one.colour for one in settings] == [Colour(), None, None]
    assert Photographs().colour is None


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"std": 0}, "std is 0: input should be greater than 0"),
        ({"scale": "root"}, "scale is 'root': input should be 'eigenvalue' or 'sqrt'"),
        ({"eigenvalues": [1, 2]}, "eigenvalues.2 is missing"),
        ({"eigenvalues": [1, 2, -1]}, "eigenvalues.2 is -1: input should be greater than or equal to 0"),
        ({"eigenvalues": [1, 2, float("nan")]}, "eigenvalues.2 is nan"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 0]]}, "eigenvectors.2 is missing"),
        ({"eigenvectors": [[1, 0], [0, 1], [0, 0]]}, "eigenvectors.0.2 is missing"),
        ({"eigenvectors": [[1, 0, 0, 0]] * 3}, "eigenvectors.0 is .*at most 3 items"),
        ({"eigenvectors": [[1, 0, 0], [0, 2, 0], [0, 0, 1]]}, "eigenvectors must have columns of length 1 at right"),
        ({"eigenvectors": [[1, 0, 0], [0, 1, 1], [0, 0, 0]]}, "eigenvectors must have columns of length 1 at right"),
        ({"measured_on": "x"}, "measured_on is 'x': string should match pattern"),
        ({"eigenvectrs": []}, "unknown key 'eigenvectrs'; did you mean 'eigenvectors'"),
    ],
)
def test_colours_that_cannot_be_are_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(SpecError, match=f"^given: {line}") as refusal:
        Colour.parse(values, source="given")
    assert "\n" not in str(refusal.value)


def test_a_run_from_before_there_were_colours_is_the_same_experiment_as_one_without() -> None:
    folder: dict[str, Any] = {"model": {"name": "resnet18"}, "data": "folder", "recipe": {"photographs": {}}}
    now = Experiment.parse(folder)
    written = json.loads(now.canonical_json())
    del written["recipe"]["photographs"]["colour"]
    del written["recipe"]["photographs"]["contract"]["mean_image"]
    assert Experiment.parse(written) == now


def test_small_pictures_keep_the_digests_that_they_had() -> None:
    """Of the run of ResNet-20 on CIFAR-10 in results/, as its spec.json has it."""
    spec = json.loads(Path("results/cifar10/cifar-resnet20-seed0/spec.json").read_text())
    text = Experiment.parse(spec["experiment"]).canonical_json()
    assert "colour" not in text
    assert "mean_image" not in text


def test_statistics_become_colours_that_say_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps(DOCUMENT))
    found = read_statistics(file)
    assert found == Statistics.parse(DOCUMENT)
    colour = found.colour()
    assert (colour.eigenvalues, colour.eigenvectors) == ((3, 2, 1), ((0, 0, 1), (0, 1, 0), (1, 0, 0)))
    assert (colour.measured_on, colour.published, colour.std) == (DIGEST, False, 0.1)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "cannot read the statistics in .*: it is no JSON"),
        ("[1]", "s.json: .*valid dictionary"),
        (json.dumps({**DOCUMENT, "eigenvectors": PUBLISHED_VECTORS[:2]}), "s.json: eigenvectors.2 is missing"),
        (json.dumps({**DOCUMENT, "pictures": 0}), "s.json: pictures is 0"),
        (json.dumps({**DOCUMENT, "mean_image": {"shape": [3, 3, 1], "sha256": DIGEST}}), "s.json: mean_image.shape.2"),
    ],
)
def test_a_document_that_is_none_is_one_line(content: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(content)
    with pytest.raises((DataError, SpecError), match=line) as refusal:
        read_statistics(file)
    assert "\n" not in str(refusal.value)


def test_a_document_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^cannot read the statistics in .*absent: No such file or directory$"):
        read_statistics(tmp_path / "absent")
