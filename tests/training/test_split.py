import pytest
from hypothesis import given
from hypothesis import strategies as st

from reslab.core.errors import SpecError
from reslab.core.shares import shares
from reslab.training.split import split


@given(st.integers(0, 40), st.integers(1, 9))
def test_shares_are_all_things_once_and_as_equal_as_can_be(things: int, takers: int) -> None:
    parts = shares(things, takers)
    assert [thing for part in parts for thing in part] == list(range(things))
    assert len(parts) == takers
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts[0]) > 0 or things == 0


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 12))
def test_processes_take_whole_groups_or_make_one_together(groups: int, group: int, size: int) -> None:
    batch = groups * group
    if size > groups * group or max(-(-size // groups), 1) > group:
        with pytest.raises(SpecError, match="cannot be shared by"):
            [split(batch, group, rank, size) for rank in range(size)]
        return
    parts = [split(batch, group, rank, size) for rank in range(size)]
    assert [place for part in parts for place in part.pictures] == list(range(batch))
    for rank, part in enumerate(parts):
        assert rank in part.members
        assert part.passes == len(part.pictures) // part.groups > 0
        assert part.pictures.start // group == part.first_group
        assert all(parts[other].members == part.members for other in part.members)
        whole = [place for other in part.members for place in parts[other].pictures]
        assert whole == list(range(part.first_group * group, (part.first_group + part.groups) * group))
        assert len(part.members) == 1 or part.groups == 1
    tells = [part for rank, part in enumerate(parts) if rank == part.members[0]]
    assert [number for part in tells for number in range(part.first_group, part.first_group + part.groups)] == list(
        range(groups)
    )


def test_more_processes_than_pictures_are_refused() -> None:
    with pytest.raises(SpecError, match="a batch of 4 cannot be shared by 5 processes: raise --batch, or start fewer"):
        split(4, 2, 0, 5)
