"""Member: how one begins, what it remembers of the others, and which disks it lets take part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

import pytest
from raftkv.config import RaftOptions
from raftkv.errors import NotLeaderError, ProtocolError
from raftkv.kvdb.service import KVService
from raftkv.node.joining import MEMBER, NEW, REJOINING, Hello, HelloReply
from raftkv.node.member import Member
from raftkv.node.node import RaftNode
from raftkv.raft.messages import Message, RequestPreVote
from raftkv.raft.types import HardState
from raftkv.storage.persister import Persister

from tests.unit.hand_threads import HandThreads


class SilentNetwork:
    """Sends nothing, and notes when it is asked to greet."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.greetings: list[Hello] = []
        self.member: Member | None = None

    def start(self, handler: Any) -> None:
        self.member = handler

    def greet(self) -> None:
        assert self.member is not None
        self.greetings.append(self.member.make_hello())

    def enqueue(self, messages: Sequence[Message]) -> None:
        self.sent += messages

    def flush(self) -> None:
        """Nothing waits here."""


def member_on(folder: Path, id: int = 1, uid: str = "mine") -> Member:
    """A member of three whose node has no threads: nothing happens unless a test does it."""
    persister = Persister(str(folder), node_id=id, cluster="c", voters=[1, 2, 3], uid=uid)
    return Member(
        id,
        "c",
        persister,
        SilentNetwork(),  # type: ignore[arg-type]
        KVService(lambda replies: None, "test"),
        RaftOptions(),
        HandThreads(pytest.fail),  # type: ignore[arg-type]
    )


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[], Member]]:
    """A function that makes member 1 of the same disk, which ends the one before."""
    with ExitStack() as ends:

        def make() -> Member:
            ends.close()
            member = member_on(tmp_path)
            ends.callback(member._persister.close)
            ends.callback(member.stop)
            return member

        yield make


@pytest.fixture
def member(begin: Callable[[], Member]) -> Member:
    return begin()


def network_of(member: Member) -> SilentNetwork:
    return member._network  # type: ignore[return-value]


def reply_of(id: int, term: int = 0, knows_you: bool | None = None, founder: bool = False) -> HelloReply:
    return HelloReply("c", id, f"uid{id}", term, knows_you, founder, 0)


def hello_of(id: int, uid: str, state: str = MEMBER, rejoin_term: int = 0) -> Hello:
    return Hello(1, "c", id, uid, state, rejoin_term)


def test_until_it_is_decided_a_member_takes_no_part(member: Member) -> None:
    member.start()
    assert member.node.status()["role"] == "joining"
    with pytest.raises(NotLeaderError):
        member.node.propose(["x"], ["x"])
    with pytest.raises(NotLeaderError):
        member.node.read_index(["x"])
    member.on_messages([RequestPreVote(2, 1, 0, 0, 0)])
    assert network_of(member).sent == []


def test_a_founder_is_durable_before_it_says_that_it_is_one(member: Member) -> None:
    member.start()
    assert member.make_hello().state == NEW
    member.on_hello_reply(reply_of(2, founder=True))
    assert not member._persister.fresh and isinstance(member.node, RaftNode)
    assert [hello.state for hello in network_of(member).greetings] == [MEMBER]


def test_a_member_without_its_disk_waits_for_all_others_and_rejoins_above_their_terms(member: Member) -> None:
    member.start()
    member.on_hello_reply(reply_of(2, term=7, knows_you=False))
    assert not isinstance(member.node, RaftNode), "member 3 has not answered"
    member.on_hello_reply(reply_of(3, term=4))
    assert member._persister.hard_state == HardState(8, None, 7)
    assert [(hello.state, hello.rejoin_term) for hello in network_of(member).greetings] == [(REJOINING, 7)]


def test_a_decision_is_found_again_after_a_restart(member: Member, begin: Callable[[], Member]) -> None:
    member.start()
    member.on_hello_reply(reply_of(2, term=7, knows_you=False))
    member.on_hello_reply(reply_of(3, term=4))
    member = begin()
    member.start()
    assert (member.make_hello().state, member.make_hello().rejoin_term) == (REJOINING, 7)
    assert isinstance(member.node, RaftNode) and not member.node._raft.may_vote


def test_two_answers_make_one_decision(member: Member) -> None:
    member.start()
    member.on_hello_reply(reply_of(2, founder=True))
    node = member.node
    member.on_hello_reply(reply_of(3, term=9, knows_you=False))
    assert member.node is node and member._persister.hard_state == HardState()


def test_a_greeting_is_remembered_before_its_answer_leaves(
    member: Member, begin: Callable[[], Member]
) -> None:
    reply, accepted = member.on_hello(hello_of(2, "uid2"))
    assert (reply.knows_you, accepted) == (None, True)
    assert member._persister.known_peers == {2: ("uid2", True, 0)}
    member = begin()
    assert member.on_hello(hello_of(2, "uid2"))[0].knows_you is True
    advice = (
        "another disk .* another cluster's server, correct .* if it holds no data that you need, move it away"
    )
    with pytest.raises(ProtocolError, match=advice):
        member.on_hello(hello_of(2, "a foreign one"))


def test_a_member_that_is_new_is_answered_but_not_accepted(member: Member) -> None:
    assert member.on_hello(hello_of(2, "uid2", NEW))[1] is False


# -- the disks that one member had, one after the other ------------------------------------------------------


def test_the_disk_that_was_lost_first_is_refused_after_the_second_was_lost(
    member: Member, begin: Callable[[], Member]
) -> None:
    """Each of them had rejoined: without the order of their terms, the backup of the second would be taken
    for a fourth, vote in terms in which its successor has voted, and have lost what that acknowledged."""
    member.on_hello(hello_of(3, "first"))
    assert member.on_hello(hello_of(3, "second", REJOINING, 5))[1]
    assert member.on_hello(hello_of(3, "third", REJOINING, 8))[1]
    for uid, state, rejoin_term in (("second", REJOINING, 5), ("first", MEMBER, 0)):
        with pytest.raises(ProtocolError, match="another disk"):
            member.on_hello(hello_of(3, uid, state, rejoin_term))
    member = begin()  # which has not forgotten
    with pytest.raises(ProtocolError, match="another disk"):
        member.on_hello(hello_of(3, "second", REJOINING, 5))
    assert member.on_hello(hello_of(3, "third", REJOINING, 8))[1]


def test_the_next_disk_gets_a_higher_rejoin_term_even_if_no_term_has_passed(member: Member) -> None:
    member.on_hello(hello_of(3, "first"))
    member.on_hello(hello_of(3, "second", REJOINING, 5))
    reply, _ = member.on_hello(hello_of(3, "third", NEW))
    assert (reply.knows_you, reply.term) == (False, 6)


def test_a_disk_that_was_met_new_is_remembered_with_the_term_it_rejoins_at(member: Member) -> None:
    # it never met the first one
    assert member.on_hello(hello_of(3, "second", NEW))[0].knows_you is None
    assert member.on_hello(hello_of(3, "second", REJOINING, 5))[1]
    with pytest.raises(ProtocolError, match="another disk"):
        member.on_hello(hello_of(3, "an older one", REJOINING, 4))
