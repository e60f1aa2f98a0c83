"""A report's files: one self-contained HTML page, the same in Markdown, and its figures as SVG and PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from reslab._version import __version__
from reslab.core.errors import StorageError
from reslab.core.files import write_bytes, write_text
from reslab.experiments.deviations import deviations
from reslab.report.cifar_claims import CIFAR_CLAIMS
from reslab.report.claims import Verdict, judge
from reslab.report.figure import as_png, as_svg, training_curves
from reslab.report.finished import FinishedRun
from reslab.report.table import HEADINGS, rows_of

SHOWN = ("reslab", "revision", "torch", "python", "processor", "threads", "precision")
CAPTION = (
    "Dotted lines: the learning rate is divided. Training error is measured on augmented pictures while the network"
    " still learns, so it may lie above the test error."
)


@dataclass(frozen=True)
class Written:
    """Where a report's files are, and the verdicts they show."""

    html: Path
    markdown: Path
    figures: tuple[Path, ...]
    verdicts: tuple[Verdict, ...]


def write_report(runs: Sequence[FinishedRun], out: Path) -> Written:
    """Render ``runs`` into ``out`` (the HTML page), a Markdown file beside it and ``figures/``.

    Args:
        runs: at least one finished run; each setting among them gets a section of its own.
        out: the page's path.

    Raises:
        StorageError: a file could not be written.
    """
    if out.is_dir():
        raise StorageError(f"cannot write {out}: it is a directory")
    settings: dict[str, list[FinishedRun]] = {}
    for run in runs:
        settings.setdefault(run.comparable, []).append(run)
    verdicts = judge(CIFAR_CLAIMS, runs)
    sections, figures = [], []
    for number, group in enumerate(settings.values(), start=1):
        figure = training_curves(group)
        stem = out.parent / "figures" / f"training-curves{'' if len(settings) == 1 else f'-{number}'}"
        svg, png = as_svg(figure), as_png(figure)
        write_text(stem.with_suffix(".svg"), svg)
        write_bytes(stem.with_suffix(".png"), png)
        figures += [stem.with_suffix(".svg"), stem.with_suffix(".png")]
        sections.append(_section(group, verdicts, svg, f"figures/{stem.name}.png"))
    markdown = out.with_suffix(".md")
    write_text(out, _template("page.html.j2").render(sections=sections, version=__version__, caption=CAPTION))
    write_text(markdown, _template("page.md.j2").render(sections=sections, version=__version__, caption=CAPTION))
    return Written(out, markdown, tuple(figures), tuple(verdicts))


def _section(runs: list[FinishedRun], verdicts: Sequence[Verdict], svg: str, picture: str) -> dict[str, Any]:
    first = runs[0]
    return {
        "setting": first.setting,
        "recipe": first.experiment.recipe,
        "headings": HEADINGS,
        "rows": rows_of(runs),
        "verdicts": [verdict for verdict in verdicts if verdict.setting == first.setting],
        "runs": runs,
        "classes": list(first.result["by_class"]),
        "svg": svg,
        "picture": picture,
        "deviations": deviations([run.experiment for run in runs]),
        "environment": {key: first.environment.get(key) for key in SHOWN},
    }


def _template(name: str) -> jinja2.Template:
    escape = name.endswith(".html.j2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reslab.report"),
        autoescape=escape,  # noqa: S701 Markdown is not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
