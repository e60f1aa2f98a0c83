"""The parts of a data set, by name."""

from typing import Literal

Split = Literal["train", "val"]
Part = Literal["train", "val", "all"]
