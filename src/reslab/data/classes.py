"""Which of a network's classes each class folder is, whether the two are named by wnid or by WordNet name."""

import functools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final, TypeVar

from reslab.core.errors import DataError
from reslab.core.imagenet import imagenet_classes, title_of
from reslab.core.text import few, printable
from reslab.core.units import counted

Value = TypeVar("Value")
SHOWN: Final = 5  # classes in a message
_WNID: Final = re.compile(r"(n[0-9]{8})(?: |$)")  # in a spelling: alone, or before a name
_BETWEEN: Final = re.compile(r"[\s_-]+")  # the words of a name


def match_classes(folders: Sequence[str], known: Sequence[str]) -> tuple[int, ...]:
    """For each class folder the position of the network's class that it is.

    A folder is first the class of exactly its name. Else both are looked up among ImageNet's classes: by wnid
    (``n02086240``, ``n02086240-Shih-Tzu``) or by any WordNet name, in any case, where a space, ``_`` and ``-`` are one.

    Args:
        folders: the data set's classes, in any order.
        known: the network's classes, in the order of its outputs; there may be many more than folders.

    Raises:
        DataError: a folder is none of the known classes, or could be several, or is the same class as another.
    """
    exact = _grouped((name, at) for at, name in enumerate(known))
    bearing = _grouped((wnid, at) for at, name in enumerate(known) for wnid in _meant(name))
    found = [
        exact.get(folder) or {at for wnid in _denoted(folder) for at in bearing.get(wnid, ())} for folder in folders
    ]
    strangers = [folder for folder, places in zip(folders, found, strict=True) if not places]
    if strangers:
        raise DataError(
            f"classes that the network does not know ({len(strangers):,} of {len(folders):,}): "
            f"{few(strangers, SHOWN)}; it knows {counted(len(known), 'class')}: {_titles(known)}"
        )
    taken: dict[int, str] = {}
    for folder, places in zip(folders, found, strict=True):
        at = _only(folder, places, known)
        if at in taken:
            both = f"{printable(taken[at])} and {printable(folder)}"
            raise DataError(f"classes {both}, which are one class of the network: {_titles([known[at]])}")
        taken[at] = folder
    return tuple(taken)


def _grouped(pairs: Iterable[tuple[str, Value]]) -> dict[str, set[Value]]:
    groups: defaultdict[str, set[Value]] = defaultdict(set)
    for key, value in pairs:
        groups[key].add(value)
    return dict(groups)


def _only(folder: str, places: Collection[int], known: Sequence[str]) -> int:
    if len(places) == 1:
        return next(iter(places))
    names = [known[at] for at in sorted(places)]
    helps = len(set(names)) > 1 and not _WNID.match(_spelling(folder))
    advice = "; name the folder by its wnid" if helps else ""
    raise DataError(f"class {printable(folder)}, which could be {len(names)} known classes ({_titles(names)}){advice}")


def _titles(names: Sequence[str]) -> str:
    return few([title_of(name) for name in names], SHOWN)


def _spelling(name: str) -> str:
    return _BETWEEN.sub(" ", name).strip().casefold()


def _denoted(name: str) -> Collection[str]:
    """The wnids of every class that ``name`` could be."""
    spelling = _spelling(name)
    wnid = _WNID.match(spelling)
    return {wnid[1]} if wnid else _spellings().get(spelling, ())


def _meant(name: str) -> Collection[str]:
    """The wnids of a network's class: a title means its own class, though others may bear it as a further name."""
    return _titled().get(name) or _denoted(name)


@functools.cache
def _spellings() -> dict[str, set[str]]:
    """The wnids of every name of a class, and of all its names in one line."""
    return _grouped(
        (_spelling(name), one.wnid) for one in imagenet_classes() for name in (*one.names, ", ".join(one.names))
    )


@functools.cache
def _titled() -> dict[str, set[str]]:
    return _grouped((one.title, one.wnid) for one in imagenet_classes())
