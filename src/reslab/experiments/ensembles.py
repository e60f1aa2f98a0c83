"""Ensembles of stored tests: a preset, what pairs gain, a greedy choice, and the test server's file."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Final

from reslab.core.errors import DataError, SpecError, unknown
from reslab.core.imagenet import imagenet_classes
from reslab.core.intervals import Count
from reslab.core.rundir import Record
from reslab.core.text import few, printable
from reslab.data.index import read_index
from reslab.evaluation.ensembles import Greedy, Pair, greedy, pair_matrix
from reslab.evaluation.scores import Scores
from reslab.evaluation.server_file import write_server_file
from reslab.experiments.keep import PICTURES
from reslab.experiments.stored import Member, Stored

PRESETS: Final[dict[str, tuple[str, ...]]] = {  # ours: Table 5's six "of different depth" are not published
    "six": ("resnet34", "resnet34, shortcut C", "resnet50", "resnet101", "resnet152", "resnet152"),
    "cifar-six": tuple(f"cifar-resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)),
}


def require_preset(preset: str) -> None:
    """Find out whether there is an ensemble of that name.

    Raises:
        SpecError: there is none.
    """
    if preset not in PRESETS:
        raise SpecError(unknown("ensemble", preset, PRESETS))


def chosen(stored: Sequence[Stored], preset: str) -> list[Stored]:
    """The members of ``preset`` among ``stored``, in its order.

    Raises:
        SpecError: a member is missing.
    """
    left, found = list(stored), []
    for name in PRESETS[preset]:
        one = next((one for one in left if one.network == name), None)
        if one is None:
            here = ", ".join(other.network for other in stored)
            raise SpecError(f"the ensemble {preset} has a {name} that is not among these: {here}")
        left.remove(one)
        found.append(one)
    return found


def pairs_of(members: Sequence[Member]) -> list[Pair]:
    """What every two members agree on and gain.

    Raises:
        SpecError: there are no pictures.
    """
    return pair_matrix([one.mean for one in members], members[0].scores.labels.numpy())


def greedy_of(members: Sequence[Member]) -> Greedy:
    """Members chosen on one half of the pictures and judged on the other.

    Raises:
        SpecError: there are too few pictures.
    """
    return greedy([one.mean for one in members], members[0].scores.labels.numpy())


def greedy_json(found: Greedy) -> Record:
    """Plain values for ``--json``."""
    counts = {name: getattr(found, name) for name in ("chosen_on", "judged_on", "all_members", "best_single")}
    return {"chosen": list(found.chosen), **{name: _count_json(count) for name, count in counts.items()}}


def pairs_json(found: Sequence[Pair]) -> list[Record]:
    """Plain values for ``--json``."""
    return [asdict(pair) for pair in found]


def write_for_server(stored: Stored, scores: Scores, order: Sequence[str], out: Path) -> None:
    """Write answers for ILSVRC's test server, a line a photograph, by their file names.

    Args:
        stored: a test of the photographs.
        scores: the answers: that test's, or an ensemble's.
        order: the wnids in the server's order: the first is the server's class 1.
        out: the file to write.

    Raises:
        DataError: two pictures have the same file name, or the scores are not of photographs.
        SpecError: the network's classes are not those.
        StorageError: ``out`` cannot be written.
    """
    file = stored.folder / PICTURES
    if not file.exists():
        raise DataError(f"{printable(str(stored.folder))} is not of photographs, whose names are the server's order")
    index = read_index(file)
    names = [PurePosixPath(index.path(number)).name for number in range(len(index))]
    if len(set(names)) < len(names):
        raise DataError(f"{printable(str(file))} names two photographs alike: the server's order is by name")
    rows = sorted(range(len(names)), key=names.__getitem__)
    known = [_wnid(name) for name in stored.classes]
    if strangers := [name for name in known if name not in order]:
        raise SpecError(f"classes that the server does not know ({len(strangers):,}): {few(strangers)}")
    numbers = {wnid: number for number, wnid in enumerate(order, start=1)}
    write_server_file(scores.probabilities.numpy()[rows], [numbers[name] for name in known], out)


def server_order(file: Path) -> list[str]:
    """The wnids that a text file names, one a line, in its order.

    Raises:
        DataError: it cannot be read, or does not name each of ImageNet's classes once.
    """
    try:
        words = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.split()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {printable(str(file))}: {getattr(error, 'strerror', None) or error}") from None
    official = {one.wnid for one in imagenet_classes()}
    if set(words) != official or len(words) != len(official):
        raise DataError(f"{printable(str(file))} does not name each of the {len(official):,} classes by wnid once")
    return words


def _wnid(name: str) -> str:
    return name.split()[0]


def _count_json(count: Count) -> Record:
    return {"n": count.n, "hits": count.hits, "error": count.error, "interval": list(count.interval)}
