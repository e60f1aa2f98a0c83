"""Which pictures of each batch a process trains on: whole groups of batch statistics, or parts of one."""

from dataclasses import dataclass

from reslab.core.errors import SpecError
from reslab.core.shares import shares


@dataclass(frozen=True)
class Split:
    """One process's part of every batch.

    Args:
        pictures: their places in the batch.
        passes: pictures of each forward pass, whose statistics are those of the group.
        members: ranks of the processes that share the group; only itself where it has whole groups.
        first_group: how many groups of the batch come before its own.
        groups: how many it takes part in.
    """

    pictures: range
    passes: int
    members: tuple[int, ...]
    first_group: int
    groups: int


def split(batch: int, group: int, rank: int, size: int) -> Split:
    """The part of process ``rank`` of ``size``: as equal as whole groups allow.

    With fewer groups than processes several processes make a group together.

    Args:
        batch: pictures of a batch.
        group: pictures that share batch statistics; divides ``batch``.
        rank: which process.
        size: how many.

    Raises:
        SpecError: there are more processes than pictures in a batch.
    """
    groups = batch // group
    if size <= groups:
        own = shares(groups, size)[rank]
        return Split(range(own.start * group, own.stop * group), group, (rank,), own.start, len(own))
    if size > batch:
        raise SpecError(f"a batch of {batch} cannot be shared by {size} processes: raise --batch, or start fewer")
    number = rank * groups // size
    members = tuple(other for other in range(size) if other * groups // size == number)
    if len(members) > group:
        raise SpecError(f"a group of {group} pictures cannot be shared by {len(members)} processes: start fewer")
    own = shares(group, len(members))[members.index(rank)]
    start = number * group
    return Split(range(start + own.start, start + own.stop), len(own), members, number, 1)
