"""Scores at rest: those of one test, as `reslab evaluate` keeps them, and what can be made of several."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from reslab.core.errors import DataError, EvaluationError, SpecError
from reslab.core.files import sha256_file
from reslab.core.protocol import Average, Protocol
from reslab.core.rundir import Record, read_record
from reslab.core.text import few, printable
from reslab.evaluation.ensembles import average as averaged
from reslab.evaluation.result import Evaluation, summarise
from reslab.evaluation.scores import SCORES, Scores, is_labelled, read_scores
from reslab.evaluation.store import file_of, read_views
from reslab.evaluation.views import Floats, ViewScores, as_scores
from reslab.experiments.keep import FACTS

OWNERS: Final = ("spec.json", "manifest.json")  # of which a run or imported weights have one
KINDS: Final[dict[str, type]] = {
    **dict.fromkeys(("network", "weights", "precision", "split", "command"), str),
    "step": int,
    **dict.fromkeys(("preprocessing", "data", "sha256"), dict),
    "forced": list,
}


@dataclass(frozen=True, eq=False)
class Stored:
    """One test's scores, memory-mapped, with what they are of; ``facts`` are those of `fill_scores`."""

    folder: Path
    protocol: Protocol
    views: ViewScores
    labels: Tensor
    classes: tuple[str, ...]
    facts: Record

    @property
    def network(self) -> str:
        """Its name, with the choices that are not its default."""
        return str(self.facts["network"])

    @property
    def source(self) -> str:
        """What its scores lie in: a run, imported weights, or the folder itself."""
        place, above = self.folder.resolve(), self.folder.resolve().parent
        owned = above.name == "scores" and any((above.parent / name).exists() for name in OWNERS)
        return printable(above.parent.name if owned else place.name)

    @property
    def labelled(self) -> bool:
        """Whether the pictures' classes are known."""
        return is_labelled(self.labels)

    @property
    def digest(self) -> str:
        """Of the pictures."""
        return str(self.facts["data"]["digest"])

    @property
    def preparation(self) -> str:
        """How pictures became the network's input, in words."""
        form = self.facts["preprocessing"]
        if form.get("form") == "cifar":
            divided = "divided by nothing" if form["divide"] is None else f"divided by {_listed(form['divide'])}"
            return f"{form['channels']}; minus the {form['subtract']}; {divided}"
        contract = form["contract"]
        scale = "" if set(contract["std"]) == {1.0} else f", divided by {_listed(contract['std'])}"
        image = "a mean image, on average " if contract.get("mean_image") else ""
        return f"{contract['order']} minus {image}{_listed(contract['mean'])}{scale}; {form['resample']}"

    def mean(self, average: Average, groups: Sequence[int]) -> Floats:
        """See `ViewScores.mean`; the file is verified first.

        Raises:
            EvaluationError: its bytes are not those that were kept, or a score is not finite.
        """
        self.verify(file_of(average))
        mean = self.views.mean(average, groups)
        if not np.isfinite(mean).all():
            raise EvaluationError(f"the scores in {printable(str(self.folder))} are not finite")
        return mean

    def verify(self, name: str) -> None:
        """Find out whether a file has the bytes that were kept.

        Raises:
            EvaluationError: it has not.
        """
        known = self.facts["sha256"].get(name)
        if known != sha256_file(self.folder / name):
            where = printable(str(self.folder / name))
            raise EvaluationError(f"{where} is damaged: its sha256 differs from that in {FACTS}")

    def provenance(self) -> Record:
        """Where the scores come from, for ``--json``."""
        keys = ("network", "weights", "step", "split", "data", "preprocessing", "forced", "command")
        return {**{key: self.facts[key] for key in keys}, "scores": str(self.folder)}


@dataclass(frozen=True)
class Mix:
    """How scores are averaged anew.

    Args:
        average: of what; None: as the protocol says.
        scales: which shorter sides; None: all.
        weights: of each member; None: equal.
    """

    average: Average | None = None
    scales: tuple[int, ...] | None = None
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Blend:
    """Scores averaged anew, not counted: of each test, ``means`` float32 (N, classes), and of all together."""

    protocol: Protocol
    precision: str
    means: tuple[Floats, ...]
    scores: Scores


@dataclass(frozen=True, eq=False)
class Member:
    """One network of an ensemble, by itself: ``mean``, float32 (N, classes), is what an ensemble averages."""

    stored: Stored
    mean: Floats
    scores: Scores
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class Mixed:
    """The average of one or more tests, and each of them."""

    scores: Scores
    evaluation: Evaluation
    members: tuple[Member, ...]
    weights: tuple[float, ...] | None = None

    def spread(self) -> Record:
        """Mean and standard deviation of the members' errors in percent, and how many they are."""
        errors = [one.evaluation.error for one in self.members]
        std = statistics.stdev(errors) if len(errors) > 1 else 0.0
        return {"mean": statistics.mean(errors), "std": std, "n": len(errors)}


def titles(stored: Sequence[Stored]) -> list[str]:
    """What each test is of: its network, with where it comes from where several are of one network."""
    sources = {one.network: {other.source for other in stored if other.network == one.network} for one in stored}
    return [f"{one.network} ({one.source})" if len(sources[one.network]) > 1 else one.network for one in stored]


def read_stored(folder: Path) -> Stored:
    """The scores in ``folder``.

    Raises:
        EvaluationError: there are none, or they are damaged.
    """
    if not (folder / FACTS).is_file():
        raise EvaluationError(_why_none(folder))
    facts = read_record(folder / FACTS)
    if "protocol" in facts and not {"settings", "sha256"} <= facts.keys():
        raise EvaluationError(f"the scores in {folder} were kept by an earlier version: test again")
    try:
        protocol = Protocol.parse(facts["settings"], f"{folder / FACTS}")
        classes = tuple(str(name) for name in facts["classes"])
        wanted = int(facts["n"]), len(protocol.groups), len(classes)
        stored = Stored(folder, protocol, read_views(folder), read_scores(folder).labels, classes, facts)
        named = all(isinstance(facts[key], kind) for key, kind in KINDS.items())
        named = named and all(isinstance(facts["data"][key], str) for key in ("name", "digest"))
        _ = stored.preparation
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, EvaluationError):
            raise
        why = f"it does not say {error}" if isinstance(error, KeyError) else str(error)
        raise EvaluationError(f"{folder / FACTS} is damaged: {why}") from None
    low, high = (0, len(classes) - 1) if stored.labelled else (-1, -1)
    known = not len(stored.labels) or low <= int(stored.labels.min()) <= int(stored.labels.max()) <= high
    if not (named and known) or stored.views.logits.shape != wanted or stored.labels.shape != wanted[:1]:
        raise EvaluationError(f"the scores in {folder} are damaged: arrays and {FACTS} do not belong together")
    stored.verify(SCORES)
    return stored


def _why_none(folder: Path) -> str:
    if not folder.exists():
        return f"{printable(str(folder))} does not exist"
    inside = sorted(printable(str(file.parent)) for file in (*folder.glob(f"*/{FACTS}"), *folder.glob(f"*/*/{FACTS}")))
    there = f"; there are some in {few(inside)}" if inside else ""
    return f"{printable(str(folder))} holds no scores: there is no {FACTS}{there}"


def blend(stored: Sequence[Stored], asked: Mix | None = None) -> Blend:
    """Average what was stored: one test again, or several as an ensemble.

    Raises:
        DataError: the scores are of different pictures, or of other classes or another order of them.
        SpecError: different protocols, a scale that was not tested, weights that cannot be.
        EvaluationError: a score is not finite.
    """
    how, first = asked or Mix(), stored[0]
    for other in stored[1:]:
        require_same_pictures(first, other)
        _require_same_views(first, other)
    for number, one in enumerate(stored):
        if any(one.facts["weights"] == before.facts["weights"] for before in stored[:number]):
            raise SpecError(f"{printable(str(one.folder))} is of weights that are given twice: see --member-weights")
    protocol = _changed(first.protocol, how)
    groups = [first.protocol.shorter_sides.index(side) for side in protocol.shorter_sides]
    means = tuple(one.mean(protocol.average, groups) for one in stored)
    whole = means[0] if len(means) == 1 and how.weights is None else averaged(means, how.weights)
    precision = "+".join(dict.fromkeys(str(one.facts["precision"]) for one in stored))
    return Blend(protocol, precision, means, as_scores(whole, protocol.average, first.labels))


def mix(stored: Sequence[Stored], asked: Mix | None = None) -> Mixed:
    """`blend` what was stored, and count.

    Raises:
        DataError: the pictures have no labels; or as `blend`.
        SpecError: as `blend`.
        EvaluationError: as `blend`.
    """
    how, whole = asked or Mix(), blend(stored, asked)
    if not stored[0].labelled:
        where = printable(str(stored[0].folder))
        raise DataError(f"{where} holds answers to pictures without labels: nothing to count, see --server-file")
    members = tuple(_member(one, mean, whole.protocol) for one, mean in zip(stored, whole.means, strict=True))
    if len(members) == 1 and how.weights is None:
        return Mixed(members[0].scores, members[0].evaluation, members)
    counted = summarise(whole.scores, stored[0].classes, whole.precision, whole.protocol)
    return Mixed(whole.scores, counted, members, how.weights)


def _member(one: Stored, mean: Floats, protocol: Protocol) -> Member:
    scores = as_scores(mean, protocol.average, one.labels)
    return Member(one, mean, scores, summarise(scores, one.classes, str(one.facts["precision"]), protocol))


def _changed(protocol: Protocol, asked: Mix) -> Protocol:
    """``protocol`` with what is asked, under a name that says so."""
    changes: dict[str, Any] = {}
    if asked.scales is not None and asked.scales != protocol.shorter_sides:
        protocol.require_sides(asked.scales)
        changes["shorter_sides"] = list(asked.scales)
    if asked.average is not None and asked.average != protocol.average:
        changes["average"] = asked.average
    return protocol.but({**changes, "name": f"{protocol.name}, changed"}) if changes else protocol


def _listed(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"


def require_same_pictures(first: Stored, other: Stored) -> None:
    """Find out whether two tests are of the same pictures and classes.

    Raises:
        DataError: they are not.
    """
    places = _both(first, other)
    if first.digest != other.digest or len(first.labels) != len(other.labels):
        raise DataError(f"{places} hold scores of different pictures")
    if first.classes != other.classes:
        same = sorted(first.classes) == sorted(other.classes)
        differing = few([f"{a} and {b}" for a, b in zip(first.classes, other.classes, strict=False) if a != b], 1)
        raise DataError(
            f"{places} have {'the same classes in another order' if same else 'other classes'}: {differing}"
        )
    if not torch.equal(first.labels, other.labels):
        raise DataError(f"{places} have other labels for the same pictures")


def _require_same_views(first: Stored, other: Stored) -> None:
    ours, theirs = (one.protocol.model_dump(exclude={"average", "name"}) for one in (first, other))
    if differing := [key for key in ours if ours[key] != theirs[key]]:
        names = f"{first.protocol.name} and {other.protocol.name}, whose {', '.join(differing)} differ"
        raise SpecError(f"{_both(first, other)} were tested by {names}: test them alike")


def _both(first: Stored, other: Stored) -> str:
    return f"{printable(str(first.folder))} and {printable(str(other.folder))}"
