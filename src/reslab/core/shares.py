"""Dividing so many things among so many takers."""

import itertools


def shares(count: int, takers: int) -> list[range]:
    """``count`` things in ``takers`` parts, one after the other, the first ones larger by at most one."""
    each, more = divmod(count, takers)
    ends = [0]
    for taker in range(takers):
        ends.append(ends[-1] + each + (taker < more))
    return [range(start, stop) for start, stop in itertools.pairwise(ends)]
