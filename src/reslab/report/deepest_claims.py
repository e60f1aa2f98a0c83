"""Section 4.2 on the two deepest networks: its percentages speak of its own schedule, so no other run tests them."""

from typing import Final

from reslab.experiments.catalog import as_published
from reslab.report.claims import Claim, Networks
from reslab.report.findings import Finding, above, below, compare
from reslab.report.finished import FinishedRun

PLAIN_110: Final = 60.0  # percent; Figure 6's caption: the error is higher and not displayed
RESNET_1202: Final = 0.1  # percent; section 4.2: the training error is lower


def _plain_110_is_lost(networks: Networks) -> list[Finding]:
    plain = _published(networks, 110, residual=False)
    if plain is None:
        return []
    return [  # the caption says "error" of a figure that draws both
        above(f"training error at the end, {plain.called} above {PLAIN_110:g} %", plain.train, PLAIN_110),
        above(f"test error, {plain.called} above {PLAIN_110:g} %", plain.test, PLAIN_110),
    ]


def _1202_layers_overfit(networks: Networks) -> list[Finding]:
    deep, deeper = _published(networks, 110, residual=True), _published(networks, 1202, residual=True)
    if deep is None or deeper is None:
        return []
    text = f"training error at the end, {deeper.called} below {RESNET_1202:g} %"
    return [
        below(text, deeper.train, RESNET_1202),
        compare(f"test error, {deeper.called} above {deep.called}", deeper.test, deep.test),
    ]


def _published(networks: Networks, depth: int, *, residual: bool) -> FinishedRun | None:
    run = networks.get((residual, depth))
    return run if run and as_published(run.experiment) else None


DEEPEST_CLAIMS: Final = (
    Claim(
        "D4",
        "The error of plain-110 stays above 60 %",
        "section 4.2, Figure 6 caption; judged on the paper's schedule",
        _plain_110_is_lost,
    ),
    Claim(
        "D5",
        "ResNet-1202 trains to below 0.1 % and still tests worse than ResNet-110: it overfits",
        "section 4.2, Figure 6 right; judged on the paper's schedule",
        _1202_layers_overfit,
    ),
)
