"""Where the crop of a training sample lies in its picture, as chance says it."""

import math
from typing import Final, NamedTuple

from reslab.core.experiment import Photographs, RandomArea
from reslab.data import chance
from reslab.transforms.photographs import Crop, Size, resized_to
from reslab.transforms.regions import Region, central_region, extent

TRIES: Final = 10  # torchvision's: draws of an area and an aspect before the central part is taken


class Draws(NamedTuple):
    """What chance says about picture ``number`` in ``epoch``, of whatever size it is."""

    seed: int
    epoch: int
    number: int

    def below(self, bound: int, stream: int) -> int:
        """An integer in [0, bound)."""
        return chance.draw(bound, self.seed, stream, self.epoch, self.number)

    def between(self, low: float, high: float, stream: int) -> float:
        """A number between two."""
        return low + (high - low) * chance.uniform(self.seed, stream, self.epoch, self.number)


def window(settings: Photographs, size: Size, side: int, draws: Draws) -> Crop | Region:
    """What of a picture of ``size`` (width, height, upright) becomes a crop of ``side`` pixels."""
    return jittered(settings, size, side, draws) if settings.area is None else part(settings.area, size, side, draws)


def jittered(settings: Photographs, size: Size, side: int, draws: Draws) -> Crop:
    """Any crop of the picture at a random scale (section 3.4)."""
    low, high = settings.scale_for(side)
    resized = resized_to(size, low + draws.below(high - low + 1, chance.SCALE))
    left = draws.below(resized[0] - side + 1, chance.COLUMN)
    return Crop(resized, left, draws.below(resized[1] - side + 1, chance.ROW), side)


def part(area: RandomArea, size: Size, side: int, draws: Draws) -> Region:
    """Any part of the picture with a random share of its area and a random aspect (Szegedy et al. 2015, section 6)."""
    low, high = map(math.log, area.aspect)
    for further in range(0, TRIES * chance.STREAMS, chance.STREAMS):
        share = draws.between(*area.share, chance.AREA + further)
        found = extent(size, share, math.exp(draws.between(low, high, chance.ASPECT + further)))
        if found is not None:
            left, top = (
                draws.below(whole - inner + 1, stream)
                for whole, inner, stream in zip(size, found, (chance.COLUMN, chance.ROW), strict=True)
            )
            return Region(size, left, top, *found, side)
    return central_region(size, area.aspect, side)


def mirrored(settings: Photographs, draws: Draws) -> bool:
    """Whether the mirror image of the crop is taken."""
    return settings.flip and draws.below(2, chance.MIRROR) == 1
