"""Who is who: members that found a cluster, and in which order they hear of each other."""

from __future__ import annotations

from typing import List

from raftkv.raft.joining import MEMBER, Joining


def new_members(count: int) -> List[Joining]:
    ids = range(1, count + 1)
    return [Joining(id, f"uid{id}", "raftkv", ids, {}) for id in ids]


def greet(sender: Joining, receiver: Joining) -> None:
    """`sender` says hello, and hears the answer."""
    sender.heard(receiver.answer(sender.hello(), 0))


def settle(member: Joining) -> None:
    hard_state = member.decide()
    assert hard_state is not None, f"member {member.id} is not decided"
    member.settle(hard_state)
    assert member.state == MEMBER


def test_two_of_three_new_members_found_the_cluster_whoever_is_first() -> None:
    one, two, _ = new_members(3)
    greet(two, one)
    settle(two)  # before it has heard a hello of member 1
    greet(one, two)
    settle(one)


def test_a_new_member_alone_founds_nothing() -> None:
    one, two, three = new_members(3)
    assert one.decide() is None
    greet(two, three)
    settle(two)
    greet(one, two)  # which was a member when they first met
    assert one.decide() is None
