"""Who is who: members that found a cluster, and in which order they hear of each other."""

from __future__ import annotations

import pytest
from raftkv.errors import ProtocolError
from raftkv.node.joining import MEMBER, REJOINING, Joining


def new_members(count: int) -> list[Joining]:
    ids = range(1, count + 1)
    return [Joining(id, f"uid{id}", "raftkv", ids, {}) for id in ids]


def greet(sender: Joining, receiver: Joining) -> None:
    """`sender` says hello, and hears the answer."""
    sender.heard(receiver.answer(sender.hello(), 0))


def begin(member: Joining) -> None:
    hard_state = member.decide()
    assert hard_state is not None, f"member {member.id} is not decided"
    member.begin(hard_state)
    assert member.state == MEMBER


def test_two_of_three_new_members_found_the_cluster_whoever_is_first() -> None:
    one, two, _ = new_members(3)
    greet(two, one)
    begin(two)  # before it has heard a hello of member 1
    greet(one, two)
    begin(one)


def test_a_new_member_alone_founds_nothing() -> None:
    one, two, three = new_members(3)
    assert one.decide() is None
    greet(two, three)
    begin(two)
    greet(one, two)  # which was a member when they first met
    assert one.decide() is None


def test_a_term_that_no_elections_can_have_come_to_is_refused_and_not_remembered() -> None:
    one, two, _ = new_members(3)
    with pytest.raises(ProtocolError, match="names term"):
        one.answer(two.hello()._replace(rejoin_term=1 << 40), 0)
    assert one.known == {}
    with pytest.raises(ProtocolError, match="names term"):
        one.heard(two.answer(one.hello(), 1 << 40))
    assert one.known == {} and one.decide() is None


def test_a_member_that_lost_its_disk_before_the_first_election_is_taken_back_in() -> None:
    founders = new_members(3)
    for one in founders:
        for other in founders:
            if one is not other:
                greet(one, other)
    for founder in founders:
        begin(founder)
    empty = Joining(3, "another uid", "raftkv", (1, 2, 3), {})
    for other in founders[:2]:
        greet(empty, other)
    hard_state = empty.decide()
    assert hard_state is not None, "all others have answered"
    empty.begin(hard_state)
    assert empty.state == REJOINING, f"as {empty.state} with {hard_state} no one would know its disk"
    for other in founders[:2]:
        greet(empty, other)
        assert other.accepts(empty.hello())
