import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_benchmark_prints_rows_with_rates_and_ratios(tmp_path: Path) -> None:
    script, out = ROOT / "benchmarks" / "training_step.py", tmp_path / "speed.json"
    small = ("--batch", "8", "--rounds", "3", "--out", str(out))
    done = subprocess.run([sys.executable, script, *small], capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    assert json.loads(out.read_text()) == printed
    assert len(printed["rows"]) == 2
    for row in printed["rows"]:
        assert row.keys() >= {"name", "model", "rate", "rival_rate", "ratio"}
        assert len(row["ratios"]) == 3
        assert row["ratio"] == sorted(row["ratios"])[1]
        assert min(row["rate"], row["rival_rate"]) > 0
    assert printed["environment"]["threads"] >= 1
