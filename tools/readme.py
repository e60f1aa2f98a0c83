"""Write the generated parts of README.md, and the figure it shows, from the runs in results/ and from the code.

    python tools/readme.py [--check]

With ``--check`` nothing is written; the exit code is 1 where README.md is not what would be written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reslab.core.files import write_bytes
from reslab.core.rundir import find_runs
from reslab.experiments.deviations import LEDGER, as_markdown
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import judge
from reslab.report.figure import as_png, training_curves
from reslab.report.finished import FinishedRun, finished
from reslab.report.table import HEADINGS, rows_of

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "results" / "degradation-embedded"
FIGURE = ROOT / "docs" / "demo.png"


def demo_table(runs: list[FinishedRun]) -> str:
    """What the demo prints: the first seed's rows."""
    rows = [row.cells for row in rows_of([run for run in runs if run.experiment.seed == 0])]
    return markdown_table(HEADINGS, rows)


def seeds_table(runs: list[FinishedRun]) -> str:
    """Mean and spread over all seeds, and the verdicts that all seeds share."""
    means = [row.cells for row in rows_of(runs) if row.summary]
    columns = (0, 1, 4, 5)
    table = markdown_table([HEADINGS[i] for i in columns], [[cells[i] for i in columns] for cells in means])
    verdicts = [(v.claim.identifier, v.claim.statement, f"**{v.answer}**") for v in judge(CIFAR_CLAIMS, runs)]
    return table + "\n" + markdown_table(("claim", "the paper's statement", f"on {runs[0].setting}"), verdicts)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def generated(text: str, parts: dict[str, str]) -> str:
    """``text`` with what stands between the marks of each part replaced."""
    for name, content in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"README.md has no part {name!r}")
        text = before + start + content + end + after
    return text


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    runs = finished(find_runs([RUNS]))
    parts = {"demo": demo_table(runs), "seeds": seeds_table(runs), "deviations": as_markdown(list(LEDGER))}
    readme = ROOT / "README.md"
    wanted = generated(readme.read_text(encoding="utf-8"), parts)
    if options.check:
        sys.exit(0 if wanted == readme.read_text(encoding="utf-8") else 1)
    write_bytes(readme, wanted.encode())
    write_bytes(FIGURE, as_png(training_curves([run for run in runs if run.experiment.seed == 0])))


if __name__ == "__main__":
    main()
