"""Two tests of the same pictures, picture by picture: of two networks, or of one in two ways."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reslab.core.errors import DataError
from reslab.core.rundir import Record
from reslab.core.text import printable
from reslab.data.index import read_index
from reslab.data.photographs import PhotoFolder
from reslab.data.sharded import store_at
from reslab.data.source import Dataset, Reading, find_data
from reslab.evaluation.paired import Paired, paired
from reslab.experiments.keep import PICTURES
from reslab.experiments.mistakes import small_thumbnail, thumbnail_of
from reslab.experiments.stored import Member, Mix, Stored, mix, require_same_pictures, titles

Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Compared:
    """What came of a comparison.

    Args:
        first: one network's test.
        second: the other's, on the same pictures.
        paired: who has which pictures right.
        by_class: the same of each class that has pictures.
        only_first: pictures that the first alone has right, the second's most certain mistakes first.
        only_second: those that the second alone has right, likewise.
    """

    first: Member
    second: Member
    paired: Paired
    by_class: dict[str, Paired]
    only_first: Numbers
    only_second: Numbers

    @property
    def statement(self) -> str:
        """What the verdict is on."""
        return f"{self.names[1]} has a smaller error than {self.names[0]}"

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called: networks, and protocols where those differ; else which is which."""
        both = (self.first, self.second)
        first, second = titles([one.stored for one in both])
        if self.first.evaluation.protocol != self.second.evaluation.protocol:
            first, second = (f"{one.stored.network}, {one.evaluation.protocol.name}" for one in both)
        return (first, second) if first != second else (f"{first} (first)", f"{second} (second)")

    @property
    def protocols(self) -> tuple[str, ...]:
        """How the two were tested, in words; one entry where that is the same."""
        said = (one.evaluation.protocol for one in (self.first, self.second))
        return tuple(dict.fromkeys(f"{one.name}: {one.sentence}" for one in said))

    @property
    def sentence(self) -> str:
        """Which is better, by how much, and how sure."""
        found, (low, high) = self.paired, self.paired.interval
        better = self.names[found.difference > 0]
        worse = self.names[found.difference <= 0]
        if found.difference < 0:
            low, high = -high, -low
        numbers = f"{abs(found.difference):.2f} points [{low:.2f}, {high:.2f}], p = {found.p_value:.3g}, n={found.n:,}"
        if found.answer == "not separable":
            return f"{better} and {worse} are not separable: {numbers}"
        return f"{better} is better than {worse} by {numbers}"

    def as_json(self) -> Record:
        """Plain values for ``--json``."""
        both = (self.first, self.second)
        return {
            "statement": self.statement,
            **self.paired.as_json(),
            "sentence": self.sentence,
            "hits": [one.evaluation.hits for one in both],
            "networks": [{**one.evaluation.as_json(), **one.stored.provenance()} for one in both],
            "by_class": {name: one.as_json() for name, one in self.by_class.items()},
            "only_first_right": self.only_first.tolist(),
            "only_second_right": self.only_second.tolist(),
        }


def compare(first: Stored, second: Stored, asked: Mix | None = None) -> Compared:
    """Compare two tests.

    Raises:
        DataError: they are of different pictures or classes.
        SpecError: ``asked`` is not there.
        EvaluationError: a score is not finite.
    """
    require_same_pictures(first, second)
    one, other = (mix([stored], asked).members[0] for stored in (first, second))
    ours, theirs = (member.scores.hits().numpy() for member in (one, other))
    labels = first.labels.numpy()
    by_class = {
        first.classes[label]: paired(ours[labels == label], theirs[labels == label])
        for label in np.unique(labels).tolist()
    }
    certain = [member.scores.probabilities.max(dim=1).values.numpy() for member in (one, other)]
    only_first, only_second = np.flatnonzero(ours & ~theirs), np.flatnonzero(theirs & ~ours)
    return Compared(
        one,
        other,
        paired(ours, theirs),
        by_class,
        only_first[np.argsort(-certain[1][only_first], kind="stable")],
        only_second[np.argsort(-certain[0][only_second], kind="stable")],
    )


def names_of(stored: Stored, numbers: Numbers) -> list[str]:
    """Paths of photographs; of small pictures their numbers."""
    file = stored.folder / PICTURES
    if not file.exists():
        return [f"picture {number:,}" for number in numbers.tolist()]
    index = read_index(file)
    return [printable(index.path(number)) for number in numbers.tolist()]


def pictures_of(stored: Stored, data: str) -> Dataset:
    """The tested pictures.

    Raises:
        DataError: ``data`` holds others.
    """
    file = stored.folder / PICTURES
    if file.exists():
        index = read_index(file)
        if index.digest != stored.digest:
            raise DataError(f"{file} is not of the pictures that were tested")
        return PhotoFolder(str(stored.facts["data"]["name"]), stored.facts["split"], store_at(data, index))
    pictures = find_data(data).read(stored.facts["split"], Reading())
    if pictures.digest != stored.digest:
        raise DataError(f"{printable(data)} holds other pictures than those that were tested")
    return pictures


def thumbnails(pictures: Dataset, numbers: Numbers) -> list[bytes]:
    """Small pictures of ``numbers``: JPEG of photographs, PNG of small pictures as they are.

    Raises:
        PictureError: a photograph cannot be used any more.
    """
    if isinstance(pictures, PhotoFolder):
        return [thumbnail_of(pictures, number) for number in numbers.tolist()]
    return [small_thumbnail(pictures.pixels[number]) for number in numbers.tolist()]
