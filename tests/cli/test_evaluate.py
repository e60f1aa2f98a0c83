"""``reslab evaluate`` as a user runs it: protocols, stored scores, ensembles."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.said import answer

from reslab.core.imagenet import imagenet_classes
from reslab.data.index import Index
from reslab.evaluation.server_file import read_server_file
from reslab.experiments.stored import read_stored

Command = Callable[..., subprocess.CompletedProcess[str]]
WORDS = ("--data", "embedded", "--device", "cpu")
PRESETS = {"single": 1, "center": 1, "flip": 2, "ten-crop": 10, "multi-scale": 5, "multi-scale-mirror": 10}


def mistake(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    assert (done.returncode, done.stdout) == (code, "")
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("reslab: ")
    return line


@pytest.fixture(scope="module")
def nets(reslab: Command, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs of a tiny network, of three seeds; nobody may change them."""
    place = tmp_path_factory.mktemp("nets")
    for seed in range(3):
        words = ("--model", "cifar-resnet8", "--width", 4, "--data", "embedded", "--steps", 40, "--batch", 32)
        done = reslab("train", *words, "--seed", seed, "--evaluate-every", 40, "--out", place / f"seed{seed}")
        assert done.returncode == 0, done.stderr
    return [place / f"seed{seed}" for seed in range(3)]


@pytest.fixture(scope="module")
def folders(reslab: Command, nets: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scores of the three at two scales with mirror images; nobody may change them."""
    place = tmp_path_factory.mktemp("scores")
    protocol = place / "twice.toml"
    protocol.write_text('shorter_sides = [28, 32]\nmirror = true\nplaces = "corners+center"\n')
    for net in nets:
        answer(reslab("evaluate", net, *WORDS, "--protocol", protocol, "--out", place / net.name, "--json"))
    return [place / net.name for net in nets]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if count > 5 else ()) for name, count in PRESETS.items()]
)
def test_every_preset_tests_small_pictures(name: str, reslab: Command, nets: list[Path], tmp_path: Path) -> None:
    found = answer(reslab("evaluate", nets[0], *WORDS, "--protocol", name, "--out", tmp_path / "s", "--json"))
    assert (found["protocol"], found["n"], found["average"]) == (name, 2000, "probabilities")
    assert found["hits"] == 2000 - round(found["error"] * 20)
    stored = read_stored(tmp_path / "s")
    assert len(stored.protocol.groups) * stored.protocol.views == PRESETS[name]
    assert stored.views.logits.shape == (2000, len(stored.protocol.groups), 10)
    assert isinstance(stored.views.probabilities, np.memmap)


def test_the_usual_test_gives_the_runs_own_result_and_says_how_it_was_made(reslab: Command, nets: list[Path]) -> None:
    found = answer(reslab("evaluate", nets[0], *WORDS, "--json"))
    result = json.loads((nets[0] / "result.json").read_text())
    assert (found["hits"], found["n"], found["step"]) == (result["hits"], 2000, 40)
    assert found["views"] == "the centre, crops of 28 at shorter side 28"
    assert found["command"] == f"reslab evaluate {nets[0]} --data embedded"
    text = reslab("evaluate", nets[0], *WORDS).stdout
    assert "\n  views: the centre, crops of 28 at shorter side 28\n" in text
    assert "\n  pictures: RGB; grey repeated three times; minus the per-pixel mean of the training pictures" in text


def test_stored_scores_are_scored_again_without_a_network(
    reslab: Command, nets: list[Path], folders: list[Path], tmp_path: Path
) -> None:
    whole = answer(reslab("evaluate", "--from-scores", folders[0], "--json"))
    assert (whole["protocol"], whole["n"]) == ("twice", 2000)
    part = answer(reslab("evaluate", "--from-scores", folders[0], "--scales", 28, "--json"))
    alone = tmp_path / "once.toml"
    alone.write_text('shorter_sides = [28]\nmirror = true\nplaces = "corners+center"\n')
    again = answer(reslab("evaluate", nets[0], *WORDS, "--protocol", alone, "--out", tmp_path / "s", "--json"))
    assert part["by_class"] == again["by_class"]
    assert part["protocol"] == "twice, changed"
    logits = answer(reslab("evaluate", "--from-scores", folders[0], "--average", "logits", "--json"))
    assert logits["average"] == "logits"
    assert logits["views"].endswith("logits averaged over 20 views")
    stored = read_stored(folders[0])
    mean = stored.views.logits.mean(axis=1)
    assert logits["hits"] == int((mean.argmax(axis=1) == stored.labels.numpy()).sum())


def test_several_networks_are_an_ensemble(reslab: Command, nets: list[Path], folders: list[Path]) -> None:
    found = answer(reslab("evaluate", "--from-scores", *folders, "--json"))
    stored = [read_stored(folder) for folder in folders]
    mean = np.mean([one.views.probabilities.mean(axis=1) for one in stored], axis=0)
    assert abs(found["hits"] - int((mean.argmax(axis=1) == stored[0].labels.numpy()).sum())) <= 1
    errors = [one["error"] for one in found["members"]]
    assert found["members_error"] == {"mean": pytest.approx(np.mean(errors)), "std": np.std(errors, ddof=1), "n": 3}
    assert [one["network"] for one in found["members"]] == ["cifar-resnet8, width 4"] * 3
    tested = answer(reslab("evaluate", *nets, *WORDS, "--json"))
    assert [one["hits"] for one in tested["members"]] == [
        json.loads((net / "result.json").read_text())["hits"] for net in nets
    ]
    text = reslab("evaluate", "--from-scores", *folders).stdout
    assert "average of 3 networks, twice, fp32: error " in text
    assert "(n=3)" in text


def test_a_members_weight_counts(reslab: Command, folders: list[Path]) -> None:
    words = ("evaluate", "--from-scores", *folders, "--json", "--member-weights")
    assert (
        answer(reslab(*words, 0, 5, 0))["hits"]
        == answer(reslab("evaluate", "--from-scores", folders[1], "--json"))["hits"]
    )
    assert "3" in mistake(reslab(*words, 1, 2))


def test_pairs_and_a_greedy_choice(reslab: Command, folders: list[Path]) -> None:
    words = ("evaluate", "--from-scores", *folders, "--pairs", "--greedy")
    found = answer(reslab(*words, "--json"))
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert all(0 <= pair["agreement"] <= 100 and pair["n"] == 2000 for pair in found["pairs"])
    assert found["greedy"]["judged_on"]["n"] == 1000
    text = reslab(*words).stdout
    assert "gain, points" in text
    assert "greedy choice: cifar-resnet8, width 4" in text
    assert "several networks" in mistake(reslab("evaluate", "--from-scores", folders[0], "--pairs"))


def test_a_preset_of_six_names_the_member_that_is_missing(reslab: Command, folders: list[Path]) -> None:
    line = mistake(reslab("evaluate", "--from-scores", *folders, "--ensemble", "cifar-six"))
    assert line == (
        "reslab: the ensemble cifar-six has a cifar-resnet20 that is not among these: "
        "cifar-resnet8, width 4, cifar-resnet8, width 4, cifar-resnet8, width 4"
    )
    assert "choose from: six, cifar-six" in mistake(reslab("evaluate", "--from-scores", *folders, "--ensemble", "7"))


def test_a_preset_takes_its_members_in_its_own_order(reslab: Command, folders: list[Path], tmp_path: Path) -> None:
    names = [f"cifar-resnet{depth}" for depth in (1202, 44, 20, 56, 110, 32)]
    places = [
        changed(folders[number % 3], tmp_path / name, lambda facts, name=name: facts.update(network=name, weights=name))
        for number, name in enumerate(names)
    ]
    found = answer(reslab("evaluate", "--from-scores", folders[0], *places, "--ensemble", "cifar-six", "--json"))
    depths = [int(one["network"].removeprefix("cifar-resnet")) for one in found["members"]]
    assert depths == [20, 32, 44, 56, 110, 1202]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pairs",), "--pairs and --greedy are about several networks"),
        (("--ensemble", "seven"), "unknown ensemble 'seven'"),
        (("--member-weights", 1, 2), "2 weights for 1 network"),
        (("--member-weights", -1), "weights must be finite, none negative"),
        (("--scales", 300), "no scores at shorter side 300; there are some at 28"),
        (("--server-file", "out.txt"), "go together"),
        (("--server-file", "out.txt", "--server-classes", "nowhere"), "cannot read nowhere"),
    ],
)
def test_what_cannot_be_done_with_the_scores_is_said_before_the_test(
    words: tuple[object, ...], message: str, reslab: Command, nets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reslab.experiments.testing.score_views", lambda *_: pytest.fail("pictures were tested"))
    assert message in mistake(reslab("evaluate", nets[0], *WORDS, *words))


def test_weights_are_for_what_is_counted_equally_refused(reslab: Command, folders: list[Path]) -> None:
    words = ("evaluate", "--from-scores", *folders, "--member-weights", 1, 2, 3)
    assert answer(reslab(*words, "--json"))["member_weights"] == [1.0, 2.0, 3.0]
    assert "average of 3 networks weighted 1, 2, 3, twice" in reslab(*words).stdout
    assert "leave --member-weights out" in mistake(reslab(*words, "--greedy"))


def test_pairs_gain_what_the_ensemble_of_the_same_average_has(reslab: Command, folders: list[Path]) -> None:
    words = ("evaluate", "--from-scores", *folders[:2], "--average", "logits", "--pairs", "--json")
    found = answer(reslab(*words))
    assert found["pairs"][0]["error"] == found["error"]


def test_the_folder_at_hand_may_be_the_place_of_scores(
    reslab: Command, nets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    answer(reslab("evaluate", nets[0], *WORDS, "--out", ".", "--json"))
    assert (tmp_path / "here" / "protocol.json").exists()
    assert (tmp_path / "here" / "mine.txt").read_text() == "mine"


def test_scores_of_an_earlier_version_say_so(reslab: Command, folders: list[Path], tmp_path: Path) -> None:
    old = changed(folders[0], tmp_path / "old", lambda facts: facts.pop("settings"))
    assert "were kept by an earlier version: test again" in mistake(reslab("evaluate", "--from-scores", old), 1)


def changed(folder: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    shutil.copytree(folder, target)
    facts = json.loads((target / "protocol.json").read_text())
    change(facts)
    (target / "protocol.json").write_text(json.dumps(facts))
    return target


def other_data(facts: dict[str, Any]) -> None:
    facts["data"]["digest"] = "0" * 64


def other_order(facts: dict[str, Any]) -> None:
    facts["classes"] = facts["classes"][::-1]


def other_classes(facts: dict[str, Any]) -> None:
    facts["classes"] = ["thing", *facts["classes"][1:]]


def other_views(facts: dict[str, Any]) -> None:
    facts["settings"]["mirror"] = False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_data, "hold scores of different pictures"),
        (other_order, "have the same classes in another order: "),
        (other_classes, "have other classes: "),
        (other_views, "test them alike"),
    ],
)
def test_scores_that_do_not_belong_together_are_refused(
    change: Callable[[dict[str, Any]], None], message: str, reslab: Command, folders: list[Path], tmp_path: Path
) -> None:
    other = changed(folders[1], tmp_path / "other", change)
    line = mistake(reslab("evaluate", "--from-scores", folders[0], other))
    assert message in line
    assert str(other) in line


def no_scores(_folder: Path) -> None:
    shutil.rmtree(_folder)


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def cut_short(folder: Path) -> None:
    file = folder / "probabilities.npy"
    file.write_bytes(file.read_bytes()[:1000])


def stamp(folder: Path) -> None:
    """Make ``protocol.json`` speak of the files as they are."""
    facts = json.loads((folder / "protocol.json").read_text())
    facts["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in facts["sha256"]}
    (folder / "protocol.json").write_text(json.dumps(facts))


def not_finite(folder: Path) -> None:
    array = np.load(folder / "probabilities.npy")
    array[7, 1, 3] = np.nan
    np.save(folder / "probabilities.npy", array)
    stamp(folder)


def other_bytes(folder: Path) -> None:
    array = np.load(folder / "probabilities.npy")
    np.save(folder / "probabilities.npy", array[::-1])


def turned_labels(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "scores.safetensors")
    safetensors.torch.save_file({**tensors, "labels": tensors["labels"].flip(0)}, folder / "scores.safetensors")


def fewer(folder: Path) -> None:
    for name in ("probabilities", "logits"):
        np.save(folder / f"{name}.npy", np.load(folder / f"{name}.npy")[:-1])


def other_labels(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "scores.safetensors")
    tensors["labels"] = tensors["labels"].clone()
    tensors["labels"][0] = 77
    safetensors.torch.save_file(tensors, folder / "scores.safetensors")


def test_answers_are_not_written_over_a_folder(reslab: Command, nets: list[Path], tmp_path: Path) -> None:
    words = ("--server-file", tmp_path, "--server-classes", "nowhere")
    assert f"cannot write {tmp_path}: it is a directory" in mistake(reslab("evaluate", nets[0], *WORDS, *words), 1)


def test_scores_in_a_run_are_named(reslab: Command, nets: list[Path]) -> None:
    answer(reslab("evaluate", nets[0], *WORDS, "--json"))
    line = mistake(reslab("evaluate", "--from-scores", nets[0]), 1)
    assert f"holds no scores: there is no protocol.json; there are some in {nets[0] / 'scores' / 'single-val'}" in line


def test_runs_of_one_network_are_told_apart_and_none_counts_twice(reslab: Command, folders: list[Path]) -> None:
    text = reslab("evaluate", "--from-scores", *folders, "--pairs", "--greedy").stdout
    assert all(text.count(f"cifar-resnet8, width 4 (seed{seed})") >= 3 for seed in range(3))
    assert all(f"  scores: {folder}\n" in text for folder in folders)
    line = mistake(reslab("evaluate", "--from-scores", *folders, folders[1]))
    assert line.endswith(f"{folders[1]} is of weights that are given twice: see --member-weights")


def test_a_protocol_is_not_called_what_another_is(reslab: Command, nets: list[Path], tmp_path: Path) -> None:
    (tmp_path / "flip.TOML").write_text("shorter_sides = [32]\n")
    line = mistake(reslab("evaluate", nets[0], *WORDS, "--protocol", tmp_path / "flip.TOML"))
    assert line.endswith("flip.TOML is not flip, which it is called: give it another name")


def test_what_differs_between_two_protocols_of_one_name_is_said(
    reslab: Command, nets: list[Path], tmp_path: Path
) -> None:
    for number, side in enumerate((30, 32)):
        (tmp_path / str(number)).mkdir()
        protocol, out = tmp_path / str(number) / "p.toml", tmp_path / f"scores{number}"
        protocol.write_text(f"shorter_sides = [{side}]\n")
        answer(reslab("evaluate", nets[number], *WORDS, "--protocol", protocol, "--out", out, "--json"))
    line = mistake(reslab("evaluate", "--from-scores", tmp_path / "scores0", tmp_path / "scores1"))
    assert "were tested by p and p, whose shorter_sides differ: test them alike" in line


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_scores, "copy does not exist"),
        (without("protocol.json"), "holds no scores: there is no protocol.json"),
        (without("logits.npy"), "cannot read the scores in"),
        (without("scores.safetensors"), "cannot read the scores in"),
        (cut_short, "cannot read the scores in"),
        (not_finite, "are not finite"),
        (other_bytes, "probabilities.npy is damaged: its sha256 differs from that in protocol.json"),
        (turned_labels, "scores.safetensors is damaged: its sha256 differs"),
        (fewer, "are damaged"),
        (other_labels, "are damaged"),
    ],
)
def test_damaged_scores_are_refused_in_one_line(
    damage: Callable[[Path], None], message: str, reslab: Command, folders: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    damage(tmp_path / "copy")
    assert message in mistake(reslab("evaluate", "--from-scores", tmp_path / "copy"), 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scales", 29), "no scores at shorter side 29; there are some at 28, 32"),
        (("--scales", 28, 28), "shorter_sides must be one or more different sizes"),
        (("--data", "embedded"), "--from-scores takes the place of"),
        (("--average", "votes"), "average"),
    ],
)
def test_what_stored_scores_cannot_answer_is_one_line(
    words: tuple[object, ...], message: str, reslab: Command, folders: list[Path]
) -> None:
    assert message in mistake(reslab("evaluate", "--from-scores", folders[0], *words))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('places = "middle"', "places is 'middle'"),
        ("shorter_sides = [20]", "a crop of 28 does not fit a shorter side of 20"),
        ("shorter_sides = []", "shorter_sides must be one or more different sizes"),
        ("scales = [28]", "unknown key 'scales'"),
        ('dense = "pool-then-classify"\nplaces = "corners+center"', "has no effect in dense testing"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_protocol_that_cannot_be_is_one_line(
    text: str, message: str, reslab: Command, nets: list[Path], tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    line = mistake(reslab("evaluate", nets[0], *WORDS, "--protocol", file))
    assert message in line
    assert str(file) in line


def test_a_test_that_is_broken_off_leaves_the_scores_before_it(
    reslab: Command, nets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(reslab("evaluate", nets[0], *WORDS, "--out", tmp_path / "s", "--json"))
    before = {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()}

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reslab.experiments.testing.fill_scores", interrupted)
    done = reslab("evaluate", nets[1], *WORDS, "--out", tmp_path / "s", "--json")
    assert (done.returncode, done.stdout) == (130, "")
    assert {file.name: file.read_bytes() for file in (tmp_path / "s").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_the_test_servers_file_has_five_answers_a_picture_in_its_own_numbers(
    reslab: Command, folders: list[Path], tmp_path: Path
) -> None:
    """The classes of a copy are renamed: a network of ImageNet's 1,000 would take minutes."""
    wnids = [one.wnid for one in imagenet_classes()]
    folder = tmp_path / "scores"
    folder.mkdir()
    facts = json.loads((folders[0] / "protocol.json").read_text())
    facts |= {"classes": wnids, "n": 6}
    (folder / "protocol.json").write_text(json.dumps(facts))
    draw = np.random.default_rng(0)
    scores = draw.dirichlet(np.ones(1000), (6, 2)).astype(np.float32)
    for name in ("logits", "probabilities"):
        np.save(folder / f"{name}.npy", scores)
    tensors = {"probabilities": torch.from_numpy(scores.mean(1)), "labels": torch.arange(6)}
    safetensors.torch.save_file(tensors, folder / "scores.safetensors")
    stamp(folder)
    names = ("b/3.jpg", "b/4.jpg", "c/1.jpg", "c/6.jpg", "d/2.jpg", "d/5.jpg")
    block = np.frombuffer("".join(names).encode(), np.uint8)
    whole = np.zeros(6, np.int64)
    Index(("b", "c", "d"), block, np.arange(7, 43, 7), whole.astype(np.int32), whole).save(
        folder / "pictures.safetensors"
    )
    order = draw.permutation(wnids).tolist()
    classes = tmp_path / "order.txt"
    classes.write_text("".join(f"{wnid} and its name\n" for wnid in order))
    words = ("evaluate", "--from-scores", folder, "--json", "--server-file", tmp_path / "out.txt")
    assert answer(reslab(*words, "--server-classes", classes))["server_file"] == str(tmp_path / "out.txt")
    found = read_server_file(tmp_path / "out.txt", 6)
    best = np.argsort(-scores.astype(np.float64).mean(1), axis=1)[[2, 4, 0, 1, 5, 3], :5]  # by the names' numbers
    assert [[order[number - 1] for number in row] for row in found.tolist()] == [
        [wnids[label] for label in row] for row in best.tolist()
    ]
    assert "go together" in mistake(reslab(*words))
    (folder / "pictures.safetensors").unlink()
    assert "is not of photographs" in mistake(reslab(*words, "--server-classes", classes))
    classes.write_text("n01440764\n")
    assert "does not name each of the 1,000 classes" in mistake(reslab(*words, "--server-classes", classes))
    assert "cannot read" in mistake(reslab(*words, "--server-classes", tmp_path / "nowhere"))
