"""The parts of a data set, by name."""

from typing import Final, Literal

Split = Literal["train", "val"]
Part = Literal["train", "val", "all"]
HALVES: Final[tuple[Split, Split]] = ("train", "val")
