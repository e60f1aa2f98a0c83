"""Write the generated parts of README.md and docs/, and the figures that they show, from results/ and from the code.

    python tools/readme.py [--check]

With ``--check`` nothing is written; the exit code is 1 where a text is not what would be written. Figures are not
compared.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reslab.core.errors import PictureError
from reslab.core.files import write_bytes, write_text
from reslab.core.rundir import RunDirectory, find_runs
from reslab.data.decode import decode
from reslab.data.picture_file import read_header, read_picture
from reslab.experiments.deviations import LEDGER, as_markdown
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import judge
from reslab.report.figure import as_png, training_curves
from reslab.report.figure6 import draw_figure6
from reslab.report.figure7 import draw_figure7
from reslab.report.finished import FinishedRun, finished
from reslab.report.speed import SPEED_HEADINGS, speed_command, speed_place, speed_rows, speed_sentences
from reslab.report.table import HEADINGS, rows_of
from reslab.report.table6 import HEADINGS as TABLE6
from reslab.report.table6 import table6_of

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "results" / "degradation-embedded"
CIFAR10 = ROOT / "results" / "cifar10"
DOCS = ROOT / "docs"
SPEED = ROOT / "results" / "speed"
PUBLISHED = ROOT / "results" / "published.json"
TESTING = ROOT / "results" / "testing.json"
AVERAGING = ROOT / "results" / "bn-average.json"
PACKED = ROOT / "results" / "packed.json"
PROCESSES = ROOT / "results" / "processes.json"


def demo_table(runs: list[FinishedRun]) -> str:
    """What the demo prints: the first seed's rows."""
    rows = [row.cells for row in rows_of([run for run in runs if run.experiment.seed == 0])]
    return markdown_table(HEADINGS, rows)


def seeds_table(runs: list[FinishedRun]) -> str:
    """Mean and spread over all seeds, and the verdicts that all seeds share."""
    means = [row.cells for row in rows_of(runs) if row.summary]
    columns = (0, 4, 5)
    table = markdown_table([HEADINGS[i] for i in columns], [[cells[i] for i in columns] for cells in means])
    judged = [verdict for verdict in judge(CIFAR_CLAIMS, runs) if verdict.answer != "not tested"]
    verdicts = [(v.claim.identifier, v.claim.statement, f"**{v.answer}**") for v in judged]
    return table + "\n" + markdown_table(("claim", "the paper's statement", f"on {runs[0].setting}"), verdicts)


def obtained(runs: list[RunDirectory], done: list[FinishedRun]) -> str:
    """The rows of Table 6 that were run, each with its verdict, and how far the runs are that go on."""
    table = table6_of(done)
    lines = [line.cells for line in (*table.rows, *table.plain) if line.runs] if table else []
    begun = [
        f"- `{run.path.name}` is not finished: step {run.metrics()[-1]['step']:,} of {run.experiment.recipe.steps:,}.\n"
        for run in runs
        if not run.result()
    ]
    return "\n".join(part for part in (markdown_table(TABLE6, lines) if lines else "", "".join(begun)) if part)


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def speed_tables() -> str:
    """What each file of `reslab bench` says, training first: command, rows, place and advice."""
    kept = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(SPEED.glob("*.json"), reverse=True)]
    return "\n".join(speed_table(found) for found in kept if "settings" in found)


def beside_table() -> str:
    """Ratios that tools measured: shards against a folder, and two processes against one."""
    packed, processes = (json.loads(file.read_text(encoding="utf-8")) for file in (PACKED, PROCESSES))
    compared = (
        ("shards against the folder, cold", packed, packed["cold"]),
        ("shards against the folder, warm", packed, packed["warm"]),
        ("two processes of one thread against one of two", processes, processes),
    )
    rows = [
        (name, *(f"{found[key]:.2f}" for key in ("ratio", "lowest", "highest")), f"`{document['command']}`")
        for name, document, found in compared
    ]
    place = packed["environment"]
    table = markdown_table(("", "ratio", "lowest", "highest", "command"), rows)
    return f"{table}\n{place['processor']}, {place['capability']}, {place['cores']} cores, torch {place['torch']}.\n"


def speed_table(found: dict[str, Any]) -> str:
    """One measurement."""
    advice = "".join(f"- {sentence}\n" for sentence in speed_sentences(found))
    table = markdown_table(SPEED_HEADINGS, speed_rows(found))
    return f"`{speed_command(found)}`\n\n{table}\n{speed_place(found)}.\n\n{advice}"


def published_table() -> str:
    """Published weights: what `reslab evaluate` says of them, and what their authors did."""
    found = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    rows = [
        (
            row["weights"],
            row["model"],
            f"{row['n']:,} {row['pictures']}",
            f"{row['error']:.2f} [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]",
            f"{row['top5_error']:.2f}",
            row["published"],
        )
        for row in found["rows"]
    ]
    place = found["environment"]
    headings = ("weights", "network", "pictures", "error %, one view, fp32", "top-5 error %", "published %")
    table = markdown_table(headings, rows)
    return f"{table}\n{place['processor']}, torch {place['torch']}; by `python tools/published.py`.\n"


def testing_tables() -> dict[str, str]:
    """Published weights in every way of testing: errors, and what paired tests say."""
    found = json.loads(TESTING.read_text(encoding="utf-8"))
    parts = {name: testing_table(found[name]) for name in ("cifar", "photographs")}
    rows = [
        (
            row["statement"],
            row["precision"],
            f"{row['difference']:+.2f} [{row['interval'][0]:+.2f}, {row['interval'][1]:+.2f}]",
            f"{row['only_second']} : {row['only_first']}",
            f"{row['p_value']:.2g}",
            f"{row['n']:,}",
            row["verdict"],
        )
        for row in found["paired"]
    ]
    headings = (
        "statement",
        "precision",
        "difference, points",
        "only it : only the other right",
        "McNemar's p",
        "n",
        "verdict",
    )
    place = found["environment"]
    parts["paired"] = markdown_table(headings, rows)
    parts["testing-place"] = f"{place['processor']}, torch {place['torch']}; by `python tools/testing.py`.\n"
    return parts


def testing_table(found: Sequence[dict[str, Any]]) -> str:
    """Errors, a row a test."""
    rows = [
        (
            " + ".join(row["networks"]),
            _testing_way(row),
            row["average"],
            row["precision"],
            f"{row['error']:.2f} [{row['interval'][0]:.2f}, {row['interval'][1]:.2f}]",
            f"{row['top5_error']:.2f}",
            f"{row['hits']:,} of {row['n']:,}",
        )
        for row in found
    ]
    headings = ("network", "protocol", "averaged", "precision", "error %", "top-5 error %", "right")
    return markdown_table(headings, rows)


def averaging_table() -> str:
    """Test errors with batch statistics over so many pictures, and how far those lie from the largest number's."""
    found = json.loads(AVERAGING.read_text(encoding="utf-8"))
    rows = [
        (
            f"{row['pictures']:,}" if row["pictures"] else "moving averages",
            f"{row['error']:.2f}" if row["std"] is None else f"{row['error']:.2f} ± {row['std']:.2f}",
            f"{min(row['errors']):.2f} to {max(row['errors']):.2f}",
            f"{len(row['errors'])}",
            f"{min(row['p_values']):.2g}" if row["pictures"] else "",
            f"{100 * row['distances']['mean_mean']:.2f}",
            f"{100 * row['distances']['std_mean']:.2f}",
        )
        for row in found["rows"]
    ]
    headings = (
        "pictures",
        "test error %",
        "lowest to highest",
        "parts",
        "smallest p",
        "means off by, % of std",
        "stds off by, %",
    )
    place = found["environment"]
    about = (
        f"{found['model']} after {found['step']:,} steps on {found['data']['name']}, n={found['rows'][0]['n']:,} a test"
    )
    return (
        f"{markdown_table(headings, rows)}\n{about}, groups of {found['bn_group']}, fp32, {place['processor']}, torch"
        f" {place['torch']}; by `python tools/bn_average.py`.\n"
    )


def _testing_way(row: dict[str, Any]) -> str:
    """The protocol, and at which sizes where those were chosen."""
    name = row["protocol"].removesuffix(", changed")
    words = row["command"].partition(" --scales ")[2]
    return f"{name}, {' and '.join(words.split())} alone" if words else name


def kinds_table() -> str:
    """What becomes of each kind of file that the tests build, by reading it."""
    sys.path.insert(0, str(ROOT))
    from tests.hostile import KINDS

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = kind.put(Path(folder))
            try:
                header = read_header(data := read_picture(path))
                decode(data, header)
                rows.append((path.name, ", ".join(("read", *header.notes))))
            except PictureError as error:
                rows.append((path.name, str(error)))
    return markdown_table(("file", "what becomes of it"), rows)


def generated(path: Path, parts: dict[str, str]) -> str:
    """The text of ``path`` with what stands between the marks of each part replaced."""
    text = path.read_text(encoding="utf-8")
    for name, content in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{path.name} has no part {name!r}")
        text = before + start + content + end + after
    return text


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    runs = finished(find_runs([RUNS]))
    readme = ROOT / "README.md"
    begun = find_runs([CIFAR10])
    done = finished([run for run in begun if run.result()])
    parts = {"demo": demo_table(runs), "seeds": seeds_table(runs), "obtained": obtained(begun, done)}
    parts["deviations"] = as_markdown(list(LEDGER))
    wanted = {
        readme: generated(readme, parts),
        DOCS / "cifar10.md": generated(DOCS / "cifar10.md", {"obtained": parts["obtained"]}),
        DOCS / "speed.md": generated(DOCS / "speed.md", {"speed": speed_tables(), "beside": beside_table()}),
        DOCS / "photographs.md": generated(DOCS / "photographs.md", {"kinds": kinds_table()}),
        DOCS / "testing.md": generated(DOCS / "testing.md", {**testing_tables(), "averaging": averaging_table()}),
        DOCS / "weights.md": generated(DOCS / "weights.md", {"published": published_table()}),
    }
    if options.check:
        stale = [path.name for path, text in wanted.items() if text != path.read_text(encoding="utf-8")]
        sys.exit(f"out of date: {', '.join(stale)}" if stale else 0)
    for path, text in wanted.items():
        write_text(path, text)
    write_bytes(DOCS / "demo.png", as_png(training_curves([run for run in runs if run.experiment.seed == 0])))
    if done:
        write_bytes(CIFAR10 / "figure6.png", as_png(draw_figure6(done, paper_points=True)))
        write_bytes(CIFAR10 / "figure7.png", as_png(draw_figure7(done, paper_points=True)))


if __name__ == "__main__":
    main()
