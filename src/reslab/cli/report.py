"""``reslab claims`` and ``reslab report``."""

from collections.abc import Sequence
from pathlib import Path

from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import warn
from reslab.core.units import counted
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import Verdict, judge
from reslab.report.gathered import Gathered, gather
from reslab.report.table import HEADINGS, rows_of
from reslab.report.table6 import Table6, table6_of


def claims(*runs: Path, json: bool = False) -> None:
    """Judge the paper's claims on finished runs.

    Args:
        runs: run directories, or folders of them; what is unfinished or damaged in folders is left out, as a line says.
        json: print one JSON document.
    """
    read = _said(gather(runs)).runs
    verdicts = judge(CIFAR_CLAIMS, read)
    if json:
        print_json([verdict.as_json() for verdict in verdicts])
        return
    print_table6(table6_of(read))
    print_verdicts(verdicts)


def report(*runs: Path, out: Path = Path("report.html"), paper_points: bool = False, json: bool = False) -> None:
    """Write a page with table, figure and verdicts of finished runs, and the same in Markdown.

    Args:
        runs: run directories, or folders of them; what is unfinished or damaged in folders is left out, as a line says.
        out: the page; a Markdown file and the folder figures come beside it.
        paper_points: draw the paper's own points, as read off Figures 6 and 7, over these.
        json: print one JSON document.
    """
    from reslab.report.page import write_report
    from reslab.report.scored import Scored, read_scored

    scored: dict[str, Scored | None] = {}
    gathered = _said(gather(runs, lambda run: scored.setdefault(run.directory, read_scored(run))))
    read, left_out = gathered.runs, gathered.left_out
    written = write_report(read, out, paper_points, left_out, scored)
    if json:
        print_json(
            {
                "report": str(written.html),
                "markdown": str(written.markdown),
                "figures": [str(figure) for figure in written.figures],
                "table6": written.table6.as_json() if written.table6 else None,
                "left_out": list(left_out),
            }
        )
        return
    print_table6(written.table6)
    for comparable in dict.fromkeys(run.comparable for run in read):
        group = [run for run in read if run.comparable == comparable]
        print_table(HEADINGS, [row.cells for row in rows_of(group)], group[0].setting)
        stdout().print()
    stdout().print(f"written: {written.html}, {written.markdown} and {counted(len(written.figures), 'figure')}")


def _said(gathered: Gathered) -> Gathered:
    """The same, once a person knows what is left out."""
    if gathered.warning:
        warn(gathered.warning)
    return gathered


def print_table6(found: Table6 | None) -> None:
    """Table 6 and the plain networks below it, each with its note; nothing where there is none."""
    for table in found.tables if found else ():
        print_table(table.headings, table.rows, table.title)
        stdout().print(f"{table.note}\n")


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Each verdict with its comparisons."""
    for verdict in verdicts:
        stdout().print(f"{verdict.claim.identifier}  {verdict.answer:13}  {verdict.claim.statement}")
        stdout().print(f"    on {verdict.setting}: {verdict.judged_on}")
        for seed, findings in verdict.findings.items():
            for finding in findings:
                stdout().print(f"    seed {seed}: {finding.sentence}")
