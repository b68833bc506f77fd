"""What a set of voters has decided: a comparison with the definition, over all small cases."""

from __future__ import annotations

import itertools

import pytest
from raftkv.raft.quorum import VoteResult, quorum_size, quorum_value, vote_result


@pytest.mark.parametrize("voters, size", [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_two_majorities_share_a_member(voters: int, size: int) -> None:
    assert quorum_size(range(voters)) == size
    assert 2 * size > voters and 2 * (size - 1) <= voters


@pytest.mark.parametrize("size", range(1, 6))
def test_vote_result_of_every_combination(size: int) -> None:
    voters = tuple(range(1, size + 1))
    for cast in itertools.product([True, False, None], repeat=size):
        votes = {voter: vote for voter, vote in zip(voters, cast) if vote is not None}
        can_win = cast.count(True) + cast.count(None) > size / 2
        expected = VoteResult.PENDING if can_win else VoteResult.LOST
        if cast.count(True) > size / 2:
            expected = VoteResult.WON
        assert vote_result(voters, votes) is expected, f"{votes} of {voters}"


@pytest.mark.parametrize("size", range(1, 6))
def test_quorum_value_is_the_largest_that_a_majority_has_reached(size: int) -> None:
    voters = tuple(range(1, size + 1))
    for values in itertools.product(range(4), repeat=size):
        reached = [value for value in range(4) if sum(v >= value for v in values) > size / 2]
        assert quorum_value(voters, dict(zip(voters, values))) == max(reached), values


def test_who_is_no_voter_does_not_count_and_a_voter_without_a_value_has_zero() -> None:
    for other in (True, False):
        assert vote_result((1, 2, 3), {1: True, 8: other, 9: other}) is VoteResult.PENDING
    assert quorum_value((1, 2, 3), {1: 7, 8: 9, 9: 9}) == 0
    assert quorum_value((1, 2, 3), {1: 7, 2: 5}) == 5
