"""Answers to photographs without labels, for ILSVRC's test server."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.said import answer

from reslab.core.contract import Contract
from reslab.core.experiment import Photographs
from reslab.core.imagenet import imagenet_classes
from reslab.evaluation.server_file import read_server_file
from reslab.experiments.inputs import PhotoInputs
from reslab.experiments.stored import read_stored
from reslab.experiments.weights import Complete, store_weights
from reslab.models.architecture import BN_EPS, imagenet
from reslab.models.resnet import build

Command = Callable[..., subprocess.CompletedProcess[str]]
WNIDS = tuple(one.wnid for one in imagenet_classes())
ORDER = WNIDS[::-1]  # the server's number of the network's class c is 1,000 - c


def mistake(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained networks of ImageNet's classes that take crops of 32; nobody may change them."""
    place = tmp_path_factory.mktemp("nets")
    architecture = imagenet(18, shortcut="B", stride_on="1x1", pool="pad1", width=4, classes=len(WNIDS), bn_eps=BN_EPS)
    inputs = PhotoInputs(Photographs(contract=Contract(shorter_side=36, crop=32), scale=(34, 50)))
    for seed in range(2):
        net = build(architecture, generator=torch.Generator().manual_seed(seed))
        store_weights(Complete(architecture, inputs, WNIDS, net.state_dict()), place / f"net{seed}", {"step": 0})
    return [place / f"net{seed}" for seed in range(2)]


@pytest.fixture(scope="module")
def pictures(folder_of: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven photographs in one folder, without classes; nobody may change them."""
    return folder_of(tmp_path_factory.mktemp("pictures"), ("test",), 7) / "test"


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's classes."""
    file = tmp_path_factory.mktemp("order") / "classes.txt"
    file.write_text("\n".join(ORDER))
    return file


def test_pictures_without_labels_are_answered_by_an_ensemble(
    reslab: Command, nets: list[Path], pictures: Path, order: Path, tmp_path: Path
) -> None:
    serve = ("--server-file", tmp_path / "out.txt", "--server-classes", order)
    words = ("--data", pictures, "--protocol", "ten-crop", "--out", tmp_path / "scores")
    found = answer(reslab("evaluate", *nets, *words, *serve, "--json"))
    assert (found["n"], found["protocol"], found["server_file"]) == (7, "ten-crop", str(tmp_path / "out.txt"))
    assert not {"hits", "error", "interval"} & found.keys()
    stored = [read_stored(tmp_path / "scores" / f"{number}-net{number - 1}") for number in (1, 2)]
    command = f"reslab evaluate {nets[0]} --data {pictures} --protocol ten-crop --out {stored[0].folder}"
    assert found["members"][0]["command"] == f"{command} --server-file {tmp_path / 'out.txt'} --server-classes {order}"
    assert [one.labels.tolist() for one in stored] == [[-1] * 7] * 2
    assert [one.facts["hits"] for one in stored] == [None, None]
    mean = torch.from_numpy(sum(one.views.probabilities[:, 0].astype("f8") for one in stored)).float()
    best = mean.argsort(dim=1, descending=True, stable=True)[:, :5]
    assert read_server_file(tmp_path / "out.txt", 7).tolist() == (1000 - best).tolist()

    again = [one.folder for one in stored]
    text = reslab("evaluate", "--from-scores", *again, *serve).stdout
    assert "resnet18, width 4 (1-net0) + resnet18, width 4 (2-net1), ten-crop, fp32: n=7 without labels" in text
    assert f"answers: {tmp_path / 'out.txt'}" in text
    assert "without labels: nothing to count, see --server-file" in mistake(reslab("evaluate", "--from-scores", *again))
    assert "without labels: nothing to count" in mistake(reslab("compare", "--from-scores", *again))
    refused = reslab("evaluate", "--from-scores", *again, *serve, "--pairs")
    assert "--pairs and --greedy count right answers; these pictures have no labels" in mistake(refused)


def test_without_a_server_to_answer_pictures_must_have_labels(
    reslab: Command, nets: list[Path], pictures: Path, order: Path, tmp_path: Path
) -> None:
    said = mistake(reslab("evaluate", nets[0], "--data", pictures))
    assert said.endswith("holds no classes: its pictures lie in no class folders")
    serve = ("--server-file", tmp_path / "out.txt", "--server-classes", order)
    said = mistake(reslab("evaluate", nets[0], "--data", pictures, "--split", "val", *serve))
    assert "has no classes, so it has no part val: leave --split out" in said
    assert not (nets[0] / "scores").exists()
    assert not (tmp_path / "out.txt").exists()
