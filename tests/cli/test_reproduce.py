import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


MODELS = ["cifar-plain20", "cifar-plain56", "cifar-resnet20", "cifar-resnet56"]


def without_clock(runs: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in run.items() if key not in ("seconds", "directory")} for run in runs]


def test_a_reproduction_prints_runs_claims_and_report(reslab: Command, tmp_path: Path) -> None:
    words = ("reproduce", "degradation", "--steps", 2, "--json")
    done = reslab(*words, "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert [run["model"] for run in printed["runs"]] == MODELS
    assert all(run["n"] == 2000 and run["input_size"] == 28 for run in printed["runs"])
    assert [claim["id"] for claim in printed["claims"]] == ["D1", "D2", "D3", "C7", "C8"]
    assert all("Fashion-MNIST, 2 steps" in claim["setting"] for claim in printed["claims"])
    page = Path(printed["report"]).read_text()
    assert "<svg" in page
    assert (tmp_path / "a" / "report.md").exists()
    assert (tmp_path / "a" / "figures" / "training-curves.png").read_bytes().startswith(b"\x89PNG")
    again = json.loads(reslab(*words, "--out", tmp_path / "b").stdout)
    assert without_clock(again["runs"]) == without_clock(printed["runs"])
    assert again["claims"] == printed["claims"]
    kept = json.loads(reslab(*words, "--out", tmp_path / "a").stdout)
    assert kept["runs"] == printed["runs"]


def test_claims_and_report_read_a_folder_of_runs(reslab: Command, tmp_path: Path) -> None:
    words = ("--only", "cifar-plain20", "cifar-resnet20", "--steps", 2, "--seeds", 2)
    done = reslab("reproduce", "degradation", *words, "--out", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "2 seeds" in done.stdout
    verdicts = {claim["id"]: claim for claim in json.loads(reslab("claims", tmp_path / "runs", "--json").stdout)}
    assert verdicts["D1"]["verdict"] == "not tested"
    assert verdicts["C8"]["judged_on"] == "plain-20, ResNet-20; seeds 0, 1"
    assert {number["seed"] for number in verdicts["C8"]["numbers"]} == {0, 1}
    assert all(number["n"] == [2000, 2000] for number in verdicts["C8"]["numbers"])
    page = reslab("report", tmp_path / "runs", "--out", tmp_path / "page.html", "--json")
    assert json.loads(page.stdout)["report"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.md").exists()
