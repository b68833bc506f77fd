"""Member: how one begins, what it remembers of the others, and what it has the node do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

import pytest
from raftkv.config import RaftOptions
from raftkv.errors import DamagedDataError, NotLeaderError, ProtocolError
from raftkv.kvdb.service import KVService
from raftkv.node.hello import Hello
from raftkv.node.member import ALONE_S, Member
from raftkv.node.problems import Problems
from raftkv.node.profile import Profile
from raftkv.raft.messages import AppendEntries, Heartbeat, Message, RequestPreVote, RequestVote
from raftkv.raft.types import CONFIG, Entry
from raftkv.storage.persister import Persister

from tests.unit.hand_threads import HandThreads
from tests.unit.hellos import empty, hello_of, members

FOUNDERS = {id: f"127.0.0.1:{id}" for id in (1, 2, 3)}


class FakeNetwork:
    """Sends nothing. `met_` is who is connected."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.met_: dict[int, Hello] = {}
        self.wanted: Mapping[str, int] = {}
        self.dropped: list[int] = []
        self.is_refused = False
        self.called_: list[str] = []
        self.problems = Problems()

    def start(self, handler: Any) -> None:
        """Nothing comes from it."""

    def met(self) -> dict[int, Hello]:
        return self.met_

    def call(self, address: str) -> None:
        self.called_ = [address]

    def called(self) -> list[str]:
        return self.called_

    def follow(self, wanted: Mapping[str, int]) -> None:
        self.wanted = wanted

    def drop(self, uid: int, reason: str) -> None:
        self.dropped.append(uid)

    def enqueue(self, messages: Sequence[Message]) -> None:
        self.sent += messages

    def flush(self) -> None:
        """Nothing waits here."""


def member_on(folder: Path, deaths: list[BaseException], founders: Mapping[int, str] = FOUNDERS) -> Member:
    """Node 1, the disk 10, whose node has no threads: nothing happens unless a test does it."""
    persister = Persister(str(folder), node_id=1, cluster="c", draw=lambda: 10)
    return Member(
        Profile("c", 1, "127.0.0.1:1", "127.0.0.1:1", "", founders),
        persister,
        FakeNetwork(),  # type: ignore[arg-type]
        KVService(lambda replies: None, "test"),
        RaftOptions(),
        HandThreads(deaths.append),  # type: ignore[arg-type]
    )


@pytest.fixture
def deaths() -> list[BaseException]:
    return []


@pytest.fixture
def begin(tmp_path: Path, deaths: list[BaseException]) -> Iterator[Callable[[], Member]]:
    """A function that starts member 1 of the same disk, which ends the one before."""
    with ExitStack() as ends:

        def make() -> Member:
            ends.close()
            member = member_on(tmp_path, deaths)
            ends.callback(member._persister.close)
            ends.callback(member.stop)
            member.start()
            return member

        yield make


@pytest.fixture
def member(begin: Callable[[], Member]) -> Member:
    return begin()


def network_of(member: Member) -> FakeNetwork:
    return member._network  # type: ignore[return-value]


def meet(member: Member, *hellos: Hello) -> None:
    """It is connected with these, and looks."""
    network_of(member).met_ = {hello.uid: hello for hello in hellos}
    member._look()
    while member.node.log_writer.write_waiting():
        pass


def follow(member: Member, *ids: int, **fields: Any) -> None:
    """Node 2 leads a cluster of these, and that is committed here."""
    entry = Entry.create(1, 1, CONFIG, members(*ids, **fields).to_plain())
    member.on_messages([AppendEntries(20, 10, 1, 0, 0, (entry,), 1)])
    meet(member)


def test_an_empty_disk_serves_nobody_and_waits(member: Member) -> None:
    assert member.node.status()["role"] == "joining" and member.make_hello().is_empty
    with pytest.raises(NotLeaderError):
        member.node.propose(["x"], ["x"])
    with pytest.raises(NotLeaderError):
        member.node.read_index(["x"])
    assert network_of(member).wanted == {"127.0.0.1:2": 2, "127.0.0.1:3": 3}
    assert network_of(member).sent == []


def test_founder_founds_when_all_have_been_met_and_serves_when_they_are_in(member: Member) -> None:
    meet(member, empty(2))
    assert member.make_hello().is_empty
    meet(member, empty(2), empty(3))
    assert member.node.status()["role"] == "leader" and member.make_hello().cluster_id == 10
    with pytest.raises(NotLeaderError):
        member.node.propose(["x"], ["x"])
    meet(member, empty(2), empty(3))
    assert member.node.view().configuration.voters == (10, 20, 30)
    member.node.propose(["x"], ["x"])


def test_a_founder_that_restarts_goes_on_where_it_was(begin: Callable[[], Member]) -> None:
    meet(begin(), empty(2), empty(3))
    member = begin()
    assert member.make_hello().cluster_id == 10 and member.node.view().configuration.founding


def test_a_server_that_starts_stands_as_soon_as_a_majority_is_connected(begin: Callable[[], Member]) -> None:
    follow(begin(), 1, 2, 3)
    member = begin()
    soon = 3 * RaftOptions().heartbeat_interval_ms / 1000  # well before the election timeout

    def asks(*connected: Hello) -> bool:
        meet(member, *connected)
        member._threads.now += soon  # type: ignore[attr-defined]
        member.node.tick()
        return any(isinstance(message, RequestPreVote) for message in network_of(member).sent)

    assert not asks(), "alone it would be refused"
    assert asks(hello_of(2))


def test_two_empty_disks_found_nothing_while_the_third_has_data(member: Member) -> None:
    meet(member, empty(2), hello_of(3))
    assert member.make_hello().is_empty
    member._threads.now += ALONE_S  # type: ignore[attr-defined]
    meet(member, empty(2), hello_of(3))
    (problem,) = network_of(member).problems.sentences()
    assert "node 3 has data" in problem


def test_peer_that_said_hello_is_remembered_before_the_answer_leaves(begin: Callable[[], Member]) -> None:
    later = hello_of(2, starts=2, tokens=(1, 5))
    member = begin()
    follow(member, 1, 2, 3)
    assert not member.is_remembered(later)
    assert member.on_hello(1, later).uid == 10 and member.is_remembered(later)
    for refused in (hello_of(2), hello_of(2, starts=2, tokens=(1, 6))):
        with pytest.raises(ProtocolError, match="node 2 runs on an older copy"):
            begin().on_hello(1, refused)
        with pytest.raises(ProtocolError, match="node 2 runs on an older copy"):
            begin().on_hello_reply(refused)


def test_an_empty_disk_believes_whom_it_met_last(member: Member) -> None:
    """It may have met a copy first; all others refuse that, and nobody would tell an operator of this one."""
    for tokens in ((1, 5), (1, 6)):
        member.on_hello(1, hello_of(2, starts=2, tokens=tokens))
    follow(member, 1, 2, 3)
    with pytest.raises(ProtocolError, match="node 2 runs on an older copy"):
        member.on_hello(1, hello_of(2, starts=2, tokens=(1, 5)))


def test_each_start_announces_one_token_more(begin: Callable[[], Member]) -> None:
    assert [begin().make_hello().starts for _ in range(3)] == [1, 2, 3]


def test_connections_follow_the_configuration_and_where_others_say_that_they_are(member: Member) -> None:
    follow(member, 1, 2, 4)
    assert network_of(member).wanted == {"127.0.0.1:2": 2, "127.0.0.1:4": 4}
    meet(member, hello_of(4, peer_address="there:4"), empty(5))
    assert network_of(member).wanted == {"127.0.0.1:2": 2, "there:4": 4, "127.0.0.1:5": 5}


def test_without_a_leader_the_addresses_of_the_ini_file_are_tried_too(member: Member) -> None:
    follow(member, 1, 2, 4)
    member.on_messages([RequestVote(20, 10, 2, 9, 9, True)])
    member._threads.now += ALONE_S  # type: ignore[attr-defined]
    meet(member)
    assert "127.0.0.1:3" in network_of(member).wanted


@pytest.mark.parametrize("is_refused", [False, True])
def test_without_a_majority_it_names_the_missing_disks_unless_its_own_is_refused(
    member: Member, is_refused: bool
) -> None:
    """A cluster that is recovered from an older copy has lost more than it says."""
    network = network_of(member)
    network.is_refused = is_refused
    follow(member, 1, 2, 3)
    member.on_messages([RequestVote(20, 10, 2, 9, 9, True)])
    member._threads.now += ALONE_S  # type: ignore[attr-defined]
    meet(member)
    found = network.problems.sentences()
    assert is_refused is (found == []) and all("--recover" in sentence for sentence in found)
    member.on_messages([Heartbeat(20, 10, 2, 0, 0)])
    meet(member)
    assert network.problems.sentences() == [], "there is a leader"


def test_difference_to_its_file_is_over_when_the_members_are_as_the_file_says(member: Member) -> None:
    follow(member, 1, 2)
    member.profile = dataclasses.replace(member.profile, peers={3: "127.0.0.1:3"})
    member._compare_file(member.node.view().committed)
    member._look()
    assert ["node 3" in sentence for sentence in network_of(member).problems.sentences()] == [True]
    joint = Entry.create(2, 1, CONFIG, members(1, 2, 3, outgoing=(10, 20)).to_plain())
    final = Entry.create(3, 1, CONFIG, members(1, 2, 3).to_plain())
    member.on_messages([AppendEntries(20, 10, 1, 1, 1, (joint, final), 3)])
    meet(member)
    assert network_of(member).problems.sentences() == []


def test_a_disk_that_left_is_refused_and_its_connections_end(member: Member) -> None:
    follow(member, 1, 2, left=(30,))
    meet(member, hello_of(3))
    assert network_of(member).dropped == [30]
    with pytest.raises(ProtocolError, match="the disk of node 3 was removed from this cluster"):
        member.on_hello(1, hello_of(3))


def test_removed_server_that_hears_of_it_stands_no_more(member: Member) -> None:
    follow(member, 1, 2, 3)
    member.on_removed("the disk of node 1 was removed")
    member._threads.now += 10  # type: ignore[attr-defined]
    member.node.tick()
    assert member.node.status()["role"] == "removed" and network_of(member).sent[-1].sender == 10
    assert not any(isinstance(message, RequestVote) for message in network_of(member).sent)


def test_a_log_that_lost_its_end_ends_the_process(member: Member, deaths: list[BaseException]) -> None:
    follow(member, 1, 2, 3)
    member.on_messages([Heartbeat(20, 10, 1, 1, 0, match=2)])
    meet(member)
    assert isinstance(deaths[0], DamagedDataError)
    assert "had acknowledged entry 2. Move that folder away and start this server with an empty one" in str(
        deaths[0]
    )
