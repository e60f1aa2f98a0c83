"""``reslab evaluate``."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from reslab.cli.ensemble import EnsembleFlags
from reslab.cli.flags import HeldFlags
from reslab.cli.output import print_json, print_table, stdout
from reslab.cli.progress import progress
from reslab.core.errors import SpecError
from reslab.core.imagenet import title_of
from reslab.core.protocol import Average
from reslab.core.text import printable

if TYPE_CHECKING:
    from reslab.evaluation.result import Evaluation
    from reslab.experiments.stored import Mix, Mixed
    from reslab.experiments.world import World


@Parameter(name="*")
@dataclass(kw_only=True)
class TestFlags:
    """What is tested on, and how.

    Args:
        data: embedded, photographs in a folder or in shards, or a CIFAR-10 or CIFAR-100 folder in the official binary
            layout.
        protocol: single, center, flip, ten-crop, multi-scale or multi-scale-mirror, or a TOML file; by default the one
            view that goes with the network's pictures.
        split: val, train or all; by default val, but every picture of a folder that has class folders alone.
        precision: of the forward pass.
        device: auto, cpu or cuda.
        workers: processes that read photographs; by default one a core.
        out: folder for the scores; by default inside the run, or beside the weights.
    """

    data: str | None = None
    protocol: str | None = None
    split: Literal["train", "val", "all"] | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    workers: int | None = None
    out: Path | None = None


@Parameter(name="*")
@dataclass(kw_only=True)
class MixFlags:
    """What is made of the scores.

    Args:
        average: probabilities, as the authors, or logits; by default as the protocol says.
        scales: shorter sides whose scores count; by default all.
    """

    average: Average | None = None
    scales: list[int] | None = None


def evaluate(
    *weights: Path,
    from_scores: list[Path] | None = None,
    test: TestFlags | None = None,
    mixed: MixFlags | None = None,
    together: EnsembleFlags | None = None,
    held: HeldFlags | None = None,
    json: bool = False,
) -> None:
    """Test trained networks on every picture, each counted exactly once, and keep the per-image scores.

    Several networks are an ensemble: their scores are averaged. Under torchrun the processes share the pictures.

    Args:
        weights: runs, whose newest whole checkpoints are tested; or weights that `reslab weights import` made.
        from_scores: folders of scores that earlier tests kept, in the place of weights: nothing is tested again.
        test: on what, and how.
        mixed: what is made of the scores.
        together: several networks together.
        held: what the weights are held to be.
        json: print one JSON document.
    """
    from reslab.experiments.stored import mix, read_stored
    from reslab.experiments.world import joined

    also = together or EnsembleFlags()
    if from_scores and (weights or test is not None or held is not None):
        raise SpecError("--from-scores takes the place of weights, --data and everything about the test")
    also.check(len(from_scores or weights))
    require_testable(weights, from_scores, test)
    with joined() as world:
        folders = from_scores or scores_of(weights, test or TestFlags(), held or HeldFlags(), mixed, world, also.server)
        if not world.first:
            return
    stored, how = also.of([read_stored(folder) for folder in folders]), mix_of(mixed, also.member_weights)
    if also.server_file is not None and not stored[0].labelled:
        answered = also.answer(stored, how, quiet=json)
        if json:
            print_json(answered)
        return
    found = mix(stored, how)
    if not json:
        _print(found)
    said = also.carry_out(found, quiet=json)
    if json:
        print_json({**_as_json(found), **said})


def scores_of(
    weights: tuple[Path, ...],
    test: TestFlags,
    held: HeldFlags,
    mixed: MixFlags | None,
    world: "World",
    server: tuple[Path, Path] | None = None,
) -> list[Path]:
    """Test each network and return the folders of the scores; for a test ``server`` pictures need no labels."""
    from reslab.experiments.notify import Notify
    from reslab.experiments.testing import Testing, evaluate_weights
    from reslab.experiments.weights import read_weights

    assert test.data is not None
    said = test.data, test.protocol, test.split, test.precision, test.device, test.workers
    how = Testing(*said, mix_of(mixed).scales, server)
    heard, folders = progress() if world.first else Notify(), []
    for number, place in enumerate(weights, start=1):
        taken = world.agreed(partial(lambda where: held.held(read_weights(where, heard.warned)), place))
        out = test.out / f"{number}-{place.name}" if test.out and len(weights) > 1 else test.out
        folders.append(evaluate_weights(taken, how, out=out, notify=heard, world=world))
    return folders


def require_testable(weights: tuple[Path, ...], from_scores: list[Path] | None, test: TestFlags | None) -> None:
    """Find out whether there is something to test, and something to test on.

    Raises:
        SpecError: there is not.
    """
    if from_scores:
        return
    if not weights:
        raise SpecError("nothing to test: name runs or weights, or scores with --from-scores")
    if test is None or test.data is None:
        raise SpecError("--data says which pictures to test on: embedded, or a folder")


def mix_of(flags: MixFlags | None, weights: list[float] | None = None) -> "Mix":
    """What the flags ask for, and how much each member counts."""
    from reslab.experiments.stored import Mix

    said = flags or MixFlags()
    scales = None if said.scales is None else tuple(said.scales)
    return Mix(said.average, scales, None if weights is None else tuple(weights))


def _as_json(found: "Mixed") -> dict[str, Any]:
    whole = {**found.evaluation.as_json(), **_answers_of(found)}
    if len(found.members) == 1:
        return {**whole, **found.members[0].stored.provenance()}
    members = [{**one.evaluation.as_json(), **one.stored.provenance()} for one in found.members]
    for one in members:
        del one["by_class"]
    weights = None if found.weights is None else list(found.weights)
    return {**whole, "members": members, "member_weights": weights, "members_error": found.spread()}


def _answers_of(found: "Mixed") -> dict[str, Any]:
    """Which classes are taken for which, and whether certainty can be believed."""
    from reslab.report.calibration import calibrate
    from reslab.report.confusion import most_confused

    classes = found.members[0].stored.classes
    labels, (certainty, answers) = found.scores.labels.numpy(), found.scores.probabilities.max(dim=1)
    calibration = calibrate(certainty.clamp(0, 1).numpy(), (answers == found.scores.labels).numpy())
    pairs = most_confused(labels, answers.numpy(), len(classes))
    return {
        "calibration_error": calibration.ece,
        "calibration_interval": list(calibration.interval),
        "confused": [
            {"class": classes[pair.label], "answer": classes[pair.answer], "times": pair.count.errors} for pair in pairs
        ],
    }


def _print(found: "Mixed") -> None:
    from reslab.experiments.stored import titles

    for one in found.members:
        for conflict in one.stored.facts["forced"]:
            stdout().print(f"forced: {one.stored.network} has {conflict}", soft_wrap=True)
    if len(found.members) > 1:
        names = titles([one.stored for one in found.members])
        rows = [(name, *_numbers(one.evaluation)) for name, one in zip(names, found.members, strict=True)]
        print_table(("network", "error %", "95 % interval", "top-5 error %", "n"), rows)
        spread, n = found.spread(), len(found.members)
        if len({one.stored.network for one in found.members}) == 1:
            stdout().print(f"mean {spread['mean']:.2f} % ± {spread['std']:.2f} (n={n})")
        shares = "" if found.weights is None else f" weighted {', '.join(f'{weight:g}' for weight in found.weights)}"
        stdout().print()
        _print_one(f"average of {n} networks{shares}", found)
    else:
        _print_one(found.members[0].stored.network, found)
    said = _answers_of(found)
    low, high = said["calibration_interval"]
    stdout().print(f"expected calibration error {said['calibration_error']:.2f} % [{low:.2f}, {high:.2f}]\n")
    classes = [
        (printable(title_of(name)), f"{count.error:.2f}", "{:.2f} to {:.2f}".format(*count.interval), f"{count.n:,}")
        for name, count in found.evaluation.by_class.items()
    ]
    print_table(("class", "error %", "95 % interval", "n"), classes)


def _print_one(name: str, found: "Mixed") -> None:
    tested = found.evaluation
    error, interval, top5, n = _numbers(tested)
    pictures = "".join(f"  pictures: {one}\n" for one in dict.fromkeys(one.stored.preparation for one in found.members))
    stdout().print(
        f"{name}, {tested.protocol.name}, {tested.precision}: error {error} % (95 % interval {interval}, n={n}),"
        f" top-5 error {top5} %\n  views: {tested.protocol.sentence}\n{pictures}",
        end="",
    )
    for one in found.members:
        stdout().print(f"  scores: {one.stored.folder}", soft_wrap=True)
    stdout().print()


def _numbers(tested: "Evaluation") -> tuple[str, str, str, str]:
    low, high = tested.interval
    return f"{tested.error:.2f}", f"{low:.2f} to {high:.2f}", f"{tested.top5.error:.2f}", f"{tested.n:,}"
