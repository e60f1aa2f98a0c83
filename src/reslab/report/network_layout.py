"""Where the layers of a network go on a page: what is drawn once for many, and in which column."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Final

from reslab.models.anatomy import BlockAnatomy, Layer, Part, Shortcut, StageAnatomy

ROWS: Final = 38  # layers in a column that fills a page
COLUMNS: Final = 3  # beside each other on a page
UNEVEN: Final = 4  # rows


@dataclass(frozen=True, slots=True)
class Piece:
    """What stays together: one layer, or a block with its shortcut, drawn once and meant ``times`` times."""

    stage: int
    layers: tuple[Layer, ...]
    shortcut: Shortcut | None = None
    times: int = 1


Column = tuple[Piece, ...]


def columns_of(stages: Sequence[StageAnatomy]) -> tuple[Column, ...]:
    """The network as columns of one page; blocks that are alike are folded where it does not fit otherwise."""
    pieces = [_piece(number, part) for number, stage in enumerate(stages) for part in stage.parts]
    if _rows(pieces) > ROWS * COLUMNS:
        pieces = list(_folded(pieces))
    count = math.ceil(_rows(pieces) / ROWS)
    return tuple(_split(pieces, count))


def _piece(stage: int, part: Part) -> Piece:
    return Piece(stage, part.layers, part.shortcut) if isinstance(part, BlockAnatomy) else Piece(stage, (part,))


def _rows(pieces: Iterable[Piece]) -> int:
    return sum(len(piece.layers) for piece in pieces)


def _nameless(piece: Piece) -> Piece:
    layers = tuple(replace(layer, name="") for layer in piece.layers)
    own = piece.shortcut.layer if piece.shortcut else None
    if piece.shortcut is None or own is None:
        return replace(piece, layers=layers)
    return replace(piece, layers=layers, shortcut=replace(piece.shortcut, layer=replace(own, name="")))


def _folded(pieces: Iterable[Piece]) -> Iterable[Piece]:
    for _, alike in groupby(pieces, _nameless):
        first, *more = alike
        yield replace(first, times=1 + len(more))


def _split(pieces: Sequence[Piece], count: int) -> Iterable[Column]:
    """``count`` columns of about the same height; no block is torn, and a stage is if that saves `UNEVEN` rows."""
    places = range(1, len(pieces))
    torn = {number: UNEVEN * (pieces[number].stage == pieces[number - 1].stage) for number in places}
    before = {number: _rows(pieces[:number]) for number in places}
    misfits = (
        {number: abs(before[number] - _rows(pieces) * column / count) + torn[number] for number in places}
        for column in range(1, count)
    )
    cuts = [min(misfit, key=misfit.__getitem__) for misfit in misfits]
    for start, end in pairwise([0, *cuts, len(pieces)]):
        yield tuple(pieces[start:end])
