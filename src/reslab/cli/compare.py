"""``reslab compare``."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reslab.cli.evaluate import MixFlags, TestFlags, mix_of, require_testable, scores_of
from reslab.cli.flags import HeldFlags
from reslab.cli.output import print_json, print_table, say, stdout
from reslab.core.errors import SpecError
from reslab.core.files import require_file
from reslab.core.imagenet import title_of
from reslab.core.text import printable
from reslab.core.units import counted, percent

if TYPE_CHECKING:
    from reslab.data.source import Dataset
    from reslab.experiments.comparing import Compared, Numbers
    from reslab.experiments.stored import Member
    from reslab.report.comparison import Differing, Side

LISTED: Final = 5  # pictures on a terminal
SHOWN: Final = 24  # pictures on a page


def compare(
    *networks: Path,
    from_scores: list[Path] | None = None,
    page: Path | None = None,
    test: TestFlags | None = None,
    mixed: MixFlags | None = None,
    held: HeldFlags | None = None,
    json: bool = False,
) -> None:
    """Compare two networks on the same pictures: McNemar's exact test, and a paired bootstrap of the difference.

    Args:
        networks: two runs or weights, which are tested first.
        from_scores: two folders of scores that earlier tests kept, in their place.
        page: write an HTML page with the pictures on which they differ; --data says where those are.
        test: on what, and how.
        mixed: what is made of the scores.
        held: what the weights are held to be.
        json: print one JSON document.
    """
    from reslab.experiments.comparing import compare as compared
    from reslab.experiments.comparing import pictures_of
    from reslab.experiments.stored import read_stored
    from reslab.experiments.world import joined

    asked = test or TestFlags()
    if len(from_scores or networks) != 2 or (from_scores and networks):
        given = len(networks) + len(from_scores or ())
        raise SpecError(f"a comparison is of two networks, or of two folders of scores, not of {given}")
    if from_scores and (asked != TestFlags(data=asked.data) or held is not None):
        raise SpecError("--from-scores takes the place of everything about the test but --data")
    if page is not None and asked.data is None:
        raise SpecError("--page shows pictures: --data says where they are")
    if from_scores and page is None and asked.data is not None:
        raise SpecError("--data has no effect here: it says where a --page finds the pictures")
    if page is not None:
        require_file(page)
    require_testable(networks, from_scores, asked)
    with joined() as world:
        first, second = from_scores or scores_of(networks, asked, held or HeldFlags(), mixed, world)
        if not world.first:
            return
    found = compared(read_stored(first), read_stored(second), mix_of(mixed))
    pictures = None if page is None or asked.data is None else pictures_of(found.first.stored, asked.data)
    if json:
        print_json({**found.as_json(), **({"page": str(page)} if page else {})})
    else:
        _print(found)
    if page is not None and pictures is not None:
        _write(found, pictures, page)
        say(f"page: {page}")


def _print(found: "Compared") -> None:
    for name, one in zip(found.names, (found.first, found.second), strict=True):
        low, high = one.evaluation.interval
        stdout().print(
            f"{name}: error {one.evaluation.error:.2f} % (95 % interval {low:.2f} to {high:.2f},"
            f" n={one.evaluation.n:,}), {one.evaluation.precision}\n  pictures: {one.stored.preparation}"
        )
    stdout().print("\n".join(found.protocols))
    stdout().print(f"\n{found.sentence}\n{found.statement}: {found.paired.answer}\n")
    first, second = found.names
    rows = [
        (f"{first} right", f"{found.paired.both:,}", f"{found.paired.only_first:,}"),
        (f"{first} wrong", f"{found.paired.only_second:,}", f"{found.paired.neither:,}"),
    ]
    print_table(("pictures", f"{second} right", f"{second} wrong"), rows)
    _list(f"only {first} is right on", found, found.only_first)
    _list(f"only {second} is right on", found, found.only_second)


def _list(title: str, found: "Compared", numbers: "Numbers") -> None:
    from reslab.experiments.comparing import names_of

    if len(numbers):
        names = ", ".join(names_of(found.first.stored, numbers[:LISTED]))
        more = f" and {len(numbers) - LISTED:,} more" if len(numbers) > LISTED else ""
        stdout().print(f"\n{title} {counted(len(numbers), 'picture')}: {names}{more}", soft_wrap=True)


def _write(found: "Compared", pictures: "Dataset", page: Path) -> None:
    from reslab.report.comparison import ClassRow, Comparison, write_comparison

    paired = found.paired
    rows = [
        ClassRow(
            printable(title_of(name)),
            one.n,
            percent(one.only_second + one.neither, one.n),
            percent(one.only_first + one.neither, one.n),
            one.difference,
            one.p_value,
        )
        for name, one in found.by_class.items()
    ]
    facts = found.first.stored.facts
    comparison = Comparison(
        data=f"{facts['data']['name']}, {facts['split']}",
        protocol="; ".join(found.protocols),
        first=_side(found.names[0], found.first),
        second=_side(found.names[1], found.second),
        both=paired.both,
        only_first=paired.only_first,
        only_second=paired.only_second,
        neither=paired.neither,
        difference=paired.difference,
        interval=paired.interval,
        p_value=paired.p_value,
        verdict=paired.answer,
        statement=found.statement,
        sentence=found.sentence,
        by_class=tuple(rows),
        only_first_shown=_differing(found, pictures, found.only_first[:SHOWN]),
        only_second_shown=_differing(found, pictures, found.only_second[:SHOWN]),
    )
    write_comparison(comparison, page)


def _side(name: str, member: "Member") -> "Side":
    from reslab.report.comparison import Side

    tested, stored = member.evaluation, member.stored
    provenance = {
        "network": stored.network,
        "weights": f"sha256 {stored.facts['weights']}",
        "step": f"{stored.facts['step']:,}",
        "protocol": f"{tested.protocol.name}: {tested.protocol.sentence}",
        "precision": tested.precision,
        "pictures": stored.preparation,
        "data": f"{stored.facts['data']['name']}, {stored.facts['split']}, sha256 {stored.digest}",
        "scores": str(stored.folder),
        "command": stored.facts["command"] or f"reslab evaluate --from-scores {stored.folder}",
    }
    return Side(name, tested.error, tested.interval, tested.top5.error, tested.hits, tested.n, provenance)


def _differing(found: "Compared", pictures: "Dataset", numbers: "Numbers") -> "tuple[Differing, ...]":
    from reslab.experiments.comparing import names_of, thumbnails
    from reslab.report.comparison import Differing

    stored = found.first.stored
    small = thumbnails(pictures, numbers)
    best = [one.scores.probabilities[numbers].max(dim=1) for one in (found.first, found.second)]
    return tuple(
        Differing(
            picture=name,
            label=stored.classes[int(stored.labels[number])],
            first=stored.classes[int(best[0].indices[row])],
            first_probability=min(1.0, float(best[0].values[row])),
            second=stored.classes[int(best[1].indices[row])],
            second_probability=min(1.0, float(best[1].values[row])),
            thumbnail=base64.b64encode(small[row]).decode(),
        )
        for row, (number, name) in enumerate(zip(numbers.tolist(), names_of(stored, numbers), strict=True))
    )
