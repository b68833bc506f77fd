"""Proposals: who waits for which entry, whatever else is committed."""

from __future__ import annotations

import pytest
from raftkv.node.proposals import Proposals
from raftkv.raft.types import COMMAND, Entry


def entries(*positions: str) -> list[Entry]:
    """Of "7@2": the entry 7 of term 2."""
    pairs = [position.split("@") for position in positions]
    return [Entry.create(int(index), int(term), COMMAND, None) for index, term in pairs]


@pytest.fixture
def waiting() -> Proposals:
    """a, b and c wait for the entries 5 to 7 of term 2."""
    proposals = Proposals()
    proposals.add(5, 2, ["a", "b"])
    proposals.add(7, 2, ["c"])
    return proposals


def test_each_is_handed_out_with_its_own_entry_and_the_others_are_nobodys(waiting: Proposals) -> None:
    assert waiting.committed(entries("2@1")) == []
    assert waiting.committed(entries("3@1", "4@2", "5@2")) == [None, None, "a"]
    assert waiting.committed(entries("6@2", "7@2", "8@3")) == ["b", "c", None]
    assert waiting.committed(entries("9@3")) == [] and waiting.lost() == []


def test_an_entry_of_another_leader_at_the_same_index_is_another_one(waiting: Proposals) -> None:
    assert waiting.committed(entries("5@2", "6@3")) == ["a", None]
    assert waiting.lost() == ["b", "c"]


def test_an_older_term_commits_nothing_of_this_one(waiting: Proposals) -> None:
    assert waiting.committed(entries("5@1", "6@1")) == []
    assert waiting.lost() == ["a", "b", "c"]


def test_after_they_are_lost_the_next_leadership_begins_anywhere(waiting: Proposals) -> None:
    assert waiting.lost() == ["a", "b", "c"] and waiting.lost() == []
    waiting.add(6, 4, ["d"])
    assert waiting.committed(entries("6@4")) == ["d"]


@pytest.mark.parametrize("first_index, term", [(7, 2), (8, 3), (9, 3)])
def test_a_proposal_that_does_not_follow_the_last_one_is_a_bug(
    waiting: Proposals, first_index: int, term: int
) -> None:
    with pytest.raises(AssertionError, match="does not follow"):
        waiting.add(first_index, term, ["d"])


def test_nobody_waits_for_a_configuration_between_proposals(waiting: Proposals) -> None:
    """They wait for 5 to 7; the leader itself proposed 8."""
    waiting.add(9, 2, ["d"])
    assert waiting.committed(entries("5@2", "6@2", "7@2")) == ["a", "b", "c"]
    assert waiting.committed(entries("8@2", "9@2")) == [None, "d"]
    waiting.add(11, 2, ["e"])
    waiting.add(13, 2, ["f"])
    assert waiting.lost() == ["e", "f"]
