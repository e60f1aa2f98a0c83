"""The 1,000 classes of ImageNet's challenge of 2012 (section 4.1), as data."""

import functools
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class ImageNetClass:
    """A class as WordNet 3.0 has it: ``wnid`` such as ``n01440764``, ``names`` such as tench and Tinca tinca."""

    wnid: str
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """The first name; two classes are titled crane, and two maillot."""
        return self.names[0]


@functools.cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """The classes in the order of a network's outputs, which is the order of their wnids."""
    text = resources.files("reslab.core").joinpath("imagenet_classes.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple(ImageNetClass(wnid, tuple(names.split(", "))) for wnid, names in rows)


def title_of(name: str) -> str:
    """What a person reads for a class called ``name``: ``Shih-Tzu (n02086240)`` for a wnid, else ``name`` itself."""
    title = _titles().get(name)
    return name if title is None else f"{title} ({name})"


@functools.cache
def _titles() -> dict[str, str]:
    return {one.wnid: one.title for one in imagenet_classes()}
