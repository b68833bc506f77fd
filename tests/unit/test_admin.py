"""MemberAdmin: what an operator can change, and when that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raftkv.errors import INVALID_CHANGE, NOT_LEADER, InvalidChangeError, NotLeaderError
from raftkv.kvdb.member_requests import Member as Request
from raftkv.kvdb.members import Members
from raftkv.node.hello import Hello
from raftkv.node.member import Member
from raftkv.raft.messages import AppendAccepted, HeartbeatReply

from tests.unit.hellos import empty, hello_of
from tests.unit.test_member import meet, member_on, network_of


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Member]:
    """Node 1 leads a cluster of itself."""
    member = member_on(tmp_path, [], founders={1: "127.0.0.1:1"})
    member.start()
    meet(member)
    assert member.node.get_state()[1]
    yield member
    member.stop()
    member._persister.close()


def newcomer(id: int) -> Hello:
    return empty(id, founders="")


def catch_up(member: Member, *uids: int) -> None:
    """These hold all that the leader has, also what it appends meanwhile."""
    for _ in range(9):
        last = member.node.view().last_index
        member.on_messages([AppendAccepted(uid, 10, 1, last) for uid in uids])
        meet(member, *network_of(member).met_.values())


def grow(member: Member, *ids: int, **options: Any) -> None:
    for id in ids:
        meet(member, *network_of(member).met_.values(), newcomer(id))
        member.admin.add(id, f"127.0.0.1:{id}", f"127.0.0.1:{id}", **options)
        catch_up(member, *(10 * other for other in range(2, id + 1)))


def roles(member: Member) -> dict[int, str]:
    return {row["id"]: row["role"] for row in member.admin.list()}


def test_a_server_that_is_added_votes_when_it_has_caught_up(leader: Member) -> None:
    with pytest.raises(InvalidChangeError, match="no server with an empty disk has come as node 2: start it"):
        leader.admin.add(2, "127.0.0.1:2", "127.0.0.1:2")
    meet(leader)
    assert "127.0.0.1:2" in network_of(leader).wanted, "it may have come to others only"
    meet(leader, newcomer(2))
    assert roles(leader) == {1: "voter", 2: "waiting"}
    assert "waits to be added" in network_of(leader).problems.sentences()[-1]
    leader.admin.add(2, "127.0.0.1:2", "127.0.0.1:2")
    meet(leader, newcomer(2))
    assert roles(leader) == {1: "voter", 2: "learner"}
    catch_up(leader, 20)
    assert roles(leader) == {1: "voter", 2: "voter"} and leader.admin.is_done()
    leader._look()
    assert not any("waits to be" in sentence for sentence in network_of(leader).problems.sentences())


def test_a_learner_that_is_held_is_promoted_when_it_has_caught_up_and_its_operator_says_so(
    leader: Member,
) -> None:
    meet(leader, newcomer(2))
    leader.admin.add(2, "127.0.0.1:2", "127.0.0.1:2", learner=True)
    meet(leader, newcomer(2))
    with pytest.raises(InvalidChangeError, match="member 2 has not caught up: it lacks 3 entries"):
        leader.admin.promote(2)
    catch_up(leader, 20)
    assert roles(leader)[2] == "learner"
    leader.admin.promote(2)
    catch_up(leader, 20)
    assert roles(leader)[2] == "voter"


def test_one_member_is_swapped_for_another_in_one_change(leader: Member) -> None:
    grow(leader, 2, 3)
    grow(leader, 4, learner=True)
    leader.admin.swap(3, 4)
    catch_up(leader, 20, 40)
    assert roles(leader) == {1: "voter", 2: "voter", 4: "voter"}
    assert leader.node.view().committed.left == (30,)


def test_a_member_that_moved_can_be_moved_by_hand(leader: Member) -> None:
    grow(leader, 2)
    meet(leader)
    leader.node.step([HeartbeatReply(20, 10, 1, 0)])
    network_of(leader).met_ = {20: hello_of(2, cluster_id=10)}
    leader.admin.move(2, peer_address="there:2")
    record = leader.node.view().configuration.record(20)
    assert record is not None and (record.client_address, record.peer_address) == ("127.0.0.1:2", "there:2")


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda admin: admin.remove(9), "there is no member 9: the members are 1, 2, 3"),
        (lambda admin: admin.promote(2), "member 2 is no learner"),
        (lambda admin: admin.transfer(9), "there is no member 9"),
        (lambda admin: admin.remove(2), "would lose the majority, since member 3 is not alive"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_the_reason(leader: Member, change: Any, says: str) -> None:
    grow(leader, 2, 3)
    meet(leader, hello_of(2, cluster_id=10))  # 3 is away
    with pytest.raises(InvalidChangeError, match=says):
        change(leader.admin)


def test_one_change_at_a_time(leader: Member) -> None:
    meet(leader, newcomer(2), newcomer(3))
    leader.admin.add(2, "127.0.0.1:2", "127.0.0.1:2", by="the client a:1")
    assert not leader.admin.is_done()
    with pytest.raises(
        InvalidChangeError,
        match=r"another change of the members is under way \(begun by the client a:1\): try",
    ):
        leader.admin.add(3, "127.0.0.1:3", "127.0.0.1:3")


def test_a_change_that_is_refused_hears_what_is_under_way_and_who_began_it(leader: Member) -> None:
    meet(leader, newcomer(2), newcomer(3))
    leader.admin.add(2, "127.0.0.1:2", "127.0.0.1:2", by="the client a:1")
    catch_up(leader, 20)
    leader.admin.remove(2, by="the client b:1")
    words = r"under way \(member 2 leaves, begun by the client b:1\): try again when it is done"
    with pytest.raises(InvalidChangeError, match=words):
        leader.admin.add(3, "127.0.0.1:3", "127.0.0.1:3")


def test_follower_names_the_leader(tmp_path: Path) -> None:
    member = member_on(tmp_path, [])
    with pytest.raises(NotLeaderError):
        member.admin.remove(2)
    assert member.admin.list() == []
    member._persister.close()


def test_requests_about_members_are_carried_out_or_refused_with_a_code(leader: Member) -> None:
    members = Members(leader.admin)
    done, state = members.answer(Request("list", {}), "a:1")
    assert done and [row["role"] for row in state["members"]] == ["voter"] and state["leader"] == 1
    why = "there is no member 9: the members are 1"
    assert members.answer(Request("remove", {"id": 9}), "a:1") == (
        False,
        (INVALID_CHANGE, why, {"may_pass": False}),
    )
    options = {"id": 2, "client_address": "127.0.0.1:2", "peer_address": "127.0.0.1:2", "learner": False}
    done, refusal = members.answer(Request("add", options), "a:1")
    assert not done and refusal[2] == {"may_pass": True}, "the server can still come"
    meet(leader, newcomer(2))
    done, state = members.answer(Request("add", options), "a:1")
    assert done and state["is_changing"]


def test_a_transfer_that_is_asked_for_again_is_not_begun_by_the_next_leader(leader: Member) -> None:
    done, state = Members(leader.admin).answer(Request("transfer", {"id": 0, "leader": 3}), "a:1")
    assert done and state["leader"] == 1 and not state["is_handing_over"]


def test_follower_tells_clients_where_the_members_are(tmp_path: Path) -> None:
    member = member_on(tmp_path, [])
    guide = {"id": 1, "leader": None, "members": {}, "cluster_id": 0}
    assert Members(member.admin).guide() == guide
    done, refusal = Members(member.admin).answer(Request("list", {}), "a:1")
    assert not done and refusal[0] == NOT_LEADER and refusal[2] == {**guide, "proposed": False}
    member._persister.close()


def test_a_guide_has_all_that_a_client_needs_to_find_the_leader(leader: Member) -> None:
    grow(leader, 2)
    members = {1: "127.0.0.1:1", 2: "127.0.0.1:2"}
    assert Members(leader.admin).guide() == {"id": 1, "leader": 1, "members": members, "cluster_id": 10}
