"""What voters decide, alone and while a change is joint."""

from __future__ import annotations

from itertools import combinations

import pytest
from raftkv.raft.configuration import Configuration
from raftkv.raft.quorum import VoteResult, quorum_value, vote_result

SERVERS = (1, 2, 3, 4)
GROUPS = [group for size in (1, 2, 3, 4) for group in combinations(SERVERS, size)]


def test_a_majority_of_one_to_five_voters_wins_and_a_refused_one_loses() -> None:
    for size in range(1, 6):
        configuration = Configuration(tuple(range(1, size + 1)))
        for granted in range(size + 1):
            votes = {voter: voter <= granted for voter in configuration.voters}
            expected = VoteResult.WON if 2 * granted > size else VoteResult.LOST
            assert vote_result(configuration, votes) is expected, (size, granted)


def test_votes_that_are_missing_decide_nothing() -> None:
    assert vote_result(Configuration((1, 2, 3)), {1: True, 2: False}) is VoteResult.PENDING


def test_votes_of_learners_and_strangers_do_not_count() -> None:
    votes = {1: True, 4: True, 5: True}
    assert vote_result(Configuration((1, 2, 3), learners=(4,)), votes) is VoteResult.PENDING


def test_an_empty_configuration_elects_and_commits_nothing() -> None:
    assert vote_result(Configuration(), {1: True}) is VoteResult.LOST
    assert quorum_value(Configuration(), {1: 7}) == 0


def decides(configuration: Configuration, servers: tuple[int, ...]) -> bool:
    by_votes = vote_result(configuration, dict.fromkeys(servers, True)) is VoteResult.WON
    assert by_votes == (quorum_value(configuration, dict.fromkeys(servers, 1)) == 1), (configuration, servers)
    return by_votes


@pytest.mark.parametrize("old", GROUPS)
def test_quorums_before_during_and_after_a_change_share_a_server(old: tuple[int, ...]) -> None:
    """The safety of joint consensus (paper section 6), for every change among four servers."""
    for new in GROUPS:
        joint = Configuration(new, old)
        for one in (Configuration(old), Configuration(new), joint):
            for a in filter(lambda group: decides(one, group), GROUPS):
                for b in filter(lambda group: decides(joint, group), GROUPS):
                    assert set(a) & set(b), f"{a} decides in {one} and {b} in {joint}"


def test_a_quorum_value_is_what_a_majority_has_reached_and_while_joint_both() -> None:
    match = {1: 9, 2: 5, 3: 4, 4: 1}
    assert quorum_value(Configuration((1, 2, 3)), match) == 5
    assert quorum_value(Configuration((1, 2, 3, 4)), match) == 4
    assert quorum_value(Configuration((1, 2, 3), (3, 4, 5)), match) == 1
    assert quorum_value(Configuration((1, 2, 7)), match) == 5
