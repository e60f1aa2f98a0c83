"""The claims of section 4.2, and those of section 4.1 whose counterparts small pictures can test."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

from reslab.report.claims import Claim, Networks, neighbours
from reslab.report.deepest_claims import DEEPEST_CLAIMS
from reslab.report.findings import Finding, close, compare
from reslab.report.finished import FinishedRun, tested_count, train_count
from reslab.report.response_claims import RESPONSE_CLAIMS

DEEPEST_PLAIN: Final = 56  # Figure 6, left; plain-110 is a claim of its own
DEEPEST_RESIDUAL: Final = 110  # Figure 6, middle
CROSSING: Final = (20, 32)  # Figure 6: the training errors of these two cross at the end
SAME_FINAL: Final = 1.0  # points; ours: repetitions of one network by different people lie 0.3 to 1.2 points apart
EARLY: Final = 1 / 3  # of the first stage: 5e4 of 15e4 iterations in Figure 4, where the two curves are apart


def _deeper_plain_tests_worse(networks: Networks) -> list[Finding]:
    return [
        compare(f"test error, {deep.called} above {shallow.called}", deep.test, shallow.test)
        for shallow, deep in neighbours(networks, residual=False, deepest=DEEPEST_PLAIN)
    ]


def _deeper_plain_trains_worse(networks: Networks) -> list[Finding]:
    findings = []
    for shallow, deep in neighbours(networks, residual=False, deepest=DEEPEST_PLAIN):
        a, b = _before_first_drop(shallow), _before_first_drop(deep)
        if a and b:
            text = f"training error before the first drop (step {a['step']}), {deep.called} above {shallow.called}"
            findings.append(compare(text, train_count(b), train_count(a)))
    for shallow, deep in _apart_at_the_end(networks):
        text = f"training error at the end, {deep.called} above {shallow.called}"
        findings.append(compare(text, deep.train, shallow.train))
    return findings


def _apart_at_the_end(networks: Networks) -> Iterator[tuple[FinishedRun, FinishedRun]]:
    """Pairs (shallower, deeper) of neighbouring plain networks, where those that cross are neighbours of the same."""
    depths = sorted(depth for residual, depth in networks if not residual and depth <= DEEPEST_PLAIN)
    levels = [[*group] for _, group in itertools.groupby(depths, lambda depth: depth in CROSSING or depth)]
    for shallower, deeper in itertools.pairwise(levels):
        yield from ((networks[False, a], networks[False, b]) for a in shallower for b in deeper)


def _deeper_residual_is_better(networks: Networks) -> list[Finding]:
    findings = []
    for shallow, deep in neighbours(networks, residual=True, deepest=DEEPEST_RESIDUAL):
        findings.append(compare(f"test error, {shallow.called} above {deep.called}", shallow.test, deep.test))
        text = f"training error at the end, {shallow.called} above {deep.called}"
        findings.append(compare(text, shallow.train, deep.train))
    return findings


def _shortcuts_cure(networks: Networks) -> list[Finding]:
    both = [depth for kind, depth in networks if kind and (False, depth) in networks]
    if not both:
        return []
    plain, residual = networks[False, max(both)], networks[True, max(both)]
    return [
        compare(f"test error, {plain.called} above {residual.called}", plain.test, residual.test),
        compare(f"training error at the end, {plain.called} above {residual.called}", plain.train, residual.train),
    ]


def _shallow_pair_ends_close(networks: Networks) -> list[Finding]:
    plain, residual = networks.get((False, 20)), networks.get((True, 20))
    if plain is None or residual is None:
        return []
    findings = [close(f"test error, {plain.called} and {residual.called}", plain.test, residual.test, SAME_FINAL)]
    a, b = _early_test(plain), _early_test(residual)
    if a and b:
        text = f"test error early (step {a['step']}), {plain.called} above {residual.called}"
        findings.append(compare(text, tested_count(a), tested_count(b)))
    return findings


def _before_first_drop(run: FinishedRun) -> dict[str, Any] | None:
    drops = run.experiment.recipe.drop_steps()
    lines = [line for line in run.metrics if not drops or line["step"] <= drops[0]]
    return lines[-1] if lines else None


def _early_test(run: FinishedRun) -> dict[str, Any] | None:
    drops = run.experiment.recipe.drop_steps() or (run.experiment.recipe.steps,)
    tests = [line for line in run.metrics if "test_error" in line and line["step"] <= drops[0]]
    return min(tests, key=lambda line: abs(line["step"] - EARLY * drops[0]), default=None)


CIFAR_CLAIMS: Final = (
    Claim(
        "D1",
        "The test error of plain networks grows with depth",
        "section 4.2, Figure 6 left",
        _deeper_plain_tests_worse,
    ),
    Claim(
        "D2",
        "So does their training error: degradation is not overfitting",
        "section 4.2, Figure 6 left",
        _deeper_plain_trains_worse,
    ),
    Claim(
        "D3",
        "The training and test error of residual networks fall with depth, up to 110 layers",
        "section 4.2, Figure 6 middle",
        _deeper_residual_is_better,
    ),
    *DEEPEST_CLAIMS,
    *RESPONSE_CLAIMS,
    Claim(
        "C7",
        "At the same depth, shortcuts lower the error of the deep network",
        "section 4.1, Table 2; judged on the deepest pair",
        _shortcuts_cure,
    ),
    Claim(
        "C8",
        "The shallow plain and residual networks end close, but the residual one is better early",
        "section 4.1, Figure 4; judged on the 20-layer pair",
        _shallow_pair_ends_close,
    ),
)
