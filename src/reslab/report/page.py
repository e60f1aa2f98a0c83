"""A report's files: one self-contained HTML page, the same in Markdown, and its figures as SVG and PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.core.errors import StorageError
from reslab.core.files import write_text
from reslab.experiments.deviations import deviations
from reslab.report.averaged import averaged
from reslab.report.by_class import by_class
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import Verdict, judge
from reslab.report.errors import Errors, errors_of
from reslab.report.finished import FinishedRun
from reslab.report.how_trained import how_trained
from reslab.report.rendering import rendered
from reslab.report.scored import Scored, read_scored
from reslab.report.section_figures import section_figures
from reslab.report.table import HEADINGS, rows_of
from reslab.report.table6 import Table6, table6_of
from reslab.report.where import where

NAMED = 3  # networks and data sets in the heading; more are counted


@dataclass(frozen=True)
class Written:
    """Where a report's files are, the verdicts on its runs, and Table 6 where one of them is on CIFAR-10."""

    html: Path
    markdown: Path
    figures: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]
    table6: Table6 | None


def write_report(
    runs: Sequence[FinishedRun],
    out: Path,
    paper_points: bool = False,  # noqa: FBT001, FBT002 as --paper-points
    left_out: Sequence[str] = (),
    scored: Mapping[str, Scored | None] | None = None,
) -> Written:
    """Render ``runs`` into ``out`` (the HTML page), a Markdown file beside it and ``figures/``.

    Args:
        runs: at least one finished run; each setting among them gets a section of its own.
        out: the page's path.
        paper_points: draw the paper's own points over Figures 6 and 7, as read off them.
        left_out: why other runs are not in it, which the page says too.
        scored: what `read_scored` found of each run, by directory; None: it is read here.

    Raises:
        RunError: the scores of a run are damaged; nothing is written.
        StorageError: a file could not be written.
    """
    if out.is_dir():
        raise StorageError(f"cannot write {out}: it is a directory")
    settings: dict[str, list[FinishedRun]] = {}
    for run in runs:
        settings.setdefault(run.comparable, []).append(run)
    errors = _errors(runs, out.parent, scored)
    marks = [f"-{number}" for number in range(1, len(settings) + 1)] if len(settings) > 1 else [""]
    sections = [
        {**_section(group, errors), "figures": section_figures(group, out.parent, mark, paper_points=paper_points)}
        for group, mark in zip(settings.values(), marks, strict=True)
    ]
    table6 = table6_of(runs)
    tables = table6.tables if table6 else ()
    values = {"sections": sections, "tables": tables, "heading": heading(runs), "left_out": left_out}
    write_text(out, rendered("page.html.j2", values))
    write_text(out.with_suffix(".md"), rendered("page.md.j2", values))
    figures = [file for section in sections for figure in section["figures"] for file in figure.drawing.files]
    figures += [file for found in errors.values() if found for file in found.files]
    verdicts = [verdict for section in sections for verdict in section["judged"]]
    return Written(out, out.with_suffix(".md"), tuple(figures), tuple(verdicts), table6)


def heading(runs: Sequence[FinishedRun]) -> str:
    """What the page is about: the paper's comparison where both kinds of network are there, else which networks."""
    if len({run.residual for run in runs}) > 1:
        return "Plain against residual"
    networks, data = (
        list(dict.fromkeys(names)) for names in zip(*((run.title, run.data_title) for run in runs), strict=True)
    )
    few = ", ".join(networks) if len(networks) <= NAMED else f"{len(networks)} networks"
    return f"{few} on {', '.join(data) if len(data) <= NAMED else f'{len(data)} data sets'}"


def _errors(
    runs: Sequence[FinishedRun], beside: Path, scored: Mapping[str, Scored | None] | None
) -> dict[str, Errors | None]:
    """The errors of the runs that kept them, by directory; None where a later test took the place of the run's own."""
    scored = {run.directory: read_scored(run) for run in runs} if scored is None else scored
    read = {run.directory: (run, found) for run in runs if (found := scored[run.directory])}
    own = [directory for directory, (_, found) in read.items() if found.own]
    marks = {directory: f"-{number}" if len(own) > 1 else "" for number, directory in enumerate(own, start=1)}
    return {
        directory: errors_of(*found, beside, marks[directory]) if directory in marks else None
        for directory, found in read.items()
    }


def _section(runs: list[FinishedRun], errors: Mapping[str, Errors | None]) -> dict[str, Any]:
    first, judged = runs[0], judge(CIFAR_CLAIMS, runs)
    return {
        "setting": first.setting,
        "how": how_trained(runs),
        "headings": HEADINGS,
        "rows": rows_of(runs),
        "judged": judged,
        "verdicts": judged if any(verdict.answer != "not tested" for verdict in judged) else [],
        "averaged": averaged(runs),
        "by_class": by_class(runs),
        "errors": [found for run in runs if (found := errors.get(run.directory))],
        "retested": [run.called for run in runs if errors.get(run.directory, run) is None],
        "deviations": deviations([run.experiment for run in runs]),
        "where": where(runs),
    }
