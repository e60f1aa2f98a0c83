"""How a claim is judged: a claim is data, its check a pure function of finished runs, its answer one of four."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reslab.core.text import few
from reslab.report.findings import Answer, Finding
from reslab.report.finished import FinishedRun

Networks = Mapping[tuple[bool, int], FinishedRun]  # by residual and depth, one seed


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and the check that decides it on the runs of one seed."""

    identifier: str
    statement: str
    source: str
    check: Callable[[Networks], list[Finding]]


@dataclass(frozen=True)
class Verdict:
    """What became of a claim on the runs of one setting; ``judged_on`` names networks and seeds.

    Of runs of one network and seed the first by `FinishedRun.rank` is judged; ``judged_on`` names the others too.
    """

    claim: Claim
    setting: str
    answer: Answer
    judged_on: str
    findings: dict[int, list[Finding]]

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "id": self.claim.identifier,
            "statement": self.claim.statement,
            "source": self.claim.source,
            "setting": self.setting,
            "verdict": self.answer,
            "judged_on": self.judged_on,
            "numbers": [
                {"seed": seed, "comparison": finding.text, "answer": finding.answer, **finding.numbers}
                for seed, findings in self.findings.items()
                for finding in findings
            ],
        }


def judge(claims: Iterable[Claim], runs: Sequence[FinishedRun]) -> list[Verdict]:
    """Every claim on every setting among ``runs``: seed by seed, and together only where all seeds agree."""
    by_setting: dict[str, list[FinishedRun]] = {}
    for run in runs:
        by_setting.setdefault(run.comparable, []).append(run)
    return [_judge(claim, group) for group in by_setting.values() for claim in claims]


def _judge(claim: Claim, runs: list[FinishedRun]) -> Verdict:
    findings: dict[int, list[Finding]] = {}
    last_first = sorted(runs, key=lambda run: run.rank, reverse=True)
    for seed in sorted({run.experiment.seed for run in runs}):
        networks = {(run.residual, run.name.depth): run for run in last_first if run.experiment.seed == seed}
        if found := claim.check(networks):
            findings[seed] = found
    answers = {_together(found) for found in findings.values()}
    overall: Answer = "not tested" if not answers else answers.pop() if len(answers) == 1 else "not separable"
    return Verdict(claim, runs[0].setting, overall, _judged_on(runs, findings), findings)


def _together(findings: list[Finding]) -> Answer:
    answers = {finding.answer for finding in findings}
    for worst in ("fails", "not separable"):
        if worst in answers:
            return worst
    return "holds"


def _judged_on(runs: list[FinishedRun], findings: Mapping[int, list[Finding]]) -> str:
    if not findings:
        return "no networks that it speaks of"
    texts = [finding.text for found in findings.values() for finding in found]
    judged = {run.called: run.title for run in runs if any(_names(text, run.called) for text in texts)}
    seeds = ", ".join(str(seed) for seed in findings)
    others = [*dict.fromkeys(run.called for run in runs if run.title in judged.values() and run.called not in judged)]
    beside = f"; not judged: {few(others)}" if others else ""
    return f"{', '.join(judged)}; seed{'s' if len(findings) > 1 else ''} {seeds}{beside}"


def _names(text: str, called: str) -> bool:
    """Whether ``text`` speaks of the network, not of one whose name goes on."""
    return re.search(rf"(?<![\w-]){re.escape(called)}(?![\w-])", text) is not None


def neighbours(networks: Networks, residual: bool, deepest: int) -> list[tuple[FinishedRun, FinishedRun]]:  # noqa: FBT001 a kind
    """Pairs (shallower, deeper) of neighbouring depths among the networks of one kind, up to ``deepest``."""
    depths = sorted(depth for kind, depth in networks if kind == residual and depth <= deepest)
    return [(networks[residual, a], networks[residual, b]) for a, b in itertools.pairwise(depths)]
